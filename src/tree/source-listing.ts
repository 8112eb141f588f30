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
import {
  type AttributeRules,
  defaultAttributes,
  keepsXattrs,
  modeAs,
  ownerAs,
} from '../snapshot/attribute-rules.ts';
import type { EntryKind } from '../snapshot/entry.ts';
import { ignoreFileName } from '../snapshot/ignore.ts';
import { type Seen, type SeenWriter, unpackSeen } from '../snapshot/listing.ts';
import { isName, type Name, systemPath } from '../snapshot/name.ts';
import type { OwnerIds } from '../snapshot/owner.ts';

/** What lstat says, as it counts: see AttributeRules. */
export interface SourceStats {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly mode: bigint;
  readonly nlink: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly birthtimeNs: bigint;
  readonly owner: OwnerIds | undefined;
  readonly keepsXattrs: boolean;
}

/** A directory's entries, packed: most listings are only compared with the record as bytes. */
export class SourceListing {
  /** Written by a SeenWriter, in name order. */
  readonly bytes: Buffer;
  readonly linkCounts: readonly number[];
  /** Names that are there but could not be looked at: neither changed nor gone. */
  readonly unreadable: ReadonlyMap<Name, Problem>;
  /** Sockets, FIFOs and devices, by name. */
  readonly special: readonly Name[];
  /** Of all names. */
  readonly namesHash: number;
  /** Is there a file with ignore rules? */
  readonly hasRules: boolean;
  /** Bytes of the largest file. */
  readonly largestSize: bigint;
  #seen: readonly Seen[] | undefined;

  constructor(parts: ListingParts) {
    this.bytes = parts.bytes;
    this.linkCounts = parts.linkCounts;
    this.unreadable = parts.unreadable;
    this.special = parts.special;
    this.namesHash = parts.namesHash;
    this.hasRules = parts.hasRules;
    this.largestSize = parts.largestSize;
  }

  /** In name order. */
  get seen(): readonly Seen[] {
    this.#seen ??= unpackSeen(this.bytes, this.linkCounts);
    return this.#seen;
  }
}

export interface ListingParts {
  readonly bytes: Buffer;
  readonly linkCounts: readonly number[];
  readonly unreadable: ReadonlyMap<Name, Problem>;
  readonly special: readonly Name[];
  readonly namesHash: number;
  readonly hasRules: boolean;
  readonly largestSize: bigint;
}

/** Joins latin1 paths below the root; '' is the root itself. */
export function below(path: string, name: string): string {
  return path === '' ? name : `${path}/${name}`;
}

/**
 * All entries of the directory `path` below `root` (both latin1), which is on `device`. Throws the
 * system's error when the directory cannot be listed; an entry that vanishes meanwhile is left out.
 * The bytes are `writer`'s, from where it was on.
 */
export function listSource(root: string, path: string, options: ListOptions): ListingParts {
  options.onCall?.();
  const names = listNames(root, path);
  return { ...lookAt(root, { path, names }, options), namesHash: hashOf(names) };
}

/** Names in a directory, sorted by their bytes. Throws the system's error. */
export function listNames(root: string, path: string): Name[] {
  const folder = path === '' ? root : `${root}/${path}`;
  // latin1 is byte-exact and the fastest encoding of readdir.
  return readdirSync(systemPath(folder), { encoding: 'latin1' }).sort().filter(isName);
}

/** Some names of a directory, in order. */
export interface NamesIn {
  readonly path: string;
  readonly names: readonly Name[];
}

/** What is at these names; what listSource says of a directory, but for the hash of all names. */
export function lookAt(
  root: string,
  { path, names }: NamesIn,
  { device, writer, attributes = defaultAttributes, onCall = () => {} }: ListOptions,
): Omit<ListingParts, 'namesHash'> {
  const folder = path === '' ? root : `${root}/${path}`;
  const start = writer.size;
  const linkCounts: number[] = [];
  const unreadable = new Map<Name, Problem>();
  const special: Name[] = [];
  let hasRules = false;
  let largestSize = 0n;
  for (const name of names) {
    onCall();
    try {
      const stats = lstatSync(systemPath(`${folder}/${name}`), { bigint: true });
      const kind = kindOf(stats);
      if (kind === undefined) {
        special.push(name);
        continue;
      }
      writer.writeFields(name, {
        kind,
        mode: modeAs(attributes, kind, stats.mode),
        size: kind === 'directory' ? 0n : stats.size,
        mtimeNs: stats.mtimeNs,
        ctimeNs: stats.ctimeNs,
        ino: stats.ino,
        birthtimeNs: stats.birthtimeNs,
        owner: ownerAs(attributes, stats),
        keepsXattrs: keepsXattrs(attributes, kind),
      });
      linkCounts.push(linksOf(kind, stats, device));
      if (kind !== 'file') continue;
      if (name === ignoreFileName) hasRules = true;
      if (stats.size > largestSize) largestSize = stats.size;
    } catch (error) {
      const code = systemCode(error);
      if (code === undefined) throw error;
      if (code === 'ENOENT') continue;
      unreadable.set(name, unreadableAt(path, name, code));
    }
  }
  const bytes = writer.bytes(start);
  return { bytes, linkCounts, unreadable, special, hasRules, largestSize };
}

export function unreadableAt(path: string, name: Name, code: string): Problem {
  return { path: below(path, name), code, message: 'cannot be looked at' };
}

export interface ListOptions {
  readonly device: bigint;
  readonly writer: SeenWriter;
  readonly attributes?: AttributeRules | undefined;
  /** Before each system call. */
  readonly onCall?: () => void;
}

/** FNV-1a over the bytes of names, each ended by a slash. */
export function hashOf(names: readonly Name[]): number {
  let hash = 0x811c9dc5;
  for (const name of names) {
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
    hash = Math.imul(hash ^ 0x2f, 0x01000193);
  }
  return hash;
}

/**
 * What lstat says, as an entry; undefined for sockets, FIFOs and devices. A directory counts two
 * links when it is a mount point, that is on another device than `device`, its parent's.
 */
export function seenOfStats(
  name: Name,
  stats: SourceStats,
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
    owner: stats.owner,
    keepsXattrs: stats.keepsXattrs,
    nlink: linksOf(kind, stats, device),
  };
}

function linksOf(
  kind: EntryKind,
  { dev, nlink }: Pick<SourceStats, 'dev' | 'nlink'>,
  device: bigint,
): number {
  if (kind !== 'directory') return Number(nlink);
  return dev === device ? 1 : 2;
}

export function kindOf(stats: Pick<SourceStats, 'mode'>): EntryKind | undefined {
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
export function statSource(
  root: string,
  path: string,
  attributes = defaultAttributes,
): SourceStats | undefined {
  const stats = lstatBelow(root, path);
  if (stats === undefined) return undefined;
  const { dev, ino, nlink, size, mtimeNs, ctimeNs, birthtimeNs } = stats;
  const kind = kindOf(stats);
  const bits =
    kind === undefined ? stats.mode & 0o7777n : BigInt(modeAs(attributes, kind, stats.mode));
  const mode = (stats.mode & ~0o7777n) | bits;
  const owner = ownerAs(attributes, stats);
  const keeps = kind !== undefined && keepsXattrs(attributes, kind);
  const times = { mtimeNs, ctimeNs, birthtimeNs };
  return { dev, ino, mode, nlink, size, ...times, owner, keepsXattrs: keeps };
}

function lstatBelow(root: string, path: string): BigIntStats | undefined {
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
