// `replica doctor <src>`: what kind of place the source is. Reads only, unless asked to write.
import { randomBytes } from 'node:crypto';
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ReplicaError, systemCode } from '../errors.ts';
import { checkSource } from './checks.ts';
import { count as countOf } from './counted.ts';
import { formatDuration } from './duration.ts';
import { ExitCode } from './exit-code.ts';
import { bad, type Finding, ok, warn } from './finding.ts';
import { judgeVisibility, mountOf } from './mount-table.ts';

/** Enough to tell how fast a look is, few enough for a slow network. */
const sampleMax = 2000;
/** A file system that does not answer for this long counts as hung, as it does for a push. */
const answerMsMax = 5000;
/** A look at one entry that takes longer than this is a network's. */
const slowLookMs = 0.5;
/** The clocks of two machines that nobody keeps in step. */
const skewMsMax = 5000;

/** What a look at some entries showed. */
export interface Sample {
  readonly count: number;
  readonly lookMs: number;
  readonly unreadable: number;
  /** Of changes of whatever kind, which no program can set. */
  readonly changeTimesNs: readonly bigint[];
}

export interface SourceOptions {
  /** --write-test */
  readonly writes: boolean;
  readonly nowMs: () => number;
  /** For tests. */
  readonly list?: (path: string) => Promise<unknown>;
  readonly answerMs?: number;
}

/** Findings about the source, as they come; the last tell of the write test. */
export async function* examineSource(
  path: string,
  options: SourceOptions,
): AsyncGenerator<Finding> {
  const { list = readdir, answerMs = answerMsMax } = options;
  if (!(await answers(list(path), answerMs))) {
    yield bad('source', `${path}: no answer from its file system for ${formatDuration(answerMs)}`, {
      advice: 'its server may be away: mount it anew, or wait; a push waits and deletes nothing',
      exitCode: ExitCode.Path,
    });
    return;
  }
  let source: string;
  try {
    source = checkSource(path);
  } catch (error) {
    if (!(error instanceof ReplicaError)) throw error;
    yield bad('source', error.message, { exitCode: ExitCode.Path });
    return;
  }
  const sample = takeSample(source);
  yield judgeLooks(source, sample);
  const mount = mountOf(source);
  if (mount !== undefined) yield judgeVisibility(mount);
  yield judgeGranularity(sample);
  yield judgeSourceClock(sample, options.nowMs());
  if (options.writes) yield* writeTest(source, options.nowMs);
  else yield ok('folder times', 'not measured, as nothing is written without --write-test');
}

/** A mount that hangs would hang us too: this asks it from another thread. */
async function answers(asked: Promise<unknown>, answerMs: number): Promise<boolean> {
  const late = new AbortController();
  const timer = sleep(answerMs, false, { signal: late.signal }).catch(() => false);
  try {
    // An error is an answer.
    return await Promise.race([asked.then(() => true).catch(() => true), timer]);
  } finally {
    late.abort();
  }
}

/** Breadth first. */
function takeSample(source: string): Sample {
  const changeTimesNs: bigint[] = [];
  let unreadable = 0;
  const folders = [source];
  const begunMs = performance.now();
  for (let folder = folders.shift(); folder !== undefined; folder = folders.shift()) {
    try {
      for (const entry of readdirSync(folder, { withFileTypes: true })) {
        if (changeTimesNs.length >= sampleMax) break;
        const path = join(folder, entry.name);
        changeTimesNs.push(lstatSync(path, { bigint: true }).ctimeNs);
        if (entry.isDirectory()) folders.push(path);
      }
    } catch (error) {
      // It may go meanwhile; what cannot be read is what we are here for.
      if (systemCode(error) === undefined) throw error;
      if (systemCode(error) !== 'ENOENT') unreadable++;
    }
    if (changeTimesNs.length >= sampleMax) break;
  }
  const count = changeTimesNs.length;
  return {
    count,
    unreadable,
    changeTimesNs,
    lookMs: (performance.now() - begunMs) / Math.max(count, 1),
  };
}

function judgeLooks(source: string, { count, lookMs, unreadable }: Sample): Finding {
  const micros = Math.round(lookMs * 1000);
  const looks = countOf(count, 'entry', 'entries');
  const text = `${source}: ${looks} looked at, ${micros} µs each`;
  if (unreadable > 0) {
    const advice = 'run as a user who may, or leave them out with --exclude; they are not deleted';
    return warn('source', `${text}; ${countOf(unreadable, 'folder')} cannot be read`, advice);
  }
  if (lookMs > slowLookMs && count > 100) {
    const advice = 'expect seconds for each 10,000 entries; --cpu-limit is not what limits it';
    return warn('source', `${text}, as over a network`, advice);
  }
  return ok('source', text);
}

/** The finest step that all change times share. */
export function judgeGranularity({ changeTimesNs }: Pick<Sample, 'changeTimesNs'>): Finding {
  const check = 'file times';
  const distinct = new Set(changeTimesNs);
  if (distinct.size < 5) return ok(check, 'too few changes here to tell how fine times are');
  const step = [2_000_000_000n, 1_000_000_000n, 1_000_000n, 1000n].find(one =>
    [...distinct].every(time => time % one === 0n),
  );
  if (step === undefined || step < 1_000_000_000n) {
    return ok(
      check,
      `times are as fine as ${step === undefined ? 'a nanosecond' : formatStep(step)}`,
    );
  }
  const text = `times have steps of ${formatStep(step)}: two edits within one look like one`;
  return warn(check, text, 'files that changed lately are read again, which costs reading');
}

function formatStep(ns: bigint): string {
  return ns === 1000n ? '1 µs' : formatDuration(Number(ns / 1_000_000n));
}

export function judgeSourceClock(
  { changeTimesNs }: Pick<Sample, 'changeTimesNs'>,
  nowMs: number,
): Finding {
  const newestMs = changeTimesNs.reduce(
    (newest, ns) => Math.max(newest, Number(ns / 1_000_000n)),
    0,
  );
  const aheadMs = newestMs - nowMs;
  if (aheadMs <= skewMsMax) return ok('source clock', 'no change in the source is from the future');
  const text = `the newest change in the source is ${formatDuration(aheadMs)} in the future`;
  return warn('source clock', text, 'set the clocks by NTP; replica itself compares no clocks');
}

/** A folder that no sender replicates. */
const privateName = '.replica';
/** How long something may take to be seen before it counts as never. */
const visibleMsMax = 5000;
/** Two steps of a file system with times of 10 ms. */
const tickMs = 25;

async function* writeTest(source: string, nowMs: () => number): AsyncGenerator<Finding> {
  const parent = join(source, privateName);
  const folder = join(parent, `doctor-${randomBytes(4).toString('hex')}`);
  let isNewParent = false;
  try {
    isNewParent = mkdirSync(parent, { recursive: true, mode: 0o700 }) !== undefined;
    mkdirSync(folder, { mode: 0o700 });
    yield await measureVisibility(folder);
    yield await measureFolderTimes(folder);
    yield measureClock(folder, nowMs);
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    yield warn(
      'folder times',
      `nothing can be written in the source (${code})`,
      'not measured then',
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
    if (isNewParent) rmdirSync(parent);
  }
}

/** From a write to the first look that shows it. */
async function measureVisibility(folder: string): Promise<Finding> {
  const check = 'own changes';
  const file = join(folder, 'seen');
  writeFileSync(file, 'a');
  const before = lstatSync(file, { bigint: true });
  await sleep(tickMs);
  const begunMs = performance.now();
  writeFileSync(file, 'bb');
  while (performance.now() - begunMs < visibleMsMax) {
    const now = lstatSync(file, { bigint: true });
    if (now.size === 2n && now.mtimeNs !== before.mtimeNs) {
      return ok(
        check,
        `a change made here is seen after ${formatDuration(performance.now() - begunMs)}`,
      );
    }
    await sleep(1);
  }
  const text = `a change made here is not seen within ${formatDuration(visibleMsMax)}`;
  return warn(check, text, 'look at the cache options of this mount');
}

interface Times {
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

/** Whether a folder's times tell that names in it came, went or were replaced. */
export async function measureFolderTimes(
  folder: string,
  look = (path: string): Times => statSync(path, { bigint: true }),
): Promise<Finding> {
  const file = join(folder, 'one');
  const steps: readonly (readonly [string, () => void])[] = [
    ['create', () => writeFileSync(file, '')],
    ['rename', () => renameSync(file, join(folder, 'two'))],
    ['create', () => writeFileSync(file, '')],
    ['replace', () => renameSync(file, join(folder, 'two'))],
    ['delete', () => unlinkSync(join(folder, 'two'))],
  ];
  const silent = new Set<string>();
  for (const [name, act] of steps) {
    const before = look(folder);
    await sleep(tickMs);
    act();
    const after = look(folder);
    if (after.mtimeNs === before.mtimeNs && after.ctimeNs === before.ctimeNs) silent.add(name);
  }
  if (silent.size === 0) {
    return ok(
      'folder times',
      'they move when names come, go or are replaced: large trees are seen fast',
    );
  }
  const text = `they do not move within ${tickMs} ms at: ${[...silent].join(', ')}`;
  const advice =
    'in large trees new names may be seen only when the sweep gets there; see --cpu-limit';
  return warn('folder times', text, advice);
}

/** The clock that the file system stamps with, against ours. */
function measureClock(folder: string, nowMs: () => number): Finding {
  const file = join(folder, 'clock');
  writeFileSync(file, 'x');
  const skewMs = lstatSync(file).mtimeMs - nowMs();
  const text = `the clock of the source's file system differs by ${formatDuration(Math.abs(skewMs))}`;
  if (Math.abs(skewMs) <= skewMsMax) return ok('server clock', text);
  return warn('server clock', text, 'set the clocks by NTP; replica itself compares no clocks');
}
