import t from 'tap';
import { formatNumber, type Result, ResultList, resultTable } from '../../bench/support/results.ts';

const copy = { group: 'Copies', work: 'first copy', unit: 's' } as const;

t.test('a table has a line for each work, and what the first tool is of each other', async t => {
  const results: Result[] = [
    { ...copy, tool: 'replica', runs: [2, 4, 3] },
    { ...copy, tool: 'other', runs: [6] },
    { ...copy, work: 'again', tool: 'other', runs: [1] },
    { group: 'Memory', work: 'idle', unit: 'MiB', tool: 'replica', runs: [100] },
  ];
  const lines = resultTable(results).split('\n');
  t.match(lines[0], /^ +unit +replica +other +ratio$/);
  t.same(
    lines.slice(2).map(line => line.trim().split(/ {2,}/)),
    [
      ['Copies:'],
      ['first copy', 's', '3.00 (2.00-4.00)', '6.00', '0.500'],
      ['again', 's', '1.00'],
      ['Memory:'],
      ['idle', 'MiB', '100'],
    ],
  );
});

t.test('tools that took turns are compared run by run', async t => {
  // A busy moment hit both in the first two runs.
  const runs = { replica: [20, 20, 2], other: [10, 10, 1] };
  const table = (takesTurns: boolean, other: readonly number[]): string =>
    resultTable([
      { ...copy, tool: 'replica', runs: runs.replica, takesTurns },
      { ...copy, tool: 'other', runs: other, takesTurns },
    ]);
  t.match(table(true, runs.other), / 2\.00$/);
  t.match(table(true, [1, 10, 5]), / 2\.00$/, 'the median of 20, 2 and 0.4');
  t.match(table(false, [1, 10, 5]), / 4\.00$/, 'medians: 20 of 5');
  t.match(table(true, [1, 4]), / 5\.00$/, 'not as many runs: medians');
});

t.test('runs of one work are collected, groups in the order in which they came', async t => {
  const list = new ResultList();
  list.add({ ...copy, tool: 'replica' }, 1);
  list.add({ ...copy, group: 'Memory', tool: 'replica' }, 5);
  list.add({ ...copy, tool: 'other' }, 2);
  list.add({ ...copy, tool: 'replica' }, 3);
  t.same(
    list.grouped().map(({ group, tool, runs }) => [group, tool, runs]),
    [
      ['Copies', 'replica', [1, 3]],
      ['Copies', 'other', [2]],
      ['Memory', 'replica', [5]],
    ],
  );
});

t.test('figures have three digits that count', async t => {
  const expected: readonly (readonly [number, string])[] = [
    [0, '0'],
    [0.00123, '0.0012'],
    [0.0123, '0.0123'],
    [0.123, '0.123'],
    [1.234, '1.23'],
    [12.34, '12.3'],
    [123.4, '123'],
    [1234567, '1,234,567'],
    [Number.NaN, '-'],
    [Number.POSITIVE_INFINITY, '-'],
  ];
  for (const [value, text] of expected) t.equal(formatNumber(value), text);
});
