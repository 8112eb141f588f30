// Layouts of the receiver's tables, big endian. A change needs a new schema number in
// replica-store.ts; a store of another schema is rebuilt from the tree.
//
//   names   u48 parent, name bytes            -> encodeEntry(name, entry). Parent 0, no name: root
//   dirs    u48 id                            -> u48 parent | u64 ino | name bytes
//   files   u48 id, u32 version               -> u32 links | u64 ino | u64 size | i64 mtimeNs
//                                                | i64 ctimeNs | u8 places, each: u48 parent
//                                                | u8 length, name | block list
//   blocks  first 8 bytes of a block id       -> up to 4 of u48 file id | u32 block
//   kept    u48 parent, name bytes            -> u8 kind | u48 id | u32 version | u8 drift
//                                                | u64 timeMs | u64 bytes
//
// Parent 0 in dirs, files and kept is the folder of kept content: what was a directory of the tree
// keeps its records when it is moved there, so its files stay usable as block sources.
import assert from 'node:assert/strict';
import type { BigIntStats } from 'node:fs';
import { BlockList } from '../blocks/block-list.ts';
import type { EntryKind, NodeId } from '../snapshot/entry.ts';
import { writeSize } from '../snapshot/entry-codec.ts';
import type { Name } from '../snapshot/name.ts';
import { writeInt64 } from '../snapshot/wide-integers.ts';

/** The folder of kept content, as a parent. Not a node of the tree. */
export const keptParent = 0;
export type ParentId = NodeId | typeof keptParent;

/** Places remembered of one file with many hard links: one is needed, some may go stale. */
export const placesMax = 8;
export const hintsMax = 4;

/** A name in a directory of the tree, or in the folder of kept content. */
export interface Place {
  readonly parent: ParentId;
  readonly name: Name;
}

export interface DirectoryRecord extends Place {
  /** Inode number here. */
  readonly ino: bigint;
}

/** What the local file system said of a file when it was written: unchanged means untouched. */
export interface LocalStamp {
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

/** One content version of a file. */
export interface FileRecord {
  /** Names that lead to it, in the tree and in kept content. */
  readonly links: number;
  readonly places: readonly Place[];
  readonly stamp: LocalStamp;
  readonly list: BlockList;
}

/** Where a block may lie: block `block` of some version of file `id`. */
export interface Hint {
  readonly id: NodeId;
  readonly block: number;
}

export interface KeptRecord {
  readonly kind: EntryKind | 'foreign';
  /** 0 when nothing is recorded of it. */
  readonly id: NodeId | 0;
  readonly version: number;
  /** True for content that did not come from the source. */
  readonly drift: boolean;
  readonly timeMs: number;
  /** 0 below a kept directory: counted with it. */
  readonly bytes: number;
}

export function stampOf(stats: Pick<BigIntStats, keyof LocalStamp>): LocalStamp {
  return {
    ino: stats.ino,
    size: stats.size,
    mtimeNs: stats.mtimeNs,
    ctimeNs: stats.ctimeNs,
  };
}

export function sameLocalStamp(a: LocalStamp, b: LocalStamp): boolean {
  return a.ino === b.ino && a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs;
}

/** Same but for the ctime, which links and renames move. */
export function sameContentStamp(a: LocalStamp, b: LocalStamp): boolean {
  return a.ino === b.ino && a.size === b.size && a.mtimeNs === b.mtimeNs;
}

export function nameKey(parent: ParentId, name: Name | ''): Buffer {
  const key = Buffer.allocUnsafe(6 + name.length);
  key.writeUIntBE(parent, 0, 6);
  key.write(name, 6, name.length, 'latin1');
  return key;
}

export function decodeNameKey(key: Buffer): { readonly parent: ParentId; readonly name: Name } {
  // Only checked ids and names are put under these keys.
  return { parent: key.readUIntBE(0, 6) as ParentId, name: key.toString('latin1', 6) as Name };
}

export function idKey(id: number): Buffer {
  const key = Buffer.allocUnsafe(6);
  key.writeUIntBE(id, 0, 6);
  return key;
}

export function decodeIdKey(key: Buffer): NodeId {
  // Only node ids are put under these keys.
  return key.readUIntBE(0, 6) as NodeId;
}

export function fileKey(id: NodeId, version: number): Buffer {
  const key = Buffer.allocUnsafe(10);
  key.writeUIntBE(id, 0, 6);
  key.writeUInt32BE(version, 6);
  return key;
}

export function decodeFileKey(key: Buffer): { readonly id: NodeId; readonly version: number } {
  return { id: decodeIdKey(key), version: key.readUInt32BE(6) };
}

/** Half an id finds a block; the other half is compared with the file's block list. */
export function blockKey(id: Buffer): Buffer {
  return id.subarray(0, 8);
}

export function encodeDirectory(record: DirectoryRecord): Buffer {
  const bytes = Buffer.allocUnsafe(14 + record.name.length);
  bytes.writeUIntBE(record.parent, 0, 6);
  bytes.writeBigUInt64BE(record.ino, 6);
  bytes.write(record.name, 14, record.name.length, 'latin1');
  return bytes;
}

export function decodeDirectory(bytes: Buffer): DirectoryRecord {
  return {
    parent: bytes.readUIntBE(0, 6) as ParentId,
    ino: bytes.readBigUInt64BE(6),
    name: bytes.toString('latin1', 14) as Name,
  };
}

export function encodeFile(record: FileRecord): Buffer {
  assert(record.places.length <= placesMax);
  let size = 37 + record.list.packed.length;
  for (const place of record.places) size += 7 + place.name.length;
  const bytes = Buffer.allocUnsafe(size);
  bytes.writeUInt32BE(record.links, 0);
  writeInt64(bytes, 4, record.stamp.ino);
  writeInt64(bytes, 12, record.stamp.size);
  writeInt64(bytes, 20, record.stamp.mtimeNs);
  writeInt64(bytes, 28, record.stamp.ctimeNs);
  bytes[36] = record.places.length;
  let at = 37;
  for (const { parent, name } of record.places) {
    bytes.writeUIntBE(parent, at, 6);
    bytes[at + 6] = name.length;
    bytes.write(name, at + 7, name.length, 'latin1');
    at += 7 + name.length;
  }
  assert.equal(at + record.list.packed.copy(bytes, at), size);
  return bytes;
}

/** The record keeps `bytes` alive. */
export function decodeFile(bytes: Buffer): FileRecord {
  const places: Place[] = [];
  let at = 37;
  for (let i = bytes.readUInt8(36); i > 0; i--) {
    const length = bytes.readUInt8(at + 6);
    places.push({
      parent: bytes.readUIntBE(at, 6) as ParentId,
      name: bytes.toString('latin1', at + 7, at + 7 + length) as Name,
    });
    at += 7 + length;
  }
  return {
    links: bytes.readUInt32BE(0),
    places,
    stamp: {
      ino: bytes.readBigUInt64BE(4),
      size: bytes.readBigUInt64BE(12),
      mtimeNs: bytes.readBigInt64BE(20),
      ctimeNs: bytes.readBigInt64BE(28),
    },
    list: BlockList.from(bytes.subarray(at)),
  };
}

const hintSize = 10;

export function encodeHints(hints: readonly Hint[]): Buffer {
  assert(hints.length <= hintsMax);
  const bytes = Buffer.allocUnsafe(hints.length * hintSize);
  hints.forEach(({ id, block }, i) => {
    bytes.writeUIntBE(id, i * hintSize, 6);
    bytes.writeUInt32BE(block, i * hintSize + 6);
  });
  return bytes;
}

export function decodeHints(bytes: Buffer): Hint[] {
  const hints: Hint[] = [];
  for (let at = 0; at + hintSize <= bytes.length; at += hintSize) {
    hints.push({ id: bytes.readUIntBE(at, 6) as NodeId, block: bytes.readUInt32BE(at + 6) });
  }
  return hints;
}

const keptKinds = ['file', 'directory', 'link', 'foreign'] as const;

export function encodeKept(record: KeptRecord): Buffer {
  const bytes = Buffer.allocUnsafe(28);
  bytes[0] = keptKinds.indexOf(record.kind);
  bytes.writeUIntBE(record.id, 1, 6);
  bytes.writeUInt32BE(record.version, 7);
  bytes[11] = record.drift ? 1 : 0;
  writeSize(bytes, 12, record.timeMs);
  writeSize(bytes, 20, record.bytes);
  return bytes;
}

export function decodeKept(bytes: Buffer): KeptRecord {
  return {
    kind: keptKinds[bytes.readUInt8(0)] ?? 'foreign',
    id: bytes.readUIntBE(1, 6) as NodeId | 0,
    version: bytes.readUInt32BE(7),
    drift: bytes[11] === 1,
    timeMs: Number(bytes.readBigUInt64BE(12)),
    bytes: Number(bytes.readBigUInt64BE(20)),
  };
}
