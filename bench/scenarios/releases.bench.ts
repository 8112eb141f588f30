// How many bytes does a real tree cost, copied first and then updated to its next release, beside
// `rsync -a` and `rsync -az` to a daemon?
//
//   node dist/bench/scenarios/releases.bench.js [--only NAME] [--push-args '-z …'] [--rate bytes/s] [--forget] [--json FILE]
//
// The pairs of releases are fixed in releases.json. Updates are made as a checkout makes them, within
// a live session; with --forget by a push that was ended by SIGKILL in between. Every transfer goes through a relay that counts what passes, both ways.
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CountedSession } from '../support/counted-session.ts';
import { checkOut, type ReleasePair, releasePairs, unpackReleases } from '../support/packages.ts';
import { RsyncDaemon } from '../support/rsync-daemon.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    'push-args': { type: 'string', default: '' },
    rate: { type: 'string' },
    forget: { type: 'boolean', default: false },
    json: { type: 'string' },
    cache: { type: 'string', default: join(tmpdir(), 'replica-bench-packages') },
    place: { type: 'string', default: '/dev/shm' },
  },
});

interface Cost {
  readonly bytes: number;
  readonly seconds: number;
}

interface Row {
  readonly pair: string;
  readonly phase: 'initial' | 'update';
  readonly rsync: Cost;
  readonly rsyncZ: Cost;
  readonly replica: Cost;
}

const base = fs.mkdtempSync(join(values.place, 'replica-bench-'));
const rate = values.rate === undefined ? undefined : Number(values.rate);

async function byRsync(
  pair: ReleasePair,
  flags: readonly string[],
): Promise<readonly [Cost, Cost]> {
  const { source, target, next } = unpackReleases(pair, join(base, 'pair'), values.cache);
  const daemon = await RsyncDaemon.open(target, base);
  const all = ['--delete', ...flags];
  const initial = await daemon.counted(source, all, rate);
  checkOut(next, source);
  const update = await daemon.counted(source, all, rate);
  await daemon.close();
  return [initial, update];
}

async function byReplica(pair: ReleasePair): Promise<readonly [Cost, Cost]> {
  const { source, target, next, folder } = unpackReleases(pair, join(base, 'pair'), values.cache);
  // rsync's --delete knows no limit.
  const given = values['push-args'].split(' ').filter(arg => arg !== '');
  const pushArgs = ['--max-delete', '100%', ...given];
  const options = { folder: join(folder, 'home'), source, target, pushArgs };
  const session = await CountedSession.open(
    rate === undefined ? options : { ...options, bytesPerSecond: rate },
  );
  const initial = await session.traffic();
  if (values.forget) await session.forget();
  const update = await session.traffic(() => checkOut(next, source));
  await session.close();
  return [initial, update];
}

function ratio(row: Row): number {
  return row.replica.bytes / row.rsyncZ.bytes;
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const [low, high] = [sorted[Math.ceil(middle) - 1] ?? 0, sorted[Math.floor(middle)] ?? 0];
  return (low + high) / 2;
}

function print(row: Row): void {
  const { rsync, rsyncZ, replica } = row;
  const cells = [
    row.pair.padEnd(36),
    row.phase.padEnd(8),
    ...[rsync, rsyncZ, replica].map(cost => String(cost.bytes).padStart(11)),
    ...[rsync, rsyncZ, replica].map(cost => `${cost.seconds.toFixed(2)}s`.padStart(8)),
    ratio(row).toFixed(3).padStart(8),
  ];
  console.log(cells.join(''));
}

async function main(): Promise<void> {
  const rows: Row[] = [];
  const heads = ['rsync -a', 'rsync -az', 'replica'];
  const head = heads.map(text => text.padStart(11)).join('');
  console.log(`${'pair'.padEnd(36)}${'phase'.padEnd(8)}${head}   (bytes both ways; times; / -az)`);
  for (const pair of releasePairs()) {
    if (values.only !== undefined && values.only !== pair.name) continue;
    const rsync = await byRsync(pair, []);
    const rsyncZ = await byRsync(pair, ['-z']);
    const replica = await byReplica(pair);
    for (const i of [0, 1] as const) {
      const phase = i === 0 ? 'initial' : 'update';
      const name = `${pair.name} ${pair.from}-${pair.to}`;
      const row: Row = {
        ...{ pair: name, phase, rsync: rsync[i], rsyncZ: rsyncZ[i], replica: replica[i] },
      };
      rows.push(row);
      print(row);
    }
  }
  for (const phase of ['initial', 'update'] as const) {
    const ratios = rows.filter(row => row.phase === phase).map(ratio);
    const worst = Math.max(...ratios);
    console.log(`${phase}: median ${median(ratios).toFixed(3)}, worst ${worst.toFixed(3)}`);
  }
  const result = { pushArgs: values['push-args'], node: process.version, rows };
  if (values.json !== undefined) fs.writeFileSync(values.json, JSON.stringify(result, null, 1));
}

try {
  await main();
} finally {
  fs.rmSync(base, { recursive: true, force: true });
}
