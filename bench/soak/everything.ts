// Everything at random for hours: does anything fail, and does anything grow?
//   node dist/bench/soak/everything.js [--minutes 60] [--seed 1] [--folder /dev/shm]
// One long-lived push and receive under load all the time, measured every 15 s (a line each minute);
// beside them, one after the other: model programs, crash points, kills, a bad network, fuzzed sessions.
// The last line is the verdict: failures, and slopes per hour (least squares, after the first third:
// the warm-up). Slopes count from 60 minutes on. Exit 1 if it is bad.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CrashPair, crashEverywhere, triples } from '../../test/support/crash-points.ts';
import { removeFolder } from '../../test/support/folders.ts';
import { killStory, Load } from '../../test/support/kill-story.ts';
import { LivePair } from '../../test/support/live-pair.ts';
import { randomProgram } from '../../test/support/model-program.ts';
import { runProgram } from '../../test/support/model-run.ts';
import { networkStory } from '../../test/support/network-story.ts';
import type { Program } from '../../test/support/programs.ts';
import { pick, randomInteger, seededRandom } from '../../test/support/random.ts';
import { runRandomOperations } from '../../test/support/random-run.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    seed: { type: 'string', default: '1' },
    folder: { type: 'string', default: '/dev/shm' },
  },
});
const measureMs = 15_000;
const reportMs = 60_000;
/** Below this a slope says more about garbage collection than about leaks. */
const judgedMinutes = 60;
/** Per hour, of each program's anonymous memory: the bound that is promised. */
const memorySlopeMax = 1024 * 1024;
const stepMs = 100;

const minutes = Number(values.minutes);
const begunMs = performance.now();
const endMs = begunMs + minutes * 60_000;
const random = seededRandom(Number(values.seed));

interface Sample {
  readonly hours: number;
  readonly values: ReadonlyMap<string, number>;
}

/** Anonymous memory in bytes (VmHWM would count mapped LMDB pages) and open descriptors. */
function ofProcess(name: string, program: Program | undefined): [string, number][] {
  const { pid } = program?.child ?? {};
  if (pid === undefined) return [];
  const status = fs.readFileSync(`/proc/${pid}/status`, 'latin1');
  const kibibytes = Number(/^RssAnon:\s+(\d+)/m.exec(status)?.[1] ?? 0);
  const descriptors = fs.readdirSync(`/proc/${pid}/fd`).length;
  return [
    [`${name} memory`, kibibytes * 1024],
    [`${name} descriptors`, descriptors],
  ];
}

/** Bytes in blocks below a folder. What vanishes meanwhile is an error to du, and not counted. */
function diskUse(folder: string): number {
  const { stdout } = spawnSync('du', ['-s', '-B1', folder], { encoding: 'utf8' });
  return Number(/^\d+/.exec(stdout)?.[0] ?? 0);
}

/** Bytes in blocks of the LMDB files below a folder whose folders stay. */
function stateUse(folder: string): number {
  const names = fs.readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return names
    .filter(name => name.endsWith('data.mdb'))
    .reduce((sum, name) => sum + fs.statSync(join(folder, name)).blocks * 512, 0);
}

/** Per hour, least squares. */
function slopeOf(points: readonly (readonly [number, number])[]): number {
  const mean = (numbers: readonly number[]): number =>
    numbers.reduce((sum, one) => sum + one, 0) / numbers.length;
  const x = mean(points.map(([at]) => at));
  const y = mean(points.map(([, value]) => value));
  const above = points.reduce((sum, [at, value]) => sum + (at - x) * (value - y), 0);
  const below = points.reduce((sum, [at]) => sum + (at - x) ** 2, 0);
  return below === 0 ? 0 : above / below;
}

const base = fs.mkdtempSync(join(values.folder, 'replica-everything-'));
const load = new Load(join(base, 'long'), Number(values.seed));
const pair = new LivePair({ folder: join(base, 'long'), receiveArgs: ['--keep', '1m'] });
await pair.start();
load.start(stepMs);

const samples: Sample[] = [];
function measure(): void {
  const all = new Map([
    ...ofProcess('push', pair.push),
    ...ofProcess('receive', pair.receive),
    ['private folder', diskUse(join(pair.target, '.replica'))] as const,
    ["receiver's LMDB", stateUse(join(pair.target, '.replica', 'state'))] as const,
    ["sender's LMDB", stateUse(join(pair.home.folder, 'state'))] as const,
  ]);
  samples.push({ hours: (performance.now() - begunMs) / 3_600_000, values: all });
}
const problems: string[] = [];
function report(problem: string): void {
  problems.push(problem);
  console.log(JSON.stringify({ bench: 'soak/everything', problem }));
}
const timer = setInterval(() => {
  try {
    measure();
  } catch (error) {
    // A program of the long-lived pair ended.
    report(String(error));
  }
}, measureMs);

const activities: Readonly<Record<string, (folder: string, seed: number) => Promise<unknown[]>>> = {
  model: async (folder, seed) => {
    const { problems } = await runProgram(folder, randomProgram(seed, seededRandom(seed)));
    return [...problems];
  },
  crash: async (folder, seed) => {
    const crashing = await CrashPair.open(folder);
    const { problems } = await crashEverywhere(crashing, triples()[seed % 729] ?? []);
    await crashing.close();
    return [...problems];
  },
  operations: async (folder, seed) => {
    const run = { folder, seed, operations: 100, limitMs: 20_000 };
    return [...(await runRandomOperations(run)).complaints];
  },
  kill: async (folder, seed) => {
    const outcome = await killStory({ folder, seed, kills: 5, lifeMsMax: 1500 });
    const { watched, drift, complaints, differences } = outcome;
    return [...watched.violations, ...drift, ...complaints, ...differences];
  },
  network: async (folder, seed) => {
    const kinds = ['cut', 'flip', 'flip answer'] as const;
    const options = { folder, seed, insecure: seed % 2 === 0, kinds, count: 5 };
    const outcome = await networkStory({ ...options, timeoutMs: 60_000 });
    const { watched, drift, complaints, differences } = outcome;
    return [...watched.violations, ...drift, ...complaints, ...differences];
  },
};
const done = new Map<string, number>();
let reportedMs = begunMs;
while (performance.now() < endMs) {
  const kind = pick(random, ['model', 'model', 'model', 'crash', 'operations', 'kill', 'network']);
  const seed = randomInteger(random, 1e6);
  const folder = join(base, 'run');
  fs.mkdirSync(folder);
  try {
    const found = (await activities[kind]?.(folder, seed)) ?? [];
    for (const one of found) report(`${kind} ${seed}: ${one}`);
    done.set(kind, (done.get(kind) ?? 0) + 1);
  } catch (error) {
    report(`${kind} ${seed}: ${error instanceof Error ? error.stack : error}`);
  }
  removeFolder(folder);
  if (performance.now() - reportedMs < reportMs) continue;
  reportedMs = performance.now();
  const minute = Math.round((reportedMs - begunMs) / 60_000);
  const last = Object.fromEntries(samples.at(-1)?.values ?? []);
  const counts = { steps: load.steps, ...Object.fromEntries(done), problems: problems.length };
  console.log(JSON.stringify({ bench: 'soak/everything', minute, ...counts, ...last }));
}
clearInterval(timer);
load.stop();
const waitedMs = await pair.equal(60_000).catch((error: unknown) => {
  report(`the long-lived pair: ${error}`);
});
for (const line of pair.lines()) if (/"level":"(error|fatal)"/.test(line)) report(line);
for (const exit of await pair.stop()) {
  if (exit?.code !== 0) report(`a program ended with ${JSON.stringify(exit)}`);
}

const warm = samples.slice(Math.floor(samples.length / 3));
const slopes = new Map<string, number>();
for (const name of samples[0]?.values.keys() ?? []) {
  const points = warm.map(({ hours, values: all }) => [hours, all.get(name) ?? 0] as const);
  slopes.set(name, Math.round(slopeOf(points)));
}
const isLong = minutes >= judgedMinutes;
const growing = [...slopes].filter(([name, slope]) =>
  name.endsWith('memory') ? slope > memorySlopeMax : name.endsWith('descriptors') && slope >= 1,
);
const verdict = problems.length > 0 ? 'failed' : isLong && growing.length > 0 ? 'grows' : 'good';
console.log(
  JSON.stringify({
    bench: 'soak/everything',
    minutes,
    seed: values.seed,
    verdict,
    areSlopesJudged: isLong,
    slopesPerHour: Object.fromEntries(slopes),
    steps: load.steps,
    done: Object.fromEntries(done),
    equalAfterMs: waitedMs,
    problems: problems.slice(0, 50),
  }),
);
removeFolder(base);
process.exitCode = verdict === 'good' ? 0 : 1;
