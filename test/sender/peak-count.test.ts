import t from 'tap';
import { PeakCount } from '../../src/sender/peak-count.ts';

const minuteMs = 60_000;

t.test('the most of the last minutes, and no longer', async t => {
  let nowMs = 0;
  const peak = new PeakCount(() => nowMs);
  t.equal(peak.note(100), 100);
  t.equal(peak.note(300), 300);
  t.equal(peak.note(50), 300);
  nowMs = 4.9 * minuteMs;
  t.equal(peak.note(40), 300);
  nowMs = 9.9 * minuteMs;
  t.equal(peak.note(40), 300, 'at least five minutes');
  nowMs = 10 * minuteMs;
  t.equal(peak.note(30), 40, 'at most ten');
  nowMs = 60 * minuteMs;
  t.equal(peak.note(20), 20);
});

t.test('what was approved counts no more, before it is gone either', async t => {
  let nowMs = 0;
  const peak = new PeakCount(() => nowMs);
  peak.note(5000);
  peak.lower(1500, 3000);
  peak.lower(500, 3000);
  nowMs = 1000;
  t.equal(peak.note(3000), 1000, 'they are under way');
  nowMs = minuteMs;
  t.equal(peak.note(1000), 1000);
  t.equal(peak.note(1100), 1100, 'it grows again');
});
