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
  const beginMs = nowMs;
  for (let i = 1; i <= 2 * syncTimesMax; i++) {
    nowMs++;
    times.note(rootId, toName(`${i}`));
  }
  t.equal(at('a').isExact, false, 'forgotten');
  t.ok(at('a').timeMs >= 3000, 'and said to be no newer than some later time');
  let exactCount = 0;
  for (let i = 1; i <= 2 * syncTimesMax; i++) {
    const { timeMs, isExact } = at(`${i}`);
    const isRight = isExact ? timeMs === beginMs + i : timeMs >= beginMs + i && timeMs < nowMs;
    if (!isRight) t.fail(`${i}: ${timeMs}`);
    if (isExact) exactCount++;
  }
  t.ok(exactCount >= syncTimesMax / 2 && exactCount <= syncTimesMax, `${exactCount} are known`);
  t.same(at(`${2 * syncTimesMax}`), { timeMs: nowMs, isExact: true });
});
