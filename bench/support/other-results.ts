// What benches with a form of their own found, as results.
import type { Result, Unit } from './results.ts';
import { formatTable } from './table.ts';

type Fields = Readonly<Record<string, unknown>>;

/** The file of scenarios/delta: medians of each row. */
export function fromDelta(found: unknown): Result[] {
  const { rows } = found as { readonly rows: readonly Fields[] };
  const column = (row: Fields, group: string, unit: Unit, names: readonly [string, string]) => {
    const work = String(row.row);
    const of = (tool: string, name: string) => ({
      group,
      work,
      tool,
      unit,
      runs: [Number(row[name])],
    });
    return [of('replica', names[0]), of('rsync', names[1])];
  };
  const groups: [string, Unit, [string, string]][] = [
    ['Until a change is durable', 's', ['seconds', 'rsyncSeconds']],
    ['Bytes both ways', 'bytes', ['bytes', 'rsyncBytes']],
  ];
  return groups.flatMap(([group, unit, names]) =>
    rows.flatMap(row => column(row, group, unit, names)),
  );
}

/** The file of scenarios/releases: bytes both ways. */
export function fromReleases(found: unknown): Result[] {
  interface Row {
    readonly pair: string;
    readonly phase: string;
    readonly rsyncZ: { readonly bytes: number };
    readonly replica: { readonly bytes: number };
  }
  const { rows } = found as { readonly rows: readonly Row[] };
  const ordered = [...rows].sort((a, b) => a.phase.localeCompare(b.phase));
  return ordered.flatMap(({ pair, phase, rsyncZ, replica }) => {
    const group = phase === 'initial' ? 'Bytes of a first copy' : 'Bytes of an update';
    const of = (tool: string, bytes: number): Result => ({
      ...{ group, work: pair, tool, unit: 'bytes', runs: [bytes] },
    });
    return [of('replica', replica.bytes), of('rsync -az', rsyncZ.bytes)];
  });
}

/** Fields of JSON lines that are figures: whose, and in what. */
const figures: Readonly<Record<string, readonly [tool: string, Unit, about: string]>> = {
  replicaSeconds: ['replica', 's', ''],
  rsyncSeconds: ['rsync', 's', ''],
  medianSeconds: ['replica', 's', ''],
  p99Seconds: ['replica', 's', ', 99th percentile'],
  pushMib: ['replica', 'MiB', ', push'],
  receiveMib: ['replica', 'MiB', ', receive'],
};

/** JSON lines of the scenarios that say what they are of. */
export function fromLines(name: string, lines: readonly Fields[]): Result[] {
  const group = `${name.slice(name.indexOf('/') + 1)}`;
  return lines
    .filter(line => typeof line.what === 'string')
    .flatMap(line =>
      Object.entries(figures).flatMap(([field, [tool, unit, about]]) => {
        const value = line[field];
        if (typeof value !== 'number') return [];
        return [{ group, work: `${line.what}${about}`, tool, unit, runs: [value] }];
      }),
    );
}

/** The lines of micro-benchmarks (measure.ts and those like it). */
export function microTable(lines: readonly Fields[]): string {
  const shown = new Set([
    'name',
    'medianMs',
    'p95Ms',
    'megabytesPerSecond',
    'node',
    'cpu',
    'parent',
  ]);
  const rows = lines.map(line => {
    const fields = Object.entries(line).filter(
      ([key, value]) => !shown.has(key) && (typeof value === 'string' || key === 'blockSize'),
    );
    const name = [line.name, ...fields.map(([, value]) => value)].join(', ');
    const figure = (key: string): string => String(line[key] ?? '');
    return [name, figure('medianMs'), figure('p95Ms'), figure('megabytesPerSecond')];
  });
  return formatTable([['', 'median ms', 'p95', 'MB/s'], ...rows]);
}
