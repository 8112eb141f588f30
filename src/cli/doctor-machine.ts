// `replica doctor`: this machine, the sender's state, and a destination on this machine.
import { randomBytes } from 'node:crypto';
import {
  accessSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { ReplicaError, systemCode } from '../errors.ts';
import { realPathOf } from '../store/real-path.ts';
import { isNetworkFileSystem, isVolatile } from '../tree/durable.ts';
import { checkApart } from './checks.ts';
import { formatBytes } from './counted.ts';
import { ExitCode } from './exit-code.ts';
import { bad, type Finding, ok, warn } from './finding.ts';

/** Before this nobody had replica. */
const earliestMs = Date.UTC(2025, 0, 1);
/** Scanning, reading and two stores stay far below. */
const openFilesMin = 1024;
const freeBytesMin = 1_000_000_000;
const freeShareMin = 0.05;

export function* examineMachine(state: string, nowMs: number): Generator<Finding> {
  yield judgeClock(nowMs);
  yield judgeOpenFiles(readLimits());
  yield ok('inotify', 'not used: there is no limit of watches to raise');
  yield* examineState(state);
}

export function judgeClock(nowMs: number): Finding {
  const now = new Date(nowMs).toISOString();
  if (nowMs >= earliestMs) return ok('clock', `${now}`);
  const text = `it is ${now} here: kept content would go too early or never, and logs mislead`;
  return warn('clock', text, 'set the clock, by NTP if possible');
}

function readLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return '';
  }
}

/** By /proc/self/limits; Node raises the soft limit to the hard one. */
export function judgeOpenFiles(limits: string): Finding {
  const check = 'open files';
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1];
  if (hard === undefined) return ok(check, 'the limit is not known here');
  if (hard === 'unlimited' || Number(hard) >= openFilesMin) return ok(check, `up to ${hard}`);
  const text = `only ${hard} may be open: many files at once cannot be read or staged`;
  return warn(check, text, `raise it to ${openFilesMin} or more (ulimit -Hn, LimitNOFILE=)`);
}

/** The sender's state: on a disk of this machine, with room. */
function* examineState(state: string): Generator<Finding> {
  const folder = existingFolder(state);
  if (isNetworkFileSystem(folder)) {
    const message = `${state} is on a network file system, where LMDB is not safe`;
    yield bad('state', message, {
      advice: 'choose a folder on a local disk with --state',
      exitCode: ExitCode.Path,
    });
    return;
  }
  const denied = writeFault(folder);
  if (denied !== undefined) {
    yield bad('state', `${folder} cannot be written to (${denied})`, {
      advice: 'mend its mode and owner, or choose another with --state',
      exitCode: ExitCode.Io,
    });
    return;
  }
  yield isVolatile(folder)
    ? warn(
        'state',
        `${state} is in memory and lost at a restart`,
        'the next push then compares everything; choose a disk with --state',
      )
    : ok('state', `${state} is on a local file system`);
  yield judgeSpace('state space', folder);
}

/** True when the folder is there, or can be made. */
export function* examineDestination(
  path: string,
  options: { readonly source: string | undefined; readonly writes: boolean },
): Generator<Finding, boolean> {
  const root = realPathOf(path);
  if (options.source !== undefined && existsSync(options.source)) {
    try {
      checkApart(realPathOf(options.source), root);
    } catch (error) {
      if (!(error instanceof ReplicaError)) throw error;
      yield bad('destination', error.message, { exitCode: ExitCode.Path });
      return false;
    }
  }
  const folder = existingFolder(root);
  if (folder !== root && folder !== dirname(root)) {
    yield bad('destination', `${root} cannot be made: its parent folder does not exist`, {
      advice: 'make the parent folder, or mount what should be there',
      exitCode: ExitCode.Path,
    });
    return false;
  }
  const denied = writeFault(folder);
  if (denied !== undefined) {
    yield bad('destination', `${folder} cannot be written to (${denied})`, {
      advice: 'mend its mode and owner, or run as another user',
      exitCode: ExitCode.Path,
    });
    return false;
  }
  if (isNetworkFileSystem(folder)) {
    yield bad('destination', `${root} is on a network file system, where its state cannot lie`, {
      advice: "run 'replica receive --state DIR' with DIR on a local disk, and push to that",
      exitCode: ExitCode.Path,
    });
  } else yield ok('destination', `${root} is on a local file system`);
  yield judgeSpace('free space', folder);
  yield options.writes
    ? measureReflinks(folder)
    : ok('reflinks', 'not measured, as nothing is written without --write-test');
  return true;
}

/** Whether a large file can begin as a clone of the version before. */
function measureReflinks(folder: string): Finding {
  const check = 'reflinks';
  // Not beside the replica's entries: a receiver would take it for a change by somebody else.
  const own = join(folder, '.replica');
  const place = join(
    existsSync(own) ? own : folder,
    `.replica-doctor-${randomBytes(4).toString('hex')}`,
  );
  try {
    mkdirSync(place, { mode: 0o700 });
    writeFileSync(join(place, 'a'), Buffer.alloc(65_536, 1));
    copyFileSync(join(place, 'a'), join(place, 'b'), constants.COPYFILE_FICLONE_FORCE);
    return ok(check, 'a large file that changes shares what stays with its version before');
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    if (code === 'EACCES' || code === 'ENOSPC' || code === 'EROFS') {
      return warn(check, `nothing can be written there (${code})`, 'not measured then');
    }
    return ok(
      check,
      'not here: a large file that changes is written anew, which needs its size free',
    );
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

function judgeSpace(check: string, folder: string): Finding {
  const { bavail, blocks, bsize, ffree, files } = statfsSync(folder);
  const free = bavail * bsize;
  const share = blocks === 0 ? 1 : bavail / blocks;
  const text = `${formatBytes(free)} free at ${folder}`;
  if (files > 0 && ffree / files < 0.01) {
    return warn(check, `${text}, but hardly an inode: ${ffree} of ${files}`, 'remove small files');
  }
  if (free < freeBytesMin || share < freeShareMin) {
    return warn(
      check,
      `${text}, ${Math.round(share * 100)}%: commits fail when it is full`,
      'make room',
    );
  }
  return ok(check, text);
}

/** The folder itself, or the nearest above it that is there. */
function existingFolder(path: string): string {
  const parent = dirname(path);
  return existsSync(path) || parent === path ? path : existingFolder(parent);
}

function writeFault(folder: string): string | undefined {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
    return undefined;
  } catch (error) {
    return systemCode(error) ?? 'unknown error';
  }
}
