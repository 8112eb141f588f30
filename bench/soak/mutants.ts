// Would the tests notice a slip of the pen? Seeded one-line mutants of the compiled modules, each
// run against the tests of its module, then of its folder, then some of the whole.
//   node dist/bench/soak/mutants.js [--seed 1] [--each 44] [--only FOLDER,FOLDER] [--work DIR] [--trust]
// --trust does not run the tests without a mutant first, which says what fails anyway and how long each takes.
// Runs in a copy of dist. One line for each mutant, survivors and the share killed at the end.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { applyMutant, type Mutant, mutantsOf } from '../../test/support/mutants.ts';
import { randomInteger, seededRandom } from '../../test/support/random.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    each: { type: 'string', default: '44' },
    only: { type: 'string' },
    work: { type: 'string' },
    trust: { type: 'boolean', default: false },
  },
});

/** Beyond the tests of the folder itself: those that use it most. */
const others: Readonly<Record<string, readonly string[]>> = {
  snapshot: ['sender/scanner', 'sender/observed', 'store/snapshot-store', 'wire/codec'],
  blocks: ['receiver/patch', 'sender/patches'],
  wire: ['net/packing', 'net/connection', 'sender/verifier'],
  tree: ['receiver/apply', 'receiver/receiver', 'sender/scanner', 'receiver/unfinished'],
  receiver: ['sender/verifier', 'sender/patches', 'sender/flush', 'hostile/receiver'],
};
const folders = values.only?.split(',') ?? Object.keys(others);
/** Last, for what nothing else noticed. */
const whole = ['sender/sender', 'promises/model'];
/** Compares the source with a document beside it. */
const needsSource = 'wire/protocol-document';
/** A guess, for the order. */
const bytesPerMs = 4;
const slowMs = 5_000;
const timeoutMin = 60_000;

const work = values.work ?? fs.mkdtempSync(join(tmpdir(), 'replica-mutants-'));
const dist = join(work, 'dist');
fs.cpSync(join(import.meta.dirname, '..', '..'), dist, { recursive: true });
fs.copyFileSync('package.json', join(work, 'package.json'));
fs.rmSync(join(work, 'node_modules'), { force: true });
fs.symlinkSync(fs.realpathSync('node_modules'), join(work, 'node_modules'));

interface Ran {
  readonly isGood: boolean;
  readonly ms: number;
}

async function runTest(file: string, timeoutMs: number): Promise<Ran> {
  const begunMs = performance.now();
  const child = spawn(process.execPath, [join(dist, 'test', `${file}.test.js`)], {
    cwd: work,
    stdio: 'ignore',
    detached: true,
    env: { ...process.env, TAP_BAIL: '1', TAP_TIMEOUT: String(timeoutMs / 1000) },
  });
  const timer = setTimeout(() => stop(child.pid), timeoutMs);
  const [code] = await once(child, 'exit');
  clearTimeout(timer);
  stop(child.pid);
  return { isGood: code === 0, ms: performance.now() - begunMs };
}

/** The test and whatever it started. */
function stop(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // All of them ended already.
  }
}

function testsIn(folder: string): string[] {
  return fs
    .readdirSync(join(dist, 'test', folder))
    .filter(name => name.endsWith('.test.js'))
    .map(name => `${folder}/${basename(name, '.test.js')}`);
}

const baseline = new Map<string, number>();
for (const folder of folders) {
  for (const file of [...testsIn(folder), ...(others[folder] ?? []), ...whole]) {
    if (baseline.has(file) || file === needsSource) continue;
    if (values.trust) {
      const path = join(dist, 'test', `${file}.test.js`);
      baseline.set(file, fs.statSync(path).size / bytesPerMs);
      continue;
    }
    const { isGood, ms } = await runTest(file, 240_000);
    // What fails by itself says nothing about a mutant.
    if (isGood) baseline.set(file, ms);
    else console.log(JSON.stringify({ bench: 'soak/mutants', skipped: file, reason: 'fails' }));
  }
}

/** The test named like the module first, then the folder's from quick to slow, then the others. */
function testsFor(folder: string, module: string): string[] {
  const msOf = (file: string): number => baseline.get(file) ?? 0;
  const own = testsIn(folder).sort((a, b) => msOf(a) - msOf(b));
  const mirror = own.filter(file => file === `${folder}/${module}`);
  const more = [...(others[folder] ?? [])].sort((a, b) => msOf(a) - msOf(b));
  const quick = [...own, ...more].filter(file => msOf(file) < slowMs);
  const all = [...mirror, ...quick, ...own, ...more, ...whole];
  return [...new Set(all)].filter(file => baseline.has(file));
}

const random = seededRandom(Number(values.seed));
const survivors: string[] = [];
let killed = 0;
for (const folder of folders) {
  const modules = fs.readdirSync(join(dist, 'src', folder)).filter(name => name.endsWith('.js'));
  const pool: { module: string; mutant: Mutant }[] = [];
  for (const name of modules.sort()) {
    const text = fs.readFileSync(join(dist, 'src', folder, name), 'utf8');
    for (const mutant of mutantsOf(text)) pool.push({ module: basename(name, '.js'), mutant });
  }
  for (let i = Math.min(Number(values.each), pool.length); i > 0; i--) {
    const [chosen] = pool.splice(randomInteger(random, pool.length), 1);
    if (chosen === undefined) break;
    const { module, mutant } = chosen;
    const path = join(dist, 'src', folder, `${module}.js`);
    const text = fs.readFileSync(path, 'utf8');
    fs.writeFileSync(path, applyMutant(text, mutant));
    const begunMs = performance.now();
    let by = spawnSync(process.execPath, ['--check', path]).status === 0 ? undefined : 'syntax';
    for (const file of by === undefined ? testsFor(folder, module) : []) {
      const timeoutMs = Math.max(timeoutMin, (baseline.get(file) ?? 0) * 4);
      if ((await runTest(file, timeoutMs)).isGood) continue;
      by = file;
      break;
    }
    fs.writeFileSync(path, text);
    const ms = Math.round(performance.now() - begunMs);
    const what = `${folder}/${module}.js:${mutant.line}`;
    const line = { what, ...mutant, before: mutant.before.trim(), after: mutant.after.trim() };
    // What is no program is no mutant.
    if (by === 'syntax') continue;
    console.log(
      JSON.stringify({ ...line, verdict: by === undefined ? 'survived' : 'killed', by, ms }),
    );
    if (by === undefined) survivors.push(`${what} ${mutant.kind}: ${mutant.before.trim()}`);
    else killed++;
  }
}
const total = killed + survivors.length;
const share = Math.round((1000 * killed) / total) / 10;
console.log(JSON.stringify({ bench: 'soak/mutants', seed: values.seed, total, killed, share }));
for (const survivor of survivors) console.log(`  survived ${survivor}`);
if (values.work === undefined) fs.rmSync(work, { recursive: true });
