// What does a new small file cost on the receiving side: staged and renamed one by one, or in a
// directory that is completed in staging and renamed once? And what does confinement cost beside
// plain paths? Run: node dist/bench/tree/apply.bench.js [folder, best on tmpfs] [files] [runs]
import fs from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { type Name, toName } from '../../src/snapshot/name.ts';
import { ConfinedDirectory } from '../../src/tree/confined-directory.ts';
import { StagedFile } from '../../src/tree/staged-file.ts';
import { randomBytes, seededRandom } from '../../test/support/random.ts';

const filesPerDirectory = 50;
const [parent = '/dev/shm', files = '100000', runs = '3'] = process.argv.slice(2);
const directoryCount = Math.ceil(Number(files) / filesPerDirectory);
const content = randomBytes(seededRandom(1), 1200);
const when = { mode: 0o644, mtimeNs: 1_700_000_000_123_456_000n };
const fileNames = Array.from({ length: filesPerDirectory }, (_, i) => toName(`file-${i}.txt`));

interface Place {
  readonly path: string;
  readonly root: ConfinedDirectory;
  readonly staging: ConfinedDirectory;
}

function write(directory: ConfinedDirectory, name: Name): void {
  const file = StagedFile.create(directory, name);
  file.write(content);
  file.finish(when);
  file.close();
}

const ways: Record<string, (place: Place, directory: Name) => void> = {
  'staged one by one': ({ root, staging }, name) => {
    root.mkdir(name, 0o755);
    const directory = root.sub(name);
    fileNames.forEach((file, i) => {
      const staged = toName(`s${i}`);
      write(staging, staged);
      staging.rename(staged, directory, file);
    });
    directory.setTimesSelf(when.mtimeNs);
    directory.release();
  },
  'directory renamed once': ({ root, staging }, name) => {
    staging.mkdir(name, 0o755);
    const directory = staging.sub(name);
    for (const file of fileNames) write(directory, file);
    directory.setTimesSelf(when.mtimeNs);
    directory.release();
    staging.rename(name, root, name);
  },
  // Neither confined nor finished: the rival.
  'plain paths, renamed one by one': ({ path }, name) => {
    const directory = join(path, name);
    fs.mkdirSync(directory);
    for (const file of fileNames) {
      const staged = join(path, '.replica', 'staging');
      const fd = fs.openSync(staged, 'wx', 0o600);
      fs.writeSync(fd, content);
      fs.fchmodSync(fd, when.mode);
      fs.futimesSync(fd, Date.now() / 1000, 1_700_000_000.1234565);
      fs.fstatSync(fd, { bigint: true });
      fs.closeSync(fd);
      fs.renameSync(staged, join(directory, file));
    }
    fs.utimesSync(directory, Date.now() / 1000, 1_700_000_000.1234565);
  },
};

function check(path: string): void {
  for (let i = 0; i < directoryCount; i += 97) {
    const directory = join(path, `dir-${i}`);
    const { mtimeNs, mode } = fs.statSync(join(directory, 'file-7.txt'), { bigint: true });
    const right = mtimeNs === when.mtimeNs && (mode & 0o777n) === 0o644n;
    const complete = fs.readdirSync(directory).length === filesPerDirectory;
    if (!right || !complete) throw new Error(`wrong result in ${directory}`);
    if (!fs.readFileSync(join(directory, 'file-7.txt')).equals(content)) throw new Error('content');
  }
}

interface Cost {
  readonly ms: number;
  /** Of this process, kernel included; what is left of `ms` is waiting. */
  readonly cpuMs: number;
}

function runOnce(way: (place: Place, directory: Name) => void): Cost {
  const path = fs.mkdtempSync(join(parent, 'replica-bench-'));
  const root = ConfinedDirectory.openRoot(path);
  root.mkdir(toName('.replica'), 0o700);
  const staging = root.sub(toName('.replica'));
  try {
    const start = performance.now();
    const startCpu = process.cpuUsage();
    for (let i = 0; i < directoryCount; i++) way({ path, root, staging }, toName(`dir-${i}`));
    const ms = performance.now() - start;
    const cpu = process.cpuUsage(startCpu);
    check(path);
    return { ms, cpuMs: (cpu.user + cpu.system) / 1000 };
  } finally {
    staging.release();
    root.release();
    // Not removed before the end: ext4 searches past inodes that were freed lately.
    made.push(path);
  }
}

const made: string[] = [];
const costs = new Map<string, Cost[]>(Object.keys(ways).map(name => [name, []]));
// Turn about, so that a busy moment of the machine does not hit one way only.
for (let run = 0; run < Number(runs); run++) {
  for (const [name, way] of Object.entries(ways)) costs.get(name)?.push(runOnce(way));
}
for (const [name, runs] of costs) {
  const sorted = runs.map(({ ms }) => ms).sort((a, b) => a - b);
  const sortedCpu = runs.map(({ cpuMs }) => cpuMs).sort((a, b) => a - b);
  const line = {
    name: `apply: ${name}`,
    files: directoryCount * filesPerDirectory,
    fileSize: content.length,
    medianMs: Math.round(sorted[Math.floor(sorted.length / 2)] ?? 0),
    medianCpuMs: Math.round(sortedCpu[Math.floor(sortedCpu.length / 2)] ?? 0),
    worstMs: Math.round(sorted.at(-1) ?? 0),
    parent,
    node: process.version,
    cpu: cpus()[0]?.model ?? 'unknown',
  };
  console.log(JSON.stringify(line));
}
for (const path of made) fs.rmSync(path, { recursive: true });
