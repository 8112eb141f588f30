// Runs the suite, or the files given, each as a process of its own, and ends with one plain line.
//
//   node dist/test/run.js [--jobs 2] [--share] [FILE...]
//
// With --share, of the files that come out the same whoever runs them, root takes every third one
// and anybody else the rest: more of the others are for root alone. Some are for one of them only.
//
// Not with the `tap` command: it loads hooks into every process and thread of a test, which take
// half of all the time there is and are not what users run.
import { readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { execPath } from 'node:process';
import { parseArgs } from 'node:util';
import t from 'tap';
import { isRoot } from './support/mounts.ts';

/** Whole processes, killed and cut off: each file alone, so that only its own load is there. */
const alone = 'promises/';
/** Nothing in them depends on what their user may do. */
const sameForAll = new RegExp(
  [
    '/(?:blocks|net|snapshot|wire)/',
    String.raw`/cli/(?:bad-input|control-commands|end-to-end|folders|replicas|verify-command)\.`,
    String.raw`/promises/(?:drift|fencing|ignore|limits|main-job|offline|overtaking)\.`,
    String.raw`/promises/(?:renames|resume)\.`,
    String.raw`/receiver/sweep\.`,
    String.raw`/sender/(?:patches|verifier)\.`,
    String.raw`/(?:store/snapshot-store|tree/source-threads)\.`,
  ].join('|'),
);
/** With cases that only root can try, and no others that differ. */
const forRoot =
  /\/(?:cli\/(?:log-command|ssh)|promises\/(?:kill|stranger)|receiver\/crash|sender\/flush)\./;
/** The same for a user, who is what most of them run as. */
const forUser = /\/(?:promises\/(?:escape|metadata)|receiver\/apply|sender\/(?:refusals|sender))\./;
const timeout = 240_000;

const { values, positionals } = parseArgs({
  options: {
    jobs: { type: 'string', default: '2' },
    share: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});

/** What is left for the other run is not counted. */
function ownFiles(): string[] {
  const files = allFiles();
  if (!values.share) return files;
  const shared = files.filter(file => sameForAll.test(file));
  const own = new Set(shared.filter((_, i) => (i % 3 === 0) === isRoot));
  const others = isRoot ? forUser : forRoot;
  return files.filter(file => own.has(file) || !(sameForAll.test(file) || others.test(file)));
}

function allFiles(): string[] {
  const folder = import.meta.dirname;
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.test.js'))
    .sort()
    .map(name => relative(process.cwd(), join(folder, name)));
}

/** The library would have its own children load its hooks: env(1) takes that off again. */
function run(file: string, isBuffered: boolean): Promise<unknown> {
  const args = ['-u', 'NODE_OPTIONS', execPath, '--enable-source-maps', file];
  const env = { ...process.env, TAP_TIMEOUT: String(timeout / 1000) };
  return t.spawn('env', args, { name: file, timeout, buffered: isBuffered, env });
}

process.on('exit', () => {
  const { pass, fail, skip, todo } = t.counts;
  // A file that ended early is a failure that no test of it can report.
  const failed = fail === 0 && process.exitCode ? 1 : fail;
  console.log(`${pass} passed, ${failed} failed, ${skip + todo} skipped`);
});

const files = positionals.length > 0 ? positionals : ownFiles();
t.jobs = Number(values.jobs);
t.setTimeout(0); // Each file has one of its own.
const isBuffered = t.jobs > 1;
const together = files.filter(file => !file.includes(alone)).map(file => run(file, isBuffered));
await Promise.all(together);
for (const file of files.filter(file => file.includes(alone))) await run(file, false);
