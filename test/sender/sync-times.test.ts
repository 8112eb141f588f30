import t from 'tap';
import { syncTimesMax } from '../../src/limits.ts';
import { SyncTimes } from '../../src/sender/sync-times.ts';
import { rootId } from '../../src/snapshot/entry.ts';
import { toName } from '../../src/snapshot/name.ts';

t.test('the last time counts, and what is not known is no newer than the oldest known', async t => {
  let nowMs = 1000;
  const times = new SyncTimes(() => nowMs);
  const at = (name: string) => times.since(rootId, toName(name));
  t.same(at('a'), { timeMs: 1000, isExact: false }, 'before it began');
  for (const [name, ms] of [
    ['a', 2000],
    ['b', 2500],
    ['a', 3000],
  ] as const) {
    nowMs = ms;
    times.note(rootId, toName(name));
  }
  t.same(at('a'), { timeMs: 3000, isExact: true });
  for (let i = 0; i < syncTimesMax - 1; i++) {
    nowMs++;
    times.note(rootId, toName(`${i}`));
  }
  t.same(at('b'), { timeMs: 2500, isExact: false }, 'forgotten');
  t.same(at('a'), { timeMs: 3000, isExact: true });
  t.same(at(`${syncTimesMax - 2}`), { timeMs: nowMs, isExact: true });
});
