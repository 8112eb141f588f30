// An entry is one name in one directory, as both sides record it.
import { ReplicaError } from '../errors.ts';
import type { Name } from './name.ts';
import type { Owner } from './owner.ts';

export const entryKinds = ['file', 'directory', 'link'] as const;
export type EntryKind = (typeof entryKinds)[number];

declare const nodeBrand: unique symbol;
/**
 * What a name leads to: a file (one id however many hard links), directory or link. Numbered by
 * the sender, below 2^47; both sides key their records by it, so that a rename touches one record.
 */
export type NodeId = number & { readonly [nodeBrand]: true };

/** The tree's root directory. It has no parent and no name. */
// An id is branded only here and where one is decoded or allocated.
export const rootId = 1 as NodeId;
export const nodeIdMax = 2 ** 47 - 1;

/** The id of a new node; throws ERR_PROTOCOL when all are used up. */
export function toNodeId(number: number): NodeId {
  if (number > nodeIdMax) throw new ReplicaError('ERR_PROTOCOL', 'no node ids are left');
  return number as NodeId;
}

/**
 * What the source's file system said of the content, kept verbatim by the receiver. Two equal
 * stamps mean the content need not be read again. All zero: nothing is known (adopted, rebuilt).
 */
export interface Stamp {
  readonly ctimeNs: bigint;
  readonly ino: bigint;
  /** 0 where the file system has none. */
  readonly birthtimeNs: bigint;
}

export const noStamp: Stamp = { ctimeNs: 0n, ino: 0n, birthtimeNs: 0n };

/** Everything both sides record about a name, but for the name itself. */
export interface Entry {
  readonly kind: EntryKind;
  readonly id: NodeId;
  /** Permission bits, at most 0o7777. 0o777 for links. */
  readonly mode: number;
  /** Bytes of content; length of the target for links; 0 for directories. */
  readonly size: number;
  readonly mtimeNs: bigint;
  readonly stamp: Stamp;
  /** Content version of a file, counted by the sender from 1; 0 for directories and links. */
  readonly version: number;
  /** Link target, latin1; '' unless a link. */
  readonly target: string;
  /** undefined: the owner is not kept. */
  readonly owner?: Owner | undefined;
  /** Packed (xattrs.ts); '': it has none. undefined: they are not kept, as for every link. */
  readonly xattrs?: string | undefined;
}

/** An entry with its place. */
export interface PlacedEntry {
  readonly parent: NodeId;
  readonly name: Name;
  readonly entry: Entry;
}

export function sameStamp(a: Stamp, b: Stamp): boolean {
  return a.ctimeNs === b.ctimeNs && a.ino === b.ino && a.birthtimeNs === b.birthtimeNs;
}
