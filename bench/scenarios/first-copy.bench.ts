// How long does the first copy of a tree take, beside `rsync -a` to a daemon, and what memory?
//
//   node dist/bench/scenarios/first-copy.bench.js [--runs 5] [--files 100000] [--large MiB] [--tls]
//
// Trees and states lie on tmpfs (/dev/shm) and are written before the clock runs; runs alternate.
import fs from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Home } from '../../test/support/programs.ts';
import { compareByRsync } from '../../test/support/rsync.ts';
import { ProcessMeter } from '../support/processes.ts';
import { RsyncDaemon } from '../support/rsync-daemon.ts';
import { touchMemory } from '../support/touch-memory.ts';
import { makeLargeFile, makeSmallFiles } from '../support/trees.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '5' },
    files: { type: 'string', default: '100000' },
    'per-folder': { type: 'string', default: '50' },
    large: { type: 'string' },
    tls: { type: 'boolean', default: false },
    place: { type: 'string', default: '/dev/shm' },
  },
});

const base = fs.mkdtempSync(join(values.place, 'replica-bench-'));
const source = join(base, 'source');
const target = join(base, 'target');
fs.mkdirSync(source);

/** As much as the copy takes (support/touch-memory.ts); small files are 4 KiB of it each. */
const copySize =
  values.large === undefined ? Number(values.files) * 4096 : Number(values.large) * 1024 * 1024;
const touch = (): void => touchMemory(values.place, copySize);

async function timeReplica(run: number): Promise<Result> {
  fs.rmSync(target, { recursive: true, force: true });
  fs.mkdirSync(target);
  const home = new Home(join(base, `home${run}`));
  const plain = values.tls ? [] : ['--insecure'];
  const { program, port } = await home.receive(target, plain);
  const receiving = new ProcessMeter(program.child.pid ?? 0);
  touch();
  const begunMs = performance.now();
  const push = home.push(source, `127.0.0.1:${port}`, ['--once', ...plain]);
  const sending = new ProcessMeter(push.child.pid ?? 0);
  const { code } = await push.exit;
  const seconds = (performance.now() - begunMs) / 1000;
  if (code !== 0) throw new Error(`push exits ${code}:\n${push.lines.slice(-5).join('\n')}`);
  const result = { seconds, push: sending.stop(), receive: receiving.stop() };
  await program.stop();
  return result;
}

interface Result {
  readonly seconds: number;
  readonly push: { readonly cpuSeconds: number; readonly anonymousMib: number };
  readonly receive: { readonly cpuSeconds: number; readonly anonymousMib: number };
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

async function main(): Promise<void> {
  if (values.large === undefined) {
    makeSmallFiles(source, Number(values.files), Number(values['per-folder']));
  } else makeLargeFile(join(source, 'large'), Number(values.large) * 1024 * 1024);
  const rival = join(base, 'rsync');
  fs.mkdirSync(rival);
  const daemon = await RsyncDaemon.open(rival, base);
  const replica: Result[] = [];
  const rsync: number[] = [];
  for (let run = 0; run < Number(values.runs); run++) {
    for (const name of fs.readdirSync(rival)) fs.rmSync(join(rival, name), { recursive: true });
    touch();
    rsync.push(await daemon.copy(source));
    const result = await timeReplica(run);
    replica.push(result);
    const differences = await compareByRsync(source, target);
    if (differences.length > 0) throw new Error(`not equal: ${differences.slice(0, 3).join('; ')}`);
    console.log(JSON.stringify({ run, rsync: rsync.at(-1), replica: result }));
  }
  await daemon.close();
  const ratios = replica.map((one, i) => one.seconds / (rsync[i] ?? Number.NaN));
  console.log(
    JSON.stringify({
      what: values.large === undefined ? `${values.files} small files` : `${values.large} MiB file`,
      link: values.tls ? 'tls' : 'plaintext',
      runs: replica.length,
      replicaSeconds: median(replica.map(one => one.seconds)),
      rsyncSeconds: median(rsync),
      ratio: median(ratios),
      ratioMin: Math.min(...ratios),
      ratioMax: Math.max(...ratios),
      pushAnonymousMib: Math.max(...replica.map(one => one.push.anonymousMib)),
      receiveAnonymousMib: Math.max(...replica.map(one => one.receive.anonymousMib)),
    }),
  );
}

try {
  await main();
} finally {
  fs.rmSync(base, { recursive: true, force: true });
}
