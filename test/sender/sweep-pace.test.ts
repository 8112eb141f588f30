import t from 'tap';
import { sweepPeriodMs } from '../../src/limits.ts';
import { SweepPace } from '../../src/sender/sweep-pace.ts';

interface Tree {
  readonly directories: number;
  /** Of one. */
  readonly costMs: number;
  readonly intervalMs?: number;
  /** What a tick may sweep. */
  readonly budgetMs?: number;
  readonly seconds?: number;
}

/** Ticks as the poller has them, after one sweep of everything; the rounds of the sweep in them. */
function run({ directories, costMs, intervalMs = 500, budgetMs = 40, seconds = 120 }: Tree): {
  share: number;
  periodsMs: number[];
  largestTickMs: number;
} {
  const pace = new SweepPace({ intervalMs, cpuShare: 0.1 });
  let nowMs = 1_000_000;
  const list = (): void => {
    nowMs += costMs;
    pace.spend(costMs);
  };
  for (let i = 0; i < directories; i++) list();
  pace.endRound(nowMs, true);
  const beganMs = nowMs;
  const periodsMs: number[] = [];
  let roundBegunMs = nowMs;
  let next = 0;
  let workMs = 0;
  let largestTickMs = 0;
  for (let tick = 1; tick * intervalMs < seconds * 1000; tick++) {
    nowMs = beganMs + tick * intervalMs;
    let tickMs = 0;
    const isAll = pace.isEachTick && pace.costMs <= budgetMs;
    if (isAll) pace.beginRound();
    while (next < directories && (isAll || (tickMs < budgetMs && pace.isDue(nowMs)))) {
      list();
      tickMs += costMs;
      next++;
    }
    if (next === directories) {
      pace.endRound(nowMs, isAll);
      periodsMs.push(nowMs - roundBegunMs);
      roundBegunMs = nowMs;
      next = 0;
    }
    workMs += tickMs;
    largestTickMs = Math.max(largestTickMs, tickMs);
  }
  return { share: workMs / (nowMs - beganMs), periodsMs, largestTickMs };
}

t.test('a small tree is swept in each tick', async t => {
  const { share, periodsMs } = run({ directories: 20, costMs: 0.2 });
  t.equal(periodsMs.length, 239);
  t.ok(share < 0.01, String(share));
});

t.test('a larger one takes a fiftieth of a core', async t => {
  const { share, periodsMs, largestTickMs } = run({ directories: 200, costMs: 0.2 });
  t.ok(Math.abs(share - 0.02) < 0.002, String(share));
  t.ok(Math.max(...periodsMs) <= 2500, periodsMs.join(' '));
  t.ok(largestTickMs < 15, `${largestTickMs} ms in one tick`);
});

t.test('a large one is swept in the time that a user waits for', async t => {
  const { share, periodsMs } = run({ directories: 2000, costMs: 0.15 });
  t.ok(Math.max(...periodsMs) <= sweepPeriodMs + 500, periodsMs.join(' '));
  t.ok(Math.abs(share - 0.06) < 0.006, String(share));
});

t.test('a very large one is swept as fast as the budget allows', async t => {
  const { share } = run({ directories: 40_000, costMs: 0.2 });
  t.ok(share > 0.079 && share < 0.082, String(share));
});

t.test('one large directory waits until the time that it takes was earned', async t => {
  const { share, periodsMs } = run({ directories: 1, costMs: 400 });
  t.ok(share < 0.085, String(share));
  t.ok(Math.max(...periodsMs) <= sweepPeriodMs + 500, periodsMs.join(' '));
});

t.test('with a long interval everything is looked at in it', async t => {
  const { periodsMs } = run({
    ...{ directories: 2000, costMs: 0.2, intervalMs: 15_000, budgetMs: 1200, seconds: 600 },
  });
  t.ok(Math.max(...periodsMs) <= 30_000, periodsMs.join(' '));
});

t.test('after a pause there is no rush, and after a burst of work no standstill', async t => {
  const pace = new SweepPace({ intervalMs: 500, cpuShare: 0.1 });
  const round = (count: number): void => {
    for (let i = 0; i < count; i++) pace.spend(1);
  };
  round(100);
  pace.endRound(0, true);
  let spent = 0;
  while (pace.isDue(3_600_000)) {
    pace.spend(1);
    spent++;
  }
  t.equal(spent, 100, 'one round');
  pace.spend(60_000);
  t.notOk(pace.isDue(3_600_000));
  t.notOk(pace.isDue(3_600_000 + sweepPeriodMs - 1000));
  t.ok(pace.isDue(3_600_000 + sweepPeriodMs + 1));
});
