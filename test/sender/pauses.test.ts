// Names that are not tried again for a while.
import t from 'tap';
import { pausedNamesMax } from '../../src/limits.ts';
import { Pauses } from '../../src/sender/pauses.ts';
import type { NodeId } from '../../src/snapshot/entry.ts';
import { toName } from '../../src/snapshot/name.ts';

const place = (i: number) => ({ parent: ((i % 7) + 1) as NodeId, name: toName(`part.${i}`) });

t.test('names that went while they were paused are not remembered for ever', async t => {
  const pauses = new Pauses();
  const count = pausedNamesMax + 5000;
  for (let i = 0; i < count; i++) pauses.begin(place(i), 'unreadable');
  t.equal(pauses.size, pausedNamesMax);
  t.match(pauses.of(place(count - 1)), { reason: 'unreadable', delayMs: 5000 });
  for (let i = 0; i < 3; i++) pauses.begin(place(count - 1), 'unreadable');
  t.match(pauses.of(place(count - 1)), { delayMs: 40_000 }, 'the same name counts once');
  for (let i = 0; i < count; i++) pauses.end(place(i));
  t.equal(pauses.size, 0);
});
