import t from 'tap';
import { LinkClock } from '../../src/net/link-clock.ts';

const limits = {
  ...{ helloMs: 1000, pingAfterMs: 50, deadAfterMs: 200, frameMs: 300 },
  slowestBytesPerSecond: 1_000_000,
};

function greeted(): LinkClock {
  const clock = new LinkClock(limits, 0);
  clock.greet();
  return clock;
}

t.test('the greeting has an absolute deadline, whatever is heard', async t => {
  const clock = new LinkClock(limits, 0);
  for (let now = 0; now < 1000; now += 10) {
    clock.startReading(now, 0);
    t.equal(clock.check(now).kind, 'quiet', `${now}`);
  }
  t.same(clock.check(1000), { kind: 'dead', why: 'sent no greeting within 1 s' });
});

t.test('asks again when the next thing is due', async t => {
  const clock = new LinkClock(limits, 0);
  t.same(clock.check(0), { kind: 'quiet', againMs: 50 });
  clock.greet();
  clock.sent(30);
  t.same(clock.check(40), { kind: 'quiet', againMs: 40 });
  t.same(clock.check(80), { kind: 'ping', againMs: 50 });
  t.same(clock.check(90), { kind: 'quiet', againMs: 40 }, 'the ping was sent');
});

t.test('pings after having sent nothing, not after having heard nothing', async t => {
  const clock = greeted();
  clock.startReading(0, 0);
  clock.heard(49, 0);
  t.equal(clock.check(50).kind, 'ping');
});

t.test('silence counts from the last byte, is looked at twice, and only while reading', async t => {
  const clock = greeted();
  clock.sent(1000);
  t.equal(clock.check(1000).kind, 'quiet', 'nobody reads');
  clock.startReading(1000, 0);
  clock.heard(1100, 0);
  clock.sent(1299);
  t.equal(clock.check(1299).kind, 'quiet');
  t.same(clock.check(1300), { kind: 'quiet', againMs: 50 });
  t.same(clock.check(1350), { kind: 'dead', why: 'gave no answer for 0.2 s' });
});

t.test('what comes between the two looks saves the link', async t => {
  const clock = greeted();
  clock.startReading(0, 0);
  clock.check(1000);
  clock.heard(1001, 0);
  t.not(clock.check(1050).kind, 'dead');
  t.not(clock.check(1200).kind, 'dead');
  t.not(clock.check(1201).kind, 'dead', 'the first of two looks again');
  t.equal(clock.check(1251).kind, 'dead');
});

t.test('a frame has an absolute deadline, however its bytes drip', async t => {
  const clock = greeted();
  clock.startReading(0, 0);
  for (let now = 10; now < 310; now += 10) {
    clock.heard(now, 1);
    t.not(clock.check(now).kind, 'dead');
  }
  clock.heard(309, 1);
  t.not(clock.check(310).kind, 'dead');
  t.same(clock.check(310.001), { kind: 'dead', why: 'did not complete a frame within 0.3 s' });
});

t.test('a frame that waits for its reader is not late', async t => {
  const clock = greeted();
  clock.startReading(0, 0);
  clock.heard(1, 1);
  clock.stopReading();
  t.not(clock.check(10_000).kind, 'dead');
  clock.startReading(10_000, 1);
  clock.heard(10_100, 1);
  t.not(clock.check(10_300).kind, 'dead');
  t.equal(clock.check(10_300.001).kind, 'dead');
});

t.test('a large frame has the time that a slow link takes for it', async t => {
  const clock = greeted();
  clock.startReading(0, 0);
  clock.heard(10, 1);
  for (let now = 20; now < 810; now += 10) {
    clock.heard(now, 500_000);
    clock.sent(now);
    t.same(clock.check(now), { kind: 'quiet', againMs: Math.min(50, 810 - now) });
  }
  t.same(clock.check(810), { kind: 'dead', why: 'did not complete a frame within 0.8 s' });
  clock.startReading(900, 0);
  clock.heard(901, 1);
  for (let now = 910; now < 1300; now += 10) clock.heard(now, 1);
  t.equal(clock.check(1300).kind, 'dead', 'the next one is small');
});
