// The main job on real input: a tree of packages replicates, is changed in all the ways a package
// manager does while it replicates, and is equal again by comparisons that share no code with us.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import type { Transport } from './fake-ssh.ts';
import { LivePair } from './live-pair.ts';
import { LocalPasses } from './local-pass.ts';
import { pick, seededRandom } from './random.ts';
import { compareIndependently } from './rsync.ts';

export interface MainJob {
  /** A folder with packages in it; only read. */
  readonly packages: string;
  /** Which of them; all when undefined. */
  readonly names?: readonly string[];
  readonly folder: string;
  readonly seed: number;
  readonly transport?: Transport;
  readonly limitMs: number;
  readonly say: (line: string) => void;
}

/** Copies with links preserved, and times cut to what a destination can be given. */
function copyPackages(job: MainJob, to: string): number {
  fs.mkdirSync(to, { recursive: true });
  const names = job.names ?? fs.readdirSync(job.packages);
  const { status, stderr } = spawnSync(
    'cp',
    ['-a', '--', ...names.map(name => join(job.packages, name)), to],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(stderr);
  return wholeMicroseconds(to);
}

/** rsync compares to the nanosecond; Node sets microseconds. Returns the count of entries. */
function wholeMicroseconds(folder: string): number {
  let count = 0;
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    count++;
    if (entry.isDirectory()) count += wholeMicroseconds(path);
    const { mtimeNs } = fs.lstatSync(path, { bigint: true });
    if (mtimeNs % 1000n === 0n) continue;
    const seconds = (Number(mtimeNs / 1000n) + 0.5) / 1e6;
    fs.lutimesSync(path, seconds, seconds);
  }
  const { mtimeNs } = fs.lstatSync(folder, { bigint: true });
  const seconds = (Number(mtimeNs / 1000n) + 0.5) / 1e6;
  fs.utimesSync(folder, seconds, seconds);
  return count;
}

/** Waits until both comparisons print nothing; throws with what they print. */
async function equalIndependently(pair: LivePair, limitMs: number): Promise<number> {
  const begunMs = performance.now();
  for (;;) {
    const tookMs = performance.now() - begunMs;
    wholeMicroseconds(pair.source);
    const lines = await compareIndependently(pair.source, pair.target);
    if (lines.length === 0) return tookMs;
    if (tookMs > limitMs) {
      throw new Error([...lines.slice(0, 20), ...pair.lines()].join('\n'));
    }
    await new Promise(resolve => setTimeout(resolve, 300));
  }
}

function filesBelow(folder: string): string[] {
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap(entry => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return filesBelow(path);
    return entry.isFile() ? [path] : [];
  });
}

/** Local target, then over the transport with changes meanwhile; throws when anything differs. */
export async function runMainJob(job: MainJob): Promise<void> {
  const random = seededRandom(job.seed);
  const passes = new LocalPasses(job.folder);
  const count = copyPackages(job, passes.source);
  const begunMs = performance.now();
  const local = await passes.pass();
  if (local.code !== 0) throw new Error(`exit ${local.code}\n${local.lines.slice(-10).join('\n')}`);
  const lines = await compareIndependently(passes.source, passes.target);
  if (lines.length > 0) throw new Error(lines.slice(0, 20).join('\n'));
  job.say(`${count} entries, locally: equal, ${Math.round(performance.now() - begunMs)} ms`);
  fs.rmSync(passes.target, { recursive: true });

  // One package may be most of the files: its removal is meant, and not for the brake.
  const pushArgs = ['--max-delete', '100%'];
  const { folder, transport = 'tcp' } = job;
  const pair = new LivePair({ folder, source: passes.source, pushArgs, transport });
  /** The change is made while the pair replicates. */
  const step = async (what: string, act: () => void): Promise<void> => {
    act();
    const tookMs = await equalIndependently(pair, job.limitMs);
    job.say(`${what}: equal after ${Math.round(tookMs)} ms`);
  };
  try {
    await pair.start();
    await step(`first copy over ${transport}`, () => {});
    const packages = fs.readdirSync(pair.source).filter(name => !name.startsWith('.'));
    await step('packages removed', () => {
      for (let i = 0; i < 3; i++) {
        fs.rmSync(join(pair.source, pick(random, packages)), { recursive: true, force: true });
      }
    });
    await step('half of the files of some packages rewritten', () => {
      const left = fs.readdirSync(pair.source).filter(name => !name.startsWith('.'));
      for (let i = 0; i < Math.ceil(left.length / 4); i++) {
        const folder = join(pair.source, pick(random, left));
        if (!fs.statSync(folder).isDirectory()) continue;
        for (const file of filesBelow(folder)) {
          if (random() < 0.5) fs.writeFileSync(file, `// rewritten\n${fs.readFileSync(file)}`);
        }
      }
    });
    await step('a package installed', () => {
      fs.cpSync(join(job.packages, pick(random, packages)), join(pair.source, 'installed'), {
        recursive: true,
        verbatimSymlinks: true,
      });
    });
    await step('all of it removed and installed anew', () => {
      for (const name of fs.readdirSync(pair.source)) {
        fs.rmSync(join(pair.source, name), { recursive: true });
      }
      copyPackages(job, pair.source);
    });
    // Over ssh there is no receiver of our own.
    const codes = (await pair.stop()).map(exit => exit?.code ?? 0);
    if (codes.some(code => code !== 0)) throw new Error('a program did not end with 0');
  } finally {
    await pair.kill();
  }
}
