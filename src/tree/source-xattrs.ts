// Extended attributes of one entry of the source, as the scan saw it: what is read between two looks
// that find the same ctime is what belongs to that ctime.
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { systemPath } from '../snapshot/name.ts';
import type { UserXattrs } from './user-xattrs.ts';

/** What the scan saw. */
export interface SeenInode {
  readonly ino: bigint;
  readonly ctimeNs: bigint;
}

interface SeenPath {
  readonly path: string;
  readonly seen: SeenInode;
  /** For tests. */
  readonly nowMs?: number;
}

/** Linux; Node does not export it. No permission needed, and a FIFO is not waited for. */
const O_PATH = 0o10000000;
/**
 * Kernels before 6.13 take ctimes from a clock that ticks every 10 ms or less often: what changed
 * just now may change again under the same ctime.
 */
const tickMs = 20;

/**
 * Packed; undefined: `path` (latin1, below `root`) is not, or not yet for long enough, what was seen.
 * Throws the system's error, and what UserXattrs.read does.
 */
export function readSourceXattrs(
  root: string,
  { path, seen, nowMs = Date.now() }: SeenPath,
  xattrs: UserXattrs,
): string | undefined {
  // The root itself may be given as a link; what it leads to is the tree.
  const flags = path === '' ? O_PATH : O_PATH | constants.O_NOFOLLOW;
  const fd = openSync(systemPath(path === '' ? root : `${root}/${path}`), flags);
  try {
    const sinceMs = nowMs - Number(seen.ctimeNs / 1_000_000n);
    if (Math.abs(sinceMs) < tickMs || !isSame(fd, seen)) return undefined;
    const packed = xattrs.read(fd);
    return isSame(fd, seen) ? packed : undefined;
  } finally {
    closeSync(fd);
  }
}

function isSame(fd: number, { ino, ctimeNs }: SeenInode): boolean {
  const now = fstatSync(fd, { bigint: true });
  return now.ino === ino && now.ctimeNs === ctimeNs;
}
