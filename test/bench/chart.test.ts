import t from 'tap';
import { drawChart } from '../../bench/support/chart.ts';
import type { Result } from '../../bench/support/results.ts';

const head = { title: 'Title', note: 'note' };
const copy = { group: 'Copies', work: 'first copy', unit: 's' } as const;

/** Widths of bars, in the order in which they are drawn. */
function barsOf(svg: string): number[] {
  const bars = svg.matchAll(/<rect x="[\d.]+" y="[\d.]+" width="([\d.]+)" height="13"/g);
  return [...bars].map(([, width]) => Number(width));
}

t.test('bars grow by the same for each factor of ten', async t => {
  const svg = drawChart(head, [
    { ...copy, tool: 'replica', runs: [0.2] },
    { ...copy, tool: 'rsync', runs: [2] },
    { ...copy, tool: 'Unison', runs: [20] },
  ]);
  const [first = 0, second = 0, third = 0] = barsOf(svg);
  t.ok(first > 0);
  t.ok(second - first > 20);
  t.ok(Math.abs(third - second - (second - first)) < 0.3);
  for (const text of ['>replica<', '>rsync<', '>0.200<', '>20.0<', '>Copies, seconds<']) {
    t.ok(svg.includes(text), text);
  }
});

t.test('series are lines with a point for each size', async t => {
  const series = (tool: string): Result[] =>
    [1000, 10_000, 100_000].map(files => ({ ...copy, tool, runs: [files / 1000], files }));
  const svg = drawChart(head, [...series('replica'), ...series('rsync')]);
  t.equal([...svg.matchAll(/<circle /g)].length, 6);
  t.equal([...svg.matchAll(/stroke-width="2"/g)].length, 2);
  t.same(barsOf(svg), []);
  // Cost that grows as files do is a straight line.
  const path = /<path d="M([\d. ]+)L([\d. ]+)L([\d. ]+)"/.exec(svg) ?? [];
  const [a, b, c] = path.slice(1).map(point => point.split(' ').map(Number));
  t.ok(Math.abs((a?.[0] ?? 0) + (c?.[0] ?? 0) - 2 * (b?.[0] ?? 0)) < 0.3);
  t.ok(Math.abs((a?.[1] ?? 0) + (c?.[1] ?? 0) - 2 * (b?.[1] ?? 0)) < 0.3);
});

t.test('what is zero, alone or written with < is drawn too', async t => {
  const svg = drawChart({ title: 'a < b & c', note: '' }, [
    { ...copy, tool: 'replica', runs: [0] },
    { ...copy, group: 'Other', tool: 'replica', runs: [0, 5] },
    { ...copy, group: 'Series', tool: 'replica', runs: [1], files: 1000 },
  ]);
  t.notMatch(svg, /NaN|Infinity|undefined/);
  t.ok(svg.includes('>a &lt; b &amp; c<'));
});
