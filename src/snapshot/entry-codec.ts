// An entry with its name in bytes, the same on the wire, in both stores and under the entry digest:
//
//   u8 kind (1 file, 2 directory, 3 link; 0x80 more with an owner, 0x40 with extended attributes) | u16 mode | u48 id
//   | u64 size | i64 mtimeNs
//   | i64 ctimeNs | u64 ino | i64 birthtimeNs | u32 version
//   | u8 name length, name | u16 target length, target                     (all big endian)
//   and with an owner: | u32 uid | u32 gid | u8 length, user | u8 length, group
//   and with extended attributes: | u16 length, xattrs, as in xattrs.ts
//
// There is exactly one encoding of an entry: what decodes, encodes to the same bytes.
import assert from 'node:assert/strict';
import { fileSizeMax, linkTargetSizeMax, xattrsSizeMax } from '../limits.ts';
import { type Entry, type EntryKind, type NodeId, nodeIdMax, rootId } from './entry.ts';
import { FieldReader } from './field-reader.ts';
import { isName, type Name, nameSizeMax } from './name.ts';
import { type Owner, ownerFault } from './owner.ts';
import { writeInt64 } from './wide-integers.ts';
import { xattrsFault } from './xattrs.ts';

const kindCodes = { file: 1, directory: 2, link: 3 } as const;
const kinds: readonly (EntryKind | undefined)[] = [undefined, 'file', 'directory', 'link'];

const fixedSize = 56;
const ownerFlag = 0x80;
const xattrsFlag = 0x40;
const flags = ownerFlag | xattrsFlag;
const ownerFixedSize = 10;
/** The largest encoded entry: the longest name, target, names of owners and attributes. */
export const encodedEntrySizeMax =
  fixedSize + nameSizeMax + linkTargetSizeMax + ownerFixedSize + 2 * 255 + 2 + xattrsSizeMax;
const linkMode = 0o777;

/** `name` is '' for the root only. The bytes are a new Buffer; they are also what digests cover. */
export function encodeEntry(name: Name | '', entry: Entry): Buffer {
  const bytes = Buffer.allocUnsafe(encodedEntrySize(name, entry));
  assert.equal(writeEntry(bytes, 0, name, entry), bytes.length);
  return bytes;
}

export function encodedEntrySize(name: Name | '', entry: Entry): number {
  const { target, owner, xattrs } = entry;
  const xattrsSize = xattrs === undefined ? 0 : 2 + xattrs.length;
  return fixedSize + name.length + target.length + ownerSize(owner) + xattrsSize;
}

/** Writes an entry at `offset`; returns the offset behind it. Asserts what decodeEntry checks. */
export function writeEntry(bytes: Buffer, offset: number, name: Name | '', entry: Entry): number {
  const fault = entryFault(name, entry);
  if (fault !== undefined) assert.fail(`entry ${fault}`);
  assert(name === '' || isName(name), 'name of an entry');
  const { owner, xattrs } = entry;
  const withOwner = owner === undefined ? 0 : ownerFlag;
  bytes[offset] = kindCodes[entry.kind] | withOwner | (xattrs === undefined ? 0 : xattrsFlag);
  bytes.writeUInt16BE(entry.mode, offset + 1);
  bytes.writeUIntBE(entry.id, offset + 3, 6);
  writeSize(bytes, offset + 9, entry.size);
  writeInt64(bytes, offset + 17, entry.mtimeNs);
  writeInt64(bytes, offset + 25, entry.stamp.ctimeNs);
  writeInt64(bytes, offset + 33, entry.stamp.ino);
  writeInt64(bytes, offset + 41, entry.stamp.birthtimeNs);
  bytes.writeUInt32BE(entry.version, offset + 49);
  bytes[offset + 53] = name.length;
  bytes.write(name, offset + 54, name.length, 'latin1');
  const at = offset + 54 + name.length;
  bytes.writeUInt16BE(entry.target.length, at);
  bytes.write(entry.target, at + 2, entry.target.length, 'latin1');
  let end = at + 2 + entry.target.length;
  if (owner !== undefined) end = writeOwner(bytes, end, owner);
  if (xattrs === undefined) return end;
  bytes.writeUInt16BE(xattrs.length, end);
  return end + 2 + bytes.write(xattrs, end + 2, xattrs.length, 'latin1');
}

function ownerSize(owner: Owner | undefined): number {
  return owner === undefined ? 0 : ownerFixedSize + owner.user.length + owner.group.length;
}

function writeOwner(bytes: Buffer, offset: number, { uid, gid, user, group }: Owner): number {
  bytes.writeUInt32BE(uid, offset);
  bytes.writeUInt32BE(gid, offset + 4);
  let at = offset + 8;
  for (const name of [user, group]) {
    bytes[at++] = name.length;
    at += bytes.write(name, at, name.length, 'latin1');
  }
  return at;
}

/** A u64 from a number of at most 2^53-1. */
export function writeSize(bytes: Buffer, offset: number, size: number): void {
  bytes.writeUInt32BE(Math.floor(size / 0x1_0000_0000), offset);
  bytes.writeUInt32BE(size % 0x1_0000_0000, offset + 4);
}

/**
 * The reverse of encodeEntry; `bytes` must hold nothing else. Throws ERR_PROTOCOL.
 * `name` is '' only where `root` allows it.
 */
export function decodeEntry(bytes: Buffer): { readonly name: Name; readonly entry: Entry };
export function decodeEntry(
  bytes: Buffer,
  options: { readonly root: true },
): { readonly name: Name | ''; readonly entry: Entry };
export function decodeEntry(
  bytes: Buffer,
  options?: { readonly root: true },
): { readonly name: Name | ''; readonly entry: Entry } {
  const reader = new FieldReader(bytes);
  const placed = options?.root ? readEntryOrRoot(reader) : readEntry(reader);
  reader.end();
  return placed;
}

/** Reads one entry that has a name. Throws ERR_PROTOCOL. */
export function readEntry(reader: FieldReader): { readonly name: Name; readonly entry: Entry } {
  const { name, entry } = readEntryOrRoot(reader);
  if (name === '') reader.fail('name', 'is empty');
  return { name, entry };
}

/** Reads one entry whose name may be '' (the root). Throws ERR_PROTOCOL. */
export function readEntryOrRoot(reader: FieldReader): {
  readonly name: Name | '';
  readonly entry: Entry;
} {
  const code = reader.u8('kind');
  const kind = kinds[code & ~flags];
  if (kind === undefined) return reader.fail('kind', 'is unknown');
  const entry = {
    kind,
    mode: reader.u16('mode', 0, 0o7777),
    id: readNodeId(reader, 'id'),
    size: reader.size('size'),
    mtimeNs: reader.i64('mtime'),
    stamp: {
      ctimeNs: reader.i64('ctime'),
      ino: reader.u64('ino'),
      birthtimeNs: reader.i64('birthtime'),
    },
    version: reader.u32('version'),
    target: '',
  };
  const nameLength = reader.u8('name length');
  const name = nameLength === 0 ? '' : readNameOf(reader, nameLength);
  entry.target = reader.latin1('target', reader.u16('target length', 0, linkTargetSizeMax));
  let whole: Entry = entry;
  if ((code & ownerFlag) !== 0) whole = { ...whole, owner: readOwner(reader) };
  if ((code & xattrsFlag) !== 0) whole = { ...whole, xattrs: readXattrs(reader) };
  const fault = entryFault(name, whole);
  if (fault !== undefined) reader.fail('entry', fault);
  return { name, entry: whole };
}

function readOwner(reader: FieldReader): Owner {
  const uid = reader.u32('uid');
  const gid = reader.u32('gid');
  const user = reader.latin1('user', reader.u8('user length'));
  const group = reader.latin1('group', reader.u8('group length'));
  return { uid, gid, user, group };
}

function readXattrs(reader: FieldReader): string {
  return reader.latin1('xattrs', reader.u16('xattrs length', 0, xattrsSizeMax));
}

/** Reads `u8 length, name`. */
export function readName(reader: FieldReader): Name {
  return readNameOf(reader, reader.u8('name length', 1));
}

/** Reads a u48 node id. */
export function readNodeId(reader: FieldReader, field: string): NodeId {
  // The range is what makes a number a NodeId.
  return reader.u48(field, rootId, nodeIdMax) as NodeId;
}

function readNameOf(reader: FieldReader, length: number): Name {
  const name = reader.latin1('name', length);
  if (!isName(name)) return reader.fail('name', 'is not one path component');
  return name;
}

/** What an entry says that cannot be, or undefined. */
function entryFault(name: Name | '', entry: Entry): string | undefined {
  const { kind, mode, id, size, version, target, owner, xattrs } = entry;
  if (name === '' && kind !== 'directory') return `${kind} has no name`;
  if ((name === '') !== (id === rootId)) return id === rootId ? 'has the root id' : 'has no name';
  if (!isWithin(mode, 0, 0o7777)) return `mode is ${mode}`;
  if (!isWithin(id, rootId, nodeIdMax)) return `id is ${id}`;
  if (!isWithin(size, 0, fileSizeMax)) return `size is ${size}`;
  if (!isWithin(version, 0, 0xffffffff)) return `version is ${version}`;
  if (kind === 'file' && version === 0) return 'file has version 0';
  if (kind !== 'file' && version !== 0) return `${kind} has a version`;
  if (kind === 'directory' && size !== 0) return 'directory has a size';
  const badOwner = owner && ownerFault(owner);
  if (badOwner !== undefined) return badOwner;
  if (kind === 'link' && xattrs !== undefined) return 'link has extended attributes';
  const badXattrs = xattrs === undefined ? undefined : xattrsFault(xattrs);
  if (badXattrs !== undefined) return badXattrs;
  if (kind !== 'link') return target === '' ? undefined : `${kind} has a target`;
  if (mode !== linkMode) return 'link has a mode';
  if (size !== target.length) return 'link has a size other than its target';
  return isTarget(target) ? undefined : 'link has no usable target';
}

function isWithin(value: number, min: number, max: number): boolean {
  return Number.isInteger(value) && value >= min && value <= max;
}

/** 1 to 4095 bytes without NUL, latin1. */
function isTarget(target: string): boolean {
  if (target.length === 0 || target.length > linkTargetSizeMax) return false;
  for (let i = 0; i < target.length; i++) {
    const code = target.charCodeAt(i);
    if (code === 0 || code > 0xff) return false;
  }
  return true;
}
