// A small file that only its owner may read, replaced as a whole.
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ReplicaError, systemCode } from '../errors.ts';

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
    const message = `cannot write ${options.what} ${path} (${code})`;
    throw new ReplicaError('ERR_IO', message, { cause: error });
  } finally {
    removeIfThere(temporary);
  }
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
