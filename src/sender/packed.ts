// Changes, confirmations and read requests as they cross threads: packed into one buffer that is
// moved. Cloning them object by object cost more than reading the files (100,000 small files:
// 2.5 s of core time in all; packed 0.5 s).
import assert from 'node:assert/strict';
import { BlockList } from '../blocks/block-list.ts';
import { checkSize } from '../blocks/check-hash.ts';
import type { Basis } from '../blocks/content-matcher.ts';
import { blockIdSize } from '../limits.ts';
import type { Entry, NodeId } from '../snapshot/entry.ts';
import { encodedEntrySize, readEntryOrRoot } from '../snapshot/entry-codec.ts';
import { FieldReader } from '../snapshot/field-reader.ts';
import { FieldWriter } from '../snapshot/field-writer.ts';
import type { Name } from '../snapshot/name.ts';
import type { ExpectedFile } from '../tree/source-file.ts';
import { Moved } from './calls.ts';
import type { Change, Confirmation } from './change.ts';

/** A file to be read, and what is known of its content. */
export interface ReadRequest {
  readonly path: string;
  readonly expected: ExpectedFile;
  readonly basis: Basis | undefined;
}

/** Bytes that are the whole of their ArrayBuffer, so that they can be moved. */
export type Packed = Uint8Array<ArrayBuffer>;

const kinds = ['file', 'directory', 'link', 'hardlink', 'rename', 'remove', 'attributes'] as const;
const listedSize = 2 + blockIdSize;
const noBasis = 0xffff_ffff;
const idMax = 2 ** 48 - 1;

/** Runs `write` over a buffer of exactly `size` bytes. */
export function pack(size: number, write: (writer: FieldWriter) => void): Packed {
  const bytes = Buffer.allocUnsafeSlow(size);
  const writer = new FieldWriter(bytes);
  write(writer);
  assert.equal(writer.offset, size);
  // allocUnsafeSlow is never pooled.
  return new Uint8Array(bytes.buffer as ArrayBuffer);
}

export function readerOf(packed: Packed): FieldReader {
  return new FieldReader(Buffer.from(packed.buffer));
}

export function moved(packed: Packed): Moved<Packed> {
  return new Moved(packed, [packed.buffer]);
}

// -- changes ------------------------------------------------------------------------------------

export function packChanges(changes: readonly Change[]): Packed {
  const size = changes.reduce((sum, change) => sum + changeSize(change), 0);
  return pack(size, writer => {
    for (const change of changes) writeChange(writer, change);
  });
}

export function unpackChanges(packed: Packed): Change[] {
  const reader = readerOf(packed);
  const changes: Change[] = [];
  while (reader.left > 0) changes.push(readChange(reader));
  return changes;
}

/** u8 kind | u48 token | text path | u48 parent, then by kind. */
function changeSize(change: Change): number {
  const fixed = 1 + 6 + 2 + change.path.length + 6;
  switch (change.kind) {
    case 'remove':
      return fixed + 1 + change.name.length + 6 + 1;
    case 'rename':
      return (
        fixed + entrySize(change) + 6 + 1 + change.fromName.length + 2 + change.fromPath.length
      );
    case 'file':
      return fixed + entrySize(change) + 4 + 8 + 1 + 8 + 1 + basisSize(change.basis);
    case 'attributes':
      return fixed + entrySize(change);
    default:
      return fixed + entrySize(change) + 1;
  }
}

function entrySize(change: { name: Name | ''; entry: Entry }): number {
  return encodedEntrySize(change.name, change.entry);
}

function writeChange(writer: FieldWriter, change: Change): void {
  writer.u8(kinds.indexOf(change.kind));
  writer.u48(change.token);
  writer.u16(change.path.length);
  writer.latin1(change.path);
  writer.u48(change.parent);
  if (change.kind === 'remove') {
    writer.u8(change.name.length);
    writer.latin1(change.name);
    writer.u48(change.id);
    writer.flag(change.isDirectory);
    return;
  }
  writer.entry(change.name, change.entry);
  switch (change.kind) {
    case 'rename':
      writer.u48(change.fromParent);
      writer.u8(change.fromName.length);
      writer.latin1(change.fromName);
      writer.u16(change.fromPath.length);
      writer.latin1(change.fromPath);
      break;
    case 'file':
      writer.u32(change.baseVersion);
      writer.size(change.baseSize);
      writer.flag(change.purpose === 'trust');
      writer.size(Math.round(change.seenMs));
      writer.flag(change.isNew);
      writeBasis(writer, change.basis);
      break;
    case 'attributes':
      break;
    default:
      writer.flag(change.isNew);
  }
}

function readChange(reader: FieldReader): Change {
  const kind = kinds[reader.u8('kind')];
  const token = reader.u48('token', 0, idMax);
  const path = reader.latin1('path', reader.u16('path'));
  // Packed by this process from values of these types: brands are put back without checks.
  const parent = reader.u48('parent', 0, idMax) as NodeId;
  if (kind === 'remove') {
    const name = reader.latin1('name', reader.u8('name')) as Name;
    const id = reader.u48('id', 0, idMax) as NodeId;
    return { kind, token, path, parent, name, id, isDirectory: reader.flag('directory') };
  }
  const { name: nameOrRoot, entry } = readEntryOrRoot(reader);
  const name = nameOrRoot as Name;
  switch (kind) {
    case 'rename': {
      const fromParent = reader.u48('from', 0, idMax) as NodeId;
      const fromName = reader.latin1('from', reader.u8('from')) as Name;
      const fromPath = reader.latin1('from', reader.u16('from'));
      return { kind, token, path, parent, name, entry, fromParent, fromName, fromPath };
    }
    case 'file':
      return {
        kind,
        token,
        path,
        parent,
        name,
        entry,
        baseVersion: reader.u32('base'),
        baseSize: reader.size('base size'),
        purpose: reader.flag('purpose') ? 'trust' : 'content',
        seenMs: reader.size('seen'),
        isNew: reader.flag('new'),
        basis: readBasis(reader),
      };
    case 'attributes':
      return { kind, token, path, parent, name, entry };
    case 'directory':
    case 'link':
    case 'hardlink':
      return { kind, token, path, parent, name, entry, isNew: reader.flag('new') };
    default:
      throw new Error('a change of no kind');
  }
}

// -- confirmations ------------------------------------------------------------------------------

/** u48 token | u32 version or 0 | u8 trusted | basis. */
export function packConfirmations(confirmations: readonly Confirmation[]): Packed {
  const size = confirmations.reduce((sum, one) => sum + 11 + basisSize(one.basis), 0);
  return pack(size, writer => {
    for (const one of confirmations) {
      writer.u48(one.token);
      writer.u32(one.version ?? 0);
      writer.flag(one.trusted === true);
      writeBasis(writer, one.basis);
    }
  });
}

export function unpackConfirmations(packed: Packed): Confirmation[] {
  const reader = readerOf(packed);
  const confirmations: Confirmation[] = [];
  while (reader.left > 0) {
    const token = reader.u48('token', 0, idMax);
    const version = reader.u32('version');
    const trusted = reader.flag('trusted');
    const basis = readBasis(reader);
    confirmations.push({ token, trusted, version: version > 0 ? version : undefined, basis });
  }
  return confirmations;
}

// -- read requests ------------------------------------------------------------------------------

/** text path | u64 size | i64 mtime | i64 ctime | u64 inode | basis. */
export function packRequests(requests: readonly ReadRequest[]): Packed {
  const size = requests.reduce(
    (sum, { path, basis }) => sum + 2 + path.length + 32 + basisSize(basis),
    0,
  );
  return pack(size, writer => {
    for (const { path, expected, basis } of requests) {
      writer.u16(path.length);
      writer.latin1(path);
      writer.size(expected.size);
      writer.u64(BigInt.asUintN(64, expected.mtimeNs));
      writer.u64(BigInt.asUintN(64, expected.ctimeNs));
      writer.u64(expected.ino);
      writeBasis(writer, basis);
    }
  });
}

export function unpackRequests(packed: Packed): ReadRequest[] {
  const reader = readerOf(packed);
  const requests: ReadRequest[] = [];
  while (reader.left > 0) {
    const path = reader.latin1('path', reader.u16('path'));
    const expected = {
      size: reader.size('size'),
      mtimeNs: reader.i64('mtime'),
      ctimeNs: reader.i64('ctime'),
      ino: reader.u64('inode'),
    };
    requests.push({ path, expected, basis: readBasis(reader) });
  }
  return requests;
}

// -- block lists --------------------------------------------------------------------------------

function basisSize(basis: Basis | undefined): number {
  return 4 + (basis === undefined ? 0 : basis.list.packed.length + basis.checks.length);
}

function writeBasis(writer: FieldWriter, basis: Basis | undefined): void {
  writer.u32(basis?.list.count ?? noBasis);
  if (basis === undefined) return;
  writer.bytes(basis.list.packed, basis.list.count * listedSize);
  writer.bytes(basis.checks, basis.list.count * checkSize);
}

/** Views of the packed bytes. */
function readBasis(reader: FieldReader): Basis | undefined {
  const count = reader.u32('blocks');
  if (count === noBasis) return undefined;
  const list = BlockList.from(reader.bytes('list', count * listedSize));
  return { list, checks: reader.bytes('checks', count * checkSize) };
}
