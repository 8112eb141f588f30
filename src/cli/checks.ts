// What is checked before anything starts, so that a slip of the fingers costs one line.
import { accessSync, constants, mkdirSync, realpathSync, statSync } from 'node:fs';
import { relative, sep } from 'node:path';
import { ReplicaError, systemCode } from '../errors.ts';

/** The real path of the source. Throws ERR_PATH when it is no readable directory. */
export function checkSource(path: string): string {
  const stats = attempt(path, 'source', () => statSync(path));
  if (stats === undefined) throw wrong(`source ${path} does not exist`);
  if (!stats.isDirectory()) {
    throw wrong(`source ${path} is not a directory; to replicate parts of one, use --path`);
  }
  attempt(path, 'source', () => accessSync(path, constants.R_OK | constants.X_OK));
  return realpathSync(path);
}

/**
 * Makes the destination's last component if it is missing, and returns the real path. Throws
 * ERR_PATH when it is no directory or its parent is missing.
 */
export function checkDestination(path: string): string {
  const stats = attempt(path, 'destination', () => statSync(path));
  if (stats !== undefined && !stats.isDirectory()) {
    throw wrong(`destination ${path} is not a directory`);
  }
  if (stats === undefined) {
    // What Node.js makes of bytes that are no UTF-8: another folder than the one that was meant.
    if (path.includes('\ufffd')) throw wrong(`destination ${path} cannot be made: not UTF-8`);
    const made = attempt(path, 'destination', () => mkdirSync(path) ?? path);
    if (made === undefined) {
      throw wrong(`destination ${path} cannot be made: its parent folder does not exist`);
    }
  }
  return realpathSync(path);
}

/** Throws ERR_PATH when one tree holds the other: replication would feed itself. */
export function checkApart(source: string, destination: string): void {
  if (source === destination) {
    throw wrong(`source and destination are the same folder, ${source}`);
  }
  if (isInside(destination, source)) {
    throw wrong(`destination ${destination} is inside the source ${source}; choose another place`);
  }
  if (isInside(source, destination)) {
    throw wrong(`source ${source} is inside the destination ${destination}; choose another place`);
  }
}

/** True when `path` is below `folder`. Both real paths. */
export function isInside(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`);
}

/** The result, or undefined where something on the way does not exist. */
function attempt<T>(path: string, role: string, action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT') return undefined;
    if (code === 'EACCES' || code === 'EPERM') {
      throw wrong(`no permission for ${role} ${path}; check its mode and owner`, error);
    }
    throw wrong(`cannot use ${role} ${path} (${code ?? 'unknown error'})`, error);
  }
}

function wrong(message: string, cause?: unknown): ReplicaError {
  return new ReplicaError('ERR_PATH', message, { cause });
}
