// Runs the benches one after the other and puts what they found into one table, a JSON file and
// charts.
//
//   npm run bench -- [--quick] [--only PATTERN] [--million] [--out FOLDER] [--place /dev/shm]
//
// --quick: small sizes, once, to see that everything works; its figures mean little. --only: jobs whose
// name matches. --million: the series goes on to a million files, each tool once; takes 10 GB at the
// place and half an hour. Goes on after a job that fails, and ends with 1 then.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { cpus } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { drawChart } from './support/chart.ts';
import { fromDelta, fromLines, fromReleases, microTable } from './support/other-results.ts';
import { atEnd } from './support/owned.ts';
import {
  describeMachine,
  type Machine,
  type Report,
  type Result,
  resultTable,
  writeReport,
} from './support/results.ts';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    million: { type: 'boolean', default: false },
    out: { type: 'string', default: 'bench/results' },
    place: { type: 'string', default: '/dev/shm' },
  },
});

interface Job {
  /** The path of its file below bench, without the end. */
  readonly name: string;
  readonly args: string;
  readonly quick: string;
  /** What its JSON file says; without it, JSON lines on stdout are what it found. */
  readonly read?: (found: unknown) => readonly Result[];
}

const ownReport = (found: unknown): readonly Result[] => (found as Report).results;

const jobs: readonly Job[] = [
  { name: 'blocks/chunker', args: '', quick: '' },
  { name: 'blocks/content-matcher', args: '--files 20000', quick: '--files 1000' },
  { name: 'blocks/refiner', args: '', quick: '' },
  { name: 'snapshot/listing', args: '', quick: '' },
  { name: 'wire/frames', args: '', quick: '' },
  { name: 'net/packing', args: '', quick: '' },
  { name: 'store/commits', args: '', quick: '--files 5000' },
  { name: 'tree/apply', args: `${values.place} 20000 3`, quick: `${values.place} 1000 1` },
  {
    name: 'scenarios/rivals',
    args: '--runs 5 --samples 10 --settle 15',
    quick: '--files 1000 --large 16 --runs 1 --idle 3 --settle 2 --samples 2',
    read: ownReport,
  },
  {
    name: 'scenarios/scaling',
    args: '--runs 2 --idle 10 --settle 8',
    quick: '--sizes 500,2000 --runs 1 --idle 2 --settle 2',
    read: ownReport,
  },
  {
    name: 'scenarios/slow-link',
    args: '--runs 2',
    quick: '--runs 1 --only vue',
    read: ownReport,
  },
  {
    name: 'scenarios/delta',
    args: '--size 128 --runs 2 --directory 10000 --duplicate 2000',
    quick: '--size 16 --runs 1 --directory 1000 --duplicate 200 --rows place|append|lines',
    read: fromDelta,
  },
  {
    name: 'scenarios/releases',
    args: '--push-args=-z',
    quick: '--push-args=-z --only vue',
    read: fromReleases,
  },
  {
    name: 'scenarios/latency',
    args: '--files 10000 --samples 20 --settle 15 --kinds rename,hot,cold',
    quick: '--files 500 --samples 2 --settle 2',
  },
  {
    name: 'scenarios/first-copy',
    args: '--large 512 --runs 3',
    quick: '--large 16 --runs 1',
  },
  {
    name: 'scenarios/memory',
    args: '--sparse 4 --references 0.5',
    quick: '--sparse 1 --references 0.125',
  },
];
const million: Job = {
  name: 'scenarios/scaling',
  args: '--sizes 1000,10000,100000,1000000 --runs 2 --idle 10 --settle 8',
  quick: '--sizes 1000000 --runs 1',
  read: ownReport,
};

interface Done {
  readonly name: string;
  readonly args: string;
  readonly seconds: number;
  /** Averages over a minute before and after. */
  readonly load: readonly [number, number];
  readonly report: unknown;
  readonly results: readonly Result[];
  /** JSON lines, of a job without a report. */
  readonly lines: readonly Readonly<Record<string, unknown>>[];
}

/** The results of a job, or undefined if it failed; what it says goes on to stderr. */
async function run(job: Job, out: string): Promise<Done | undefined> {
  const args = values.quick ? job.quick : job.args;
  const file = fileURLToPath(new URL(`${job.name}.bench.js`, import.meta.url));
  const path = join(out, `${job.name.replace('/', '-')}.json`);
  const flags = job.read === undefined ? [] : ['--json', path];
  // Where an argument is a flag; tree/apply takes its place without one.
  const place = job.name.startsWith('scenarios/') ? ['--place', values.place] : [];
  console.error(`\n${job.name} ${args}`);
  const [before] = describeMachine().load;
  const begunMs = performance.now();
  const given = args.split(' ').filter(arg => arg !== '');
  // A group of its own, so that nothing it started stays when this process ends.
  const child = spawn(process.execPath, [file, ...given, ...flags, ...place], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const { pid } = child;
  if (pid !== undefined) running.add(pid);
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'close')]);
  if (pid !== undefined) running.delete(pid);
  if (code !== 0) {
    console.error(`failed: ${job.name} exits ${code}`);
    return undefined;
  }
  const seconds = Math.round((performance.now() - begunMs) / 1000);
  const [after] = describeMachine().load;
  const report: unknown = job.read && JSON.parse(fs.readFileSync(path, 'utf8'));
  const lines = job.read === undefined ? jsonLines(output) : [];
  const results = job.read === undefined ? fromLines(job.name, lines) : job.read(report);
  console.error(`${job.name}: ${seconds} s`);
  return {
    ...{ name: job.name, args, seconds, load: [before ?? 0, after ?? 0] },
    ...{ report, results, lines },
  };
}

const running = new Set<number>();
atEnd(() => {
  for (const pid of running) process.kill(-pid, 'SIGTERM');
});

function jsonLines(output: string): Readonly<Record<string, unknown>>[] {
  const lines = output.split('\n').filter(line => line.startsWith('{'));
  return lines.map(line => JSON.parse(line));
}

/** A chart for each scenario with rivals, and one of the most telling. */
function drawCharts(done: readonly Done[], machine: Machine, out: string): void {
  const note = `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, Linux ${machine.kernel}; medians, thin lines from least to most; shorter is better`;
  const draw = (name: string, title: string, of: readonly string[]): void => {
    const results = done.filter(one => of.includes(one.name)).flatMap(({ results }) => results);
    if (results.length === 0) return;
    fs.writeFileSync(join(out, `${name}.svg`), drawChart({ title, note }, results));
  };
  draw('rivals', 'replica beside rsync, Unison and Syncthing', [
    'scenarios/rivals',
    'scenarios/scaling',
  ]);
  draw('slow-link', 'Releases over a slow link', ['scenarios/slow-link']);
  draw('changes', 'One change to a large file or tree, beside rsync', ['scenarios/delta']);
}

async function main(): Promise<number> {
  const out = resolve(values.out);
  fs.mkdirSync(out, { recursive: true });
  const pattern = new RegExp(values.only);
  const all = values.million ? jobs.map(job => (job.name === million.name ? million : job)) : jobs;
  const chosen = all.filter(job => pattern.test(job.name));
  if (chosen.length === 0) throw new Error(`no bench matches ${values.only}`);
  const startedAt = new Date().toISOString();
  const path = join(out, 'bench.json');
  const done: Done[] = [];
  for (const job of chosen) {
    const one = await run(job, out);
    if (one === undefined) continue;
    done.push(one);
    // After each, so that a run that is cut short leaves what it found.
    const machine = describeMachine();
    writeReport(path, { startedAt, endedAt: new Date().toISOString(), machine, jobs: done });
    drawCharts(done, machine, out);
  }
  const micro = done.flatMap(({ lines }) => lines).filter(line => 'medianMs' in line);
  if (micro.length > 0) console.log(`${microTable(micro)}\n`);
  console.log(resultTable(done.flatMap(({ results }) => results)));
  const load = Math.max(...done.flatMap(({ load }) => load));
  if (load > 1.5 * cpus().length) {
    console.log(`The machine was busy (load up to ${load}): the figures are rough.`);
  }
  console.log(`${path}, and charts beside it`);
  return done.length === chosen.length ? 0 : 1;
}

process.exitCode = await main();
