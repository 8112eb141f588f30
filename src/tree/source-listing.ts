// Reading directories of the source. By plain path: going through /proc/self/fd costs half as much
// again, and only opening content needs protection against swapped links.
import {
  type BigIntStats,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
} from 'node:fs';
import { type Problem, systemCode } from '../errors.ts';
import type { EntryKind } from '../snapshot/entry.ts';
import type { Seen } from '../snapshot/listing.ts';
import { isName, type Name, systemPath } from '../snapshot/name.ts';

export interface SourceListing {
  /** In name order. */
  readonly seen: readonly Seen[];
  /** Names that are there but could not be looked at: neither changed nor gone. */
  readonly unreadable: ReadonlyMap<Name, Problem>;
  /** Sockets, FIFOs and devices, by name. */
  readonly special: readonly Name[];
}

/** Joins latin1 paths below the root; '' is the root itself. */
export function below(path: string, name: string): string {
  return path === '' ? name : `${path}/${name}`;
}

/**
 * All entries of the directory `path` below `root` (both latin1), which is on `device`. Throws the system's error when
 * the directory cannot be listed; an entry that vanishes meanwhile is left out.
 */
export function listSource(root: string, path: string, device: bigint): SourceListing {
  const folder = path === '' ? root : `${root}/${path}`;
  // latin1 is byte-exact and the fastest encoding of readdir.
  const names = readdirSync(systemPath(folder), { encoding: 'latin1' }).sort();
  const seen: Seen[] = [];
  const unreadable = new Map<Name, Problem>();
  const special: Name[] = [];
  for (const name of names) {
    if (!isName(name)) continue;
    try {
      const stats = lstatSync(systemPath(`${folder}/${name}`), { bigint: true });
      const entry = seenOfStats(name, stats, device);
      if (entry === undefined) special.push(name);
      else seen.push(entry);
    } catch (error) {
      const code = systemCode(error) ?? 'EIO';
      if (code === 'ENOENT') continue;
      unreadable.set(name, { path: below(path, name), code, message: 'cannot be looked at' });
    }
  }
  return { seen, unreadable, special };
}

/**
 * What lstat says, as an entry; undefined for sockets, FIFOs and devices. A directory counts two
 * links when it is a mount point, that is on another device than `device`, its parent's.
 */
export function seenOfStats(
  name: Name,
  stats: BigIntStats,
  device: bigint = stats.dev,
): Seen | undefined {
  const kind = kindOf(stats);
  if (kind === undefined) return undefined;
  return {
    name,
    kind,
    mode: kind === 'link' ? 0o777 : Number(stats.mode & 0o7777n),
    size: kind === 'directory' ? 0 : Number(stats.size),
    mtimeNs: stats.mtimeNs,
    ctimeNs: stats.ctimeNs,
    ino: stats.ino,
    birthtimeNs: stats.birthtimeNs,
    nlink: kind === 'directory' ? (stats.dev === device ? 1 : 2) : Number(stats.nlink),
  };
}

function kindOf(stats: BigIntStats): EntryKind | undefined {
  switch (Number(stats.mode & 0o170000n)) {
    case 0o100000:
      return 'file';
    case 0o040000:
      return 'directory';
    case 0o120000:
      return 'link';
    default:
      return undefined;
  }
}

/** lstat of a path below the root; undefined when it does not exist. Other errors are thrown. */
export function statSource(root: string, path: string): BigIntStats | undefined {
  const full = path === '' ? root : `${root}/${path}`;
  try {
    // The root itself may be given as a link; what it leads to is the tree.
    return path === ''
      ? statSync(systemPath(full), { bigint: true })
      : lstatSync(systemPath(full), { bigint: true });
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** Target of a link, latin1. Throws the system's error. */
export function readSourceLink(root: string, path: string): string {
  return readlinkSync(systemPath(`${root}/${path}`), { encoding: 'latin1' });
}

/** Text of a rule file in the tree; throws the system's error. */
export function readSourceText(root: string, path: string): string {
  return readFileSync(systemPath(`${root}/${path}`), 'utf8');
}
