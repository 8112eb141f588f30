// A small file that only its owner may read, replaced as a whole.
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ReplicaError, systemCode } from '../errors.ts';

/** A lock that stands for this long while somebody waits for it is that of a program that was killed. */
const lockMsMax = 5_000;
const lockLookMs = 10;

/**
 * What `change` reads of the file is what it replaces: others that do so wait meanwhile. Throws
 * ERR_IO, which calls it `what`.
 */
export function whileLocked<T>(
  path: string,
  what: string,
  change: () => T,
  standsMsMax = lockMsMax,
): T {
  const lock = join(dirname(path), `.${basename(path)}.lock`);
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    takeLock(lock, standsMsMax);
  } catch (error) {
    throw cannotWrite(path, what, error);
  }
  try {
    return change();
  } finally {
    removeIfThere(lock);
  }
}

function takeLock(lock: string, standsMsMax: number): void {
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  let seen = '';
  let sinceMs = 0;
  while (!isCreated(lock)) {
    const stat = lstatSync(lock, { bigint: true, throwIfNoEntry: false });
    const found = stat === undefined ? '' : `${stat.ino} ${stat.ctimeNs}`;
    if (found === '' || found !== seen) {
      seen = found;
      sinceMs = performance.now();
    } else if (performance.now() - sinceMs > standsMsMax) removeIfThere(lock);
    Atomics.wait(sleeper, 0, 0, lockLookMs);
  }
}

function isCreated(path: string): boolean {
  const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
  try {
    closeSync(openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600));
    return true;
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
    return false;
  }
}

/**
 * Writes the file with mode 0600 and missing folders with 0700: there is the old file or the new
 * one, durably, never a part. With `isNew`, returns false and leaves a file alone that is already
 * there. Throws ERR_IO, which calls it `what`.
 */
export function writePrivateFile(
  path: string,
  text: string,
  options: { readonly what: string; readonly isNew?: boolean },
): boolean {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${randomBytes(8).toString('hex')}.tmp`);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeDurably(temporary, text);
    if (options.isNew) linkSync(temporary, path);
    else renameSync(temporary, path);
    syncFolder(folder);
    return true;
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    if (options.isNew && code === 'EEXIST') return false;
    throw cannotWrite(path, options.what, error);
  } finally {
    removeIfThere(temporary);
  }
}

function cannotWrite(path: string, what: string, error: unknown): unknown {
  const code = systemCode(error);
  if (code === undefined) return error;
  const message = `cannot write ${what} ${path} (${code})`;
  return new ReplicaError('ERR_IO', message, { cause: error });
}

function removeIfThere(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch (error) {
    // Where its folder is none, there is no file either; what went wrong is told already.
    if (systemCode(error) === undefined) throw error;
  }
}

function writeDurably(path: string, text: string): void {
  const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
  const fd = openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  try {
    writeFileSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function syncFolder(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
