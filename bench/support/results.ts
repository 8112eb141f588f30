// What a bench found, in one form for the table, the JSON file and the chart.
import fs from 'node:fs';
import os from 'node:os';
import { median } from './statistics.ts';
import { formatTable } from './table.ts';

export type Unit = 's' | '% of a core' | 'MiB' | 'bytes' | 'ms';

export interface Result {
  /** The heading it stands under. */
  readonly group: string;
  readonly work: string;
  readonly tool: string;
  readonly unit: Unit;
  readonly runs: readonly number[];
  /** Tools took turns: the same place in `runs` is the same moment. */
  readonly takesTurns?: boolean;
  /** The size of the tree, in a series. */
  readonly files?: number;
}

/** Collects runs. */
export class ResultList {
  readonly #found = new Map<string, { readonly of: Omit<Result, 'runs'>; runs: number[] }>();

  add(of: Omit<Result, 'runs'>, value: number): void {
    const key = `${of.group}\0${of.work}\0${of.tool}`;
    const known = this.#found.get(key) ?? { of, runs: [] };
    known.runs.push(value);
    this.#found.set(key, known);
  }

  /** In the order in which groups first came. */
  grouped(): Result[] {
    const all = [...this.#found.values()].map(({ of, runs }) => ({ ...of, runs }));
    const groups = [...new Set(all.map(result => result.group))];
    return groups.flatMap(group => all.filter(result => result.group === group));
  }
}

export interface Report {
  readonly scenario: string;
  readonly machine: Machine;
  /** What the tools say of themselves, and those that are not installed. */
  readonly tools?: Readonly<Record<string, string>>;
  readonly options?: Readonly<Record<string, unknown>>;
  readonly results: readonly Result[];
}

export interface Machine {
  readonly node: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly kernel: string;
  /** Averages over 1, 5 and 15 minutes; a busy machine makes any figure worthless. */
  readonly load: readonly number[];
}

export function describeMachine(): Machine {
  return {
    node: process.version,
    cpu: os.cpus()[0]?.model ?? 'unknown',
    cores: os.cpus().length,
    memoryGib: Math.round(os.totalmem() / 1024 ** 3),
    kernel: os.release(),
    load: os.loadavg().map(value => Number(value.toFixed(2))),
  };
}

/** Prints the table; writes the report if there is where to. */
export function finish(report: Report, path: string | undefined): void {
  console.log(resultTable(report.results));
  if (path !== undefined) writeReport(path, report);
}

export function writeReport(path: string, report: object): void {
  fs.writeFileSync(path, `${JSON.stringify(report, null, 1)}\n`);
}

/** Results of one work, by tool; works and tools in the order in which they first came. */
export function byWork(results: readonly Result[]): ReadonlyMap<string, readonly Result[]> {
  const works = new Map<string, Result[]>();
  for (const result of results) {
    const key = `${result.group}\0${result.work}\0${result.unit}`;
    works.set(key, [...(works.get(key) ?? []), result]);
  }
  return works;
}

export function toolsOf(results: readonly Result[]): string[] {
  return [...new Set(results.map(result => result.tool))];
}

/**
 * A line for each work: for each tool the median with the least and the most, and for each but the
 * first of them what the first is of it.
 */
export function resultTable(results: readonly Result[]): string {
  const tools = toolsOf(results);
  const [first = ''] = tools;
  const head = ['', 'unit', ...tools.flatMap((tool, i) => (i === 0 ? [tool] : [tool, 'ratio']))];
  const rows = [head];
  let group = '';
  for (const found of byWork(results).values()) {
    const [{ group: of = '', work = '', unit = '' } = {}] = found;
    if (of !== group) rows.push([`${of}:`]);
    group = of;
    const own = found.find(result => result.tool === first);
    const cells = tools.flatMap((tool, i) => {
      const result = found.find(one => one.tool === tool);
      const cell = result === undefined ? '' : formatRuns(result.runs);
      if (i === 0) return [cell];
      return [cell, own && result ? formatNumber(ratioOf(own, result)) : ''];
    });
    rows.push([`  ${work}`, unit, ...cells]);
  }
  return formatTable(rows);
}

/** Run by run where tools took turns, so that a busy moment weighs on both; else of the medians. */
function ratioOf(one: Result, other: Result): number {
  const areTurns = one.takesTurns === true && one.runs.length === other.runs.length;
  if (!areTurns) return median(one.runs) / median(other.runs);
  return median(one.runs.map((value, i) => value / (other.runs[i] ?? Number.NaN)));
}

function formatRuns(runs: readonly number[]): string {
  const middle = formatNumber(median(runs));
  if (runs.length === 1) return middle;
  return `${middle} (${formatNumber(Math.min(...runs))}-${formatNumber(Math.max(...runs))})`;
}

/** Three digits that count, and no exponent. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return '-';
  if (value === 0) return '0';
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-US');
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 4));
}
