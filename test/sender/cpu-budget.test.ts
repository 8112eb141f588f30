import t from 'tap';
import { CpuBudget } from '../../src/sender/cpu-budget.ts';

/** Ticks every 500 ms, each of which uses `costOf` its budget; returns the share of a core used. */
function run(
  costOf: (budgetMs: number, tick: number) => number,
  ticks: number,
): { share: number; budgets: number[] } {
  let nowMs = 0;
  let cpuMs = 0;
  const options = { share: 0.1, intervalMs: 500, cpuMs: () => cpuMs, nowMs: () => nowMs };
  const budget = new CpuBudget(options);
  const budgets: number[] = [];
  for (let tick = 0; tick < ticks; tick++) {
    const ms = budget.nextMs();
    budgets.push(ms);
    cpuMs += costOf(ms, tick);
    nowMs += 500;
  }
  return { share: cpuMs / nowMs, budgets };
}

t.test('the process stays at its share, whatever a millisecond of scanning costs', async t => {
  for (const factor of [0.5, 1, 1.8]) {
    const { share } = run(budgetMs => budgetMs * factor, 400);
    t.ok(share > 0.09 * Math.min(1, factor) && share < 0.11, `${factor}: ${share}`);
  }
});

t.test('a tick that used more than it may is made up for by the next ones', async t => {
  const { share, budgets } = run((budgetMs, tick) => (tick === 10 ? 500 : budgetMs), 400);
  t.ok((budgets[11] ?? 0) < (budgets[10] ?? 0));
  t.ok(share < 0.11, String(share));
});

t.test(
  'other work leaves scanning a fifth of its share, and a burst of it is soon forgiven',
  async t => {
    const { budgets } = run((budgetMs, tick) => budgetMs + (tick < 40 ? 500 : 0), 200);
    t.equal(Math.min(...budgets), 10);
    t.ok((budgets[100] ?? 0) > 30, String(budgets[100]));
  },
);
