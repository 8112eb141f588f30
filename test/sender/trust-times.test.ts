import t from 'tap';
import { trustAfterMs } from '../../src/limits.ts';
import { TrustTimes } from '../../src/sender/trust-times.ts';
import { nodeId } from '../support/messages.ts';

t.test('a file that was just read is not due before its time', async t => {
  let nowMs = 1000;
  const times = new TrustTimes(() => nowMs);
  t.ok(times.isDue(nodeId(2), nowMs), 'nothing is known of it');
  t.notOk(times.isProof(nodeId(2), nowMs), 'a process of before may have read it just now');
  nowMs += trustAfterMs;
  t.ok(times.isProof(nodeId(2), nowMs));
  const readMs = new Map<number, number>();
  for (let id = 2; id < 200; id++) {
    nowMs += 100;
    times.postpone(nodeId(id));
    readMs.set(id, nowMs);
    for (const [one, atMs] of readMs) {
      const isDue = nowMs - atMs >= trustAfterMs;
      if (times.isDue(nodeId(one), nowMs) !== isDue) t.fail(`${one}, read ${nowMs - atMs} ms ago`);
    }
  }
  t.equal(times.isDue(nodeId(199), nowMs + trustAfterMs - 1), false);
  t.equal(times.isDue(nodeId(199), nowMs + trustAfterMs), true);
  times.forget(nodeId(199));
  t.equal(times.isDue(nodeId(199), nowMs), true);
  times.postpone(nodeId(150));
  t.equal(times.isDue(nodeId(150), nowMs), false, 'read once more');
  t.equal(times.isProof(nodeId(150), nowMs), false);
});

t.test('only the files of the last seconds take memory', async t => {
  let nowMs = 0;
  const times = new TrustTimes(() => nowMs);
  let most = 0;
  for (let id = 2; id < 100_000; id++) {
    nowMs += 1;
    times.postpone(nodeId(id));
    most = Math.max(most, times.size);
  }
  t.ok(most <= 2 * trustAfterMs + 2, `${most} of 100,000`);
});
