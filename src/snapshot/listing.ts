// A listing is all entries of one directory, sorted by name bytes, packed. What the scan can see
// comes first and is compared as bytes; what only the records know (ids, versions, targets) follows.
//
//   page    := u8 more | u24 count | u32 seenSize | seen... | known...
//   seen    := u8 nameSize | name | u8 kind | u16 mode | u64 size | i64 mtimeNs | i64 ctimeNs
//              | u64 ino | i64 birthtimeNs [| u32 uid | u32 gid]        44 bytes and the name
//   known   := u48 id | u32 version | u32 nlink | u16 targetSize | target
//              [| u8 userSize | user | u8 groupSize | group] [| u16 xattrsSize | xattrs]
//
// What stands in brackets is there where owners are kept: the kind is 0x80 more then; or extended
// attributes: it is 0x40 more, which a scan says without having read any.
//
// A directory with many entries has several pages, each with a range of names; a page is split when
// it outgrows `pageEntriesMax`, never merged, so that one change rewrites one page.
import assert from 'node:assert/strict';
import { ReplicaError } from '../errors.ts';
import { type Entry, type EntryKind, entryKinds, type NodeId } from './entry.ts';
import type { Name } from './name.ts';
import type { Owner, OwnerIds } from './owner.ts';

export const pageEntriesMax = 1024;
const headerSize = 8;
const seenFixedSize = 44;
const knownFixedSize = 16;
const ownerFlag = 0x80;
const xattrsFlag = 0x40;
const flags = ownerFlag | xattrsFlag;
const ownerIdsSize = 8;

/** What a scan sees of one name. */
export interface Seen {
  readonly name: Name;
  readonly kind: EntryKind;
  readonly mode: number;
  readonly size: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly ino: bigint;
  readonly birthtimeNs: bigint;
  /** undefined: owners are not kept. */
  readonly owner?: OwnerIds | undefined;
  /** Its extended attributes count, whatever they are: a move of the ctime tells of another. */
  readonly keepsXattrs?: boolean | undefined;
  /** Links to the inode; not compared, since a new link moves the ctime too. */
  readonly nlink: number;
}

/** One name as the records have it. */
export interface Known {
  readonly name: Name;
  readonly entry: Entry;
  readonly nlink: number;
}

/** What a scan sees of one name, as numbers of the system: no object is made of each entry. */
export interface SeenFields {
  readonly kind: EntryKind;
  readonly mode: number;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly ino: bigint;
  readonly birthtimeNs: bigint;
  readonly owner?: OwnerIds | undefined;
  readonly keepsXattrs?: boolean | undefined;
}

/** Writes the seen part of a listing into one growing buffer, reused from directory to directory. */
export class SeenWriter {
  #bytes = Buffer.allocUnsafe(64 * 1024);
  #view = viewOf(this.#bytes);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The bytes from `start` on; valid until the next write. */
  bytes(start = 0): Buffer {
    return this.#bytes.subarray(start, this.#size);
  }

  reset(): void {
    this.#size = 0;
  }

  write(seen: Seen): void {
    this.writeFields(seen.name, { ...seen, size: BigInt(seen.size) });
  }

  writeFields(name: Name, fields: SeenFields): void {
    const { owner } = fields;
    const ownerSize = owner === undefined ? 0 : ownerIdsSize;
    const needed = this.#size + seenFixedSize + name.length + ownerSize;
    if (needed > this.#bytes.length) this.#grow(needed);
    const b = this.#bytes;
    let at = this.#size;
    b[at++] = name.length;
    for (let i = 0; i < name.length; i++) b[at++] = name.charCodeAt(i);
    const withXattrs = fields.keepsXattrs === true ? xattrsFlag : 0;
    b[at] = kindNumber(fields.kind) | (owner === undefined ? 0 : ownerFlag) | withXattrs;
    // A DataView writes 64 bits several times as fast as a Buffer.
    const view = this.#view;
    view.setUint16(at + 1, fields.mode);
    view.setBigUint64(at + 3, fields.size);
    view.setBigInt64(at + 11, fields.mtimeNs);
    view.setBigInt64(at + 19, fields.ctimeNs);
    view.setBigUint64(at + 27, fields.ino);
    view.setBigInt64(at + 35, fields.birthtimeNs);
    if (owner !== undefined) {
      view.setUint32(at + 43, owner.uid);
      view.setUint32(at + 47, owner.gid);
    }
    this.#size = at + 43 + ownerSize;
    assert(this.#size === needed);
  }

  #grow(needed: number): void {
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2));
    this.#bytes.copy(grown, 0, 0, this.#size);
    this.#bytes = grown;
    this.#view = viewOf(grown);
  }
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function kindNumber(kind: EntryKind): number {
  return entryKinds.indexOf(kind);
}

/** The entries that a SeenWriter wrote; their link counts, which are not in there, beside them. */
export function unpackSeen(bytes: Buffer, linkCounts: readonly number[]): Seen[] {
  const seen: Seen[] = [];
  const view = viewOf(bytes);
  let at = 0;
  for (const nlink of linkCounts) {
    const nameEnd = at + 1 + view.getUint8(at);
    const code = view.getUint8(nameEnd);
    const kind = entryKinds[code & ~flags];
    assert(kind !== undefined);
    const one: Seen = {
      name: bytes.toString('latin1', at + 1, nameEnd) as Name, // Checked when it was written.
      kind,
      mode: view.getUint16(nameEnd + 1),
      size: Number(view.getBigUint64(nameEnd + 3)),
      mtimeNs: view.getBigInt64(nameEnd + 11),
      ctimeNs: view.getBigInt64(nameEnd + 19),
      ino: view.getBigUint64(nameEnd + 27),
      birthtimeNs: view.getBigInt64(nameEnd + 35),
      keepsXattrs: (code & xattrsFlag) !== 0,
      nlink,
    };
    at = nameEnd + 43;
    if ((code & ownerFlag) === 0) {
      seen.push(one);
    } else {
      seen.push({ ...one, owner: readIds(view, at) });
      at += ownerIdsSize;
    }
  }
  assert.equal(at, bytes.length);
  return seen;
}

function readIds(view: DataView, at: number): OwnerIds {
  return { uid: view.getUint32(at), gid: view.getUint32(at + 4) };
}

/** The entry of a record, as the scan would have seen it. */
export function seenOf(known: Known): Seen {
  const { entry } = known;
  return {
    name: known.name,
    kind: entry.kind,
    mode: entry.mode,
    size: entry.size,
    mtimeNs: entry.mtimeNs,
    ctimeNs: entry.stamp.ctimeNs,
    ino: entry.stamp.ino,
    birthtimeNs: entry.stamp.birthtimeNs,
    owner: entry.owner,
    keepsXattrs: entry.xattrs !== undefined,
    nlink: known.nlink,
  };
}

/** Packs entries, which must come in name order. `more`: further pages of the directory follow. */
export function packPage(entries: readonly Known[], more = false): Buffer {
  const writer = new SeenWriter();
  let knownSize = 0;
  for (const known of entries) {
    writer.write(seenOf(known));
    const { target, owner, xattrs } = known.entry;
    const xattrsSize = xattrs === undefined ? 0 : 2 + xattrs.length;
    knownSize += knownFixedSize + target.length + namesSize(owner) + xattrsSize;
  }
  const page = Buffer.allocUnsafe(headerSize + writer.size + knownSize);
  page[0] = more ? 1 : 0;
  page.writeUIntBE(entries.length, 1, 3);
  page.writeUInt32BE(writer.size, 4);
  let at = headerSize + writer.bytes().copy(page, headerSize);
  for (const { entry, nlink } of entries) {
    page.writeUIntBE(entry.id, at, 6);
    page.writeUInt32BE(entry.version, at + 6);
    page.writeUInt32BE(nlink, at + 10);
    page.writeUInt16BE(entry.target.length, at + 14);
    at += knownFixedSize;
    at += page.write(entry.target, at, 'latin1');
    const { owner, xattrs } = entry;
    for (const name of owner === undefined ? [] : [owner.user, owner.group]) {
      page[at++] = name.length;
      at += page.write(name, at, 'latin1');
    }
    if (xattrs === undefined) continue;
    at = page.writeUInt16BE(xattrs.length, at);
    at += page.write(xattrs, at, 'latin1');
  }
  assert.equal(at, page.length);
  return page;
}

function namesSize(owner: Owner | undefined): number {
  return owner === undefined ? 0 : 2 + owner.user.length + owner.group.length;
}

/** The part of a page that a scan is compared with. */
export function seenBytes(page: Buffer): Buffer {
  return page.subarray(headerSize, headerSize + page.readUInt32BE(4));
}

export function hasMore(page: Buffer): boolean {
  return page[0] === 1;
}

/** Entries of a page in name order; throws ERR_STATE when the bytes are not a page. */
export function unpackPage(page: Buffer): Known[] {
  try {
    return [...entriesOf(page, () => true)];
  } catch (error) {
    throw new ReplicaError('ERR_STATE', 'a listing record is damaged', { cause: error });
  }
}

/** Only the directories of a page: what a sweep needs when nothing changed. */
export function directoriesOf(page: Buffer): Known[] {
  const directoryKind = entryKinds.indexOf('directory');
  return [...entriesOf(page, code => (code & ~flags) === directoryKind)];
}

function* entriesOf(page: Buffer, wanted: (code: number) => boolean): Generator<Known> {
  const count = page.readUIntBE(1, 3);
  const seenSize = page.readUInt32BE(4);
  let at = headerSize;
  let knownAt = headerSize + seenSize;
  for (let i = 0; i < count; i++) {
    const fields = at + 1 + page.readUInt8(at);
    const code = page.readUInt8(fields);
    const isOwned = (code & ownerFlag) !== 0;
    const targetEnd = knownAt + knownFixedSize + page.readUInt16BE(knownAt + 14);
    if (wanted(code)) yield readKnown(page, { at, fields, knownAt, targetEnd, code });
    at = fields + 43 + (isOwned ? ownerIdsSize : 0);
    knownAt = isOwned ? skipNames(page, targetEnd) : targetEnd;
    if ((code & xattrsFlag) !== 0) knownAt += 2 + page.readUInt16BE(knownAt);
  }
  if (at !== headerSize + seenSize || knownAt !== page.length) {
    throw new RangeError('sizes do not add up');
  }
}

function skipNames(page: Buffer, at: number): number {
  const groupAt = at + 1 + page.readUInt8(at);
  return groupAt + 1 + page.readUInt8(groupAt);
}

/** Where the parts of one entry are. */
interface Parts {
  readonly at: number;
  readonly fields: number;
  readonly knownAt: number;
  readonly targetEnd: number;
  readonly code: number;
}

function readKnown(page: Buffer, { at, fields, knownAt, targetEnd, code }: Parts): Known {
  const kind = entryKinds[code & ~flags];
  if (kind === undefined) throw new RangeError('unknown kind');
  let entry: Entry = {
    kind,
    id: page.readUIntBE(knownAt, 6) as NodeId,
    mode: page.readUInt16BE(fields + 1),
    size: Number(page.readBigUInt64BE(fields + 3)),
    mtimeNs: page.readBigInt64BE(fields + 11),
    stamp: {
      ctimeNs: page.readBigInt64BE(fields + 19),
      ino: page.readBigUInt64BE(fields + 27),
      birthtimeNs: page.readBigInt64BE(fields + 35),
    },
    version: page.readUInt32BE(knownAt + 6),
    target: page.toString('latin1', knownAt + knownFixedSize, targetEnd),
  };
  let end = targetEnd;
  if ((code & ownerFlag) !== 0) {
    entry = { ...entry, owner: readOwner(page, fields + 43, targetEnd) };
    end = skipNames(page, targetEnd);
  }
  if ((code & xattrsFlag) !== 0) {
    const xattrs = page.toString('latin1', end + 2, end + 2 + page.readUInt16BE(end));
    entry = { ...entry, xattrs };
  }
  return {
    // Names were checked when they were packed.
    name: page.toString('latin1', at + 1, fields) as Name,
    nlink: page.readUInt32BE(knownAt + 10),
    entry,
  };
}

function readOwner(page: Buffer, idsAt: number, namesAt: number): Owner {
  const groupAt = namesAt + 1 + page.readUInt8(namesAt);
  const end = groupAt + 1 + page.readUInt8(groupAt);
  return {
    uid: page.readUInt32BE(idsAt),
    gid: page.readUInt32BE(idsAt + 4),
    user: page.toString('latin1', namesAt + 1, groupAt),
    group: page.toString('latin1', groupAt + 1, end),
  };
}
