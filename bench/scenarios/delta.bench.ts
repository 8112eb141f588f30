// What does a change cost, in bytes, time, CPU, memory and writes, beside `rsync -a` to a daemon?
//
//   npm run bench:delta -- [--size MiB] [--runs 3] [--rows PATTERN] [--json FILE] [--tls]
//                          [--directory 100000] [--duplicate 10000] [--place /dev/shm] [--profile DIR]
//
// A live session: push and receive run, their start is not counted. replica's clock runs from the
// tick that sees the change until it is durable (support/live-session.ts); rsync's from its start
// to its end. rsync runs right after replica, on the same change, with --no-whole-file. Both go
// through the same relay, which counts bytes; rsync only in a first run that is not timed, because
// the relay would slow it down. Trees lie on tmpfs; for the large file up to six times its size is
// needed there. Memory is touched before each of them (support/touch-memory.ts).
import fs from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Relay } from '../../test/support/relay.ts';
import {
  directoryGroup,
  duplicateGroup,
  type Group,
  largeFileGroup,
  logsGroup,
  type Row,
  sourcesGroup,
  sqliteGroup,
} from '../support/delta-rows.ts';
import { LiveSession, type Measured } from '../support/live-session.ts';
import { RsyncDaemon } from '../support/rsync-daemon.ts';
import { median } from '../support/statistics.ts';
import { formatTable } from '../support/table.ts';
import { touchMemory } from '../support/touch-memory.ts';

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '1024' },
    runs: { type: 'string', default: '3' },
    rows: { type: 'string', default: '' },
    directory: { type: 'string', default: '100000' },
    duplicate: { type: 'string', default: '10000' },
    json: { type: 'string' },
    profile: { type: 'string' },
    tls: { type: 'boolean', default: false },
    interval: { type: 'string', default: '1000' },
    place: { type: 'string', default: '/dev/shm' },
  },
});

const rsyncFlags = ['--no-whole-file', '--delete'];
const groups: readonly Group[] = [
  largeFileGroup(Number(values.size) * 1024 * 1024),
  directoryGroup(1000),
  directoryGroup(Number(values.directory)),
  duplicateGroup(Number(values.duplicate)),
  sqliteGroup(),
  logsGroup(),
  sourcesGroup(1000),
];

/** As much as the largest row writes. */
const touch = (): void => touchMemory(values.place, (Number(values.size) + 64) * 1024 * 1024);

type Rival = Awaited<ReturnType<RsyncDaemon['measure']>> & { readonly bytes: number };

interface Result {
  readonly row: string;
  readonly bars: Row['bars'];
  readonly replica: readonly Measured[];
  readonly rsync: readonly Rival[];
}

/** One kind of tree with its session and its rsync daemon. */
async function measureGroup(group: Group, rows: readonly Row[]): Promise<Result[]> {
  const base = fs.mkdtempSync(join(values.place, 'replica-bench-'));
  const [source, target, rival] = ['source', 'target', 'rsync'].map(name => join(base, name));
  if (source === undefined || target === undefined || rival === undefined) throw new Error('never');
  try {
    fs.mkdirSync(source);
    fs.mkdirSync(rival);
    const missing = group.make(source);
    if (missing !== undefined) {
      console.error(`skipped: ${group.name}: ${missing}`);
      return [];
    }
    const daemon = await RsyncDaemon.open(rival, base);
    const relay = await Relay.open({ targetPort: daemon.port });
    const intervalMs = Number(values.interval);
    const session = await LiveSession.open({
      ...{ folder: base, source, target, intervalMs, tls: values.tls },
      dropsKept: group.dropsKept === true,
      beforeClock: touch,
      pushArgs: group.compresses ? ['-z'] : [],
      profileFolder: values.profile,
    });
    try {
      const flags = group.compresses ? [...rsyncFlags, '-z'] : rsyncFlags;
      await daemon.copy(source, flags);
      const results: Result[] = [];
      for (const row of rows)
        results.push(await measureRow(row, { source, session, daemon, relay, flags }));
      return results;
    } finally {
      await session.close();
      await relay.close();
      await daemon.close();
    }
  } finally {
    fs.rmSync(base, { recursive: true, force: true });
  }
}

async function measureRow(
  row: Row,
  at: {
    readonly source: string;
    readonly session: LiveSession;
    readonly daemon: RsyncDaemon;
    readonly relay: Relay;
    readonly flags: readonly string[];
  },
): Promise<Result> {
  const { source, session, daemon, relay, flags } = at;
  const replica: Measured[] = [];
  const rsync: Rival[] = [];
  for (let run = 0; run <= Number(values.runs); run++) {
    const measured = await session.measure(() => row.change(source, run));
    const before = relay.bytesUp + relay.bytesDown;
    const isFirst = run === 0;
    const via = isFirst ? { viaPort: relay.port } : {};
    touch();
    const one = await daemon.measure(source, { flags, ...via });
    const bytes = isFirst ? relay.bytesUp + relay.bytesDown - before : (rsync[0]?.bytes ?? 0);
    // The first run gives rsync its bytes, and warms both up.
    if (isFirst) rsync.push({ ...one, bytes });
    else {
      replica.push(measured);
      rsync.push({ ...one, bytes });
    }
    if (row.undo === undefined) continue;
    const { undo } = row;
    await session.measure(() => undo(source));
    await daemon.copy(source, flags);
  }
  const result = { row: row.name, bars: row.bars, replica, rsync: rsync.slice(1) };
  console.error(`${row.name}: ${replica.map(one => one.seconds.toFixed(3)).join(' ')} s`);
  return result;
}

/** Medians, and ratios run by run. */
function summarize({ row, bars, replica, rsync }: Result) {
  const of = <T>(all: readonly T[], value: (one: T) => number) => median(all.map(value));
  const ratios = replica.map((one, i) => one.seconds / (rsync[i]?.seconds ?? Number.NaN));
  const bytes = of(replica, one => one.bytesUp + one.bytesDown);
  const seconds = of(replica, one => one.seconds);
  const rsyncBytes = of(rsync, one => one.bytes);
  const summary = {
    row,
    bytes,
    rsyncBytes,
    bytesRatio: bytes / rsyncBytes,
    seconds,
    rsyncSeconds: of(rsync, one => one.seconds),
    secondsRatio: median(ratios),
    secondsRatioMax: Math.max(...ratios),
    pushCpu: of(replica, one => one.push.cpuSeconds),
    receiveCpu: of(replica, one => one.receive.cpuSeconds),
    lookCpu: of(replica, one => one.lookCpuSeconds),
    rsyncCpu: of(rsync, one => one.client + one.daemon.cpuSeconds),
    pushAnonymousMib: Math.max(...replica.map(one => one.push.anonymousMib)),
    receiveAnonymousMib: Math.max(...replica.map(one => one.receive.anonymousMib)),
    written: of(replica, one => one.receive.bytesWritten),
    rsyncWritten: of(rsync, one => one.daemon.bytesWritten),
    diskWritten: of(replica, one => one.receive.diskBytes),
    rsyncDiskWritten: of(rsync, one => one.daemon.diskBytes),
  };
  const missed = (Object.keys(bars) as (keyof typeof bars)[]).filter(
    bar => !(summary[bar] <= (bars[bar] ?? 0)),
  );
  return { ...summary, bars, missed, runs: replica.length };
}

type Summary = ReturnType<typeof summarize>;

function table(summaries: readonly Summary[]): string {
  const head = ['', 'bytes', 'rsync', 'ratio', 's', 'rsync', 'ratio', 'max'];
  head.push('cpu push', 'receive', 'look', 'rsync', 'MiB push', 'receive', 'written', 'rsync', '');
  const rows = summaries.map(one => [
    one.row,
    formatCount(one.bytes),
    formatCount(one.rsyncBytes),
    one.bytesRatio.toPrecision(2),
    one.seconds.toFixed(3),
    one.rsyncSeconds.toFixed(3),
    one.secondsRatio.toFixed(2),
    one.secondsRatioMax.toFixed(2),
    one.pushCpu.toFixed(2),
    one.receiveCpu.toFixed(2),
    one.lookCpu.toFixed(2),
    one.rsyncCpu.toFixed(2),
    one.pushAnonymousMib.toFixed(0),
    one.receiveAnonymousMib.toFixed(0),
    formatCount(one.written),
    formatCount(one.rsyncWritten),
    one.missed.length === 0 ? '' : `misses ${one.missed.join(', ')}`,
  ]);
  return formatTable([head, ...rows]);
}

function formatCount(bytes: number): string {
  if (bytes < 100_000) return String(bytes);
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 0)}M`;
}

const pattern = new RegExp(values.rows);
const results: Result[] = [];
for (const group of groups) {
  const rows = group.rows.filter(row => pattern.test(row.name));
  if (rows.length > 0) results.push(...(await measureGroup(group, rows)));
}
const summaries = results.map(summarize);
console.log(table(summaries));
if (values.json !== undefined) {
  const { size, runs, tls, place } = values;
  const fields = { node: process.version, sizeMib: Number(size), runs: Number(runs), tls, place };
  fs.writeFileSync(values.json, `${JSON.stringify({ ...fields, rows: summaries }, null, 2)}\n`);
}
