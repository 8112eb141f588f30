// Bytes of operations and of the pieces a file version is made of. PROTOCOL.md has the tables.
import assert from 'node:assert/strict';
import { blockIdSize, blockSizeMax, payloadSizeMax } from '../limits.ts';
import { type EntryKind, type NodeId, nodeIdMax } from '../snapshot/entry.ts';
import {
  encodedEntrySize,
  readEntry,
  readEntryOrRoot,
  readName,
  readNodeId,
} from '../snapshot/entry-codec.ts';
import type { FieldReader } from '../snapshot/field-reader.ts';
import type { FieldWriter } from '../snapshot/field-writer.ts';
import type { Content, Operation, Piece } from './messages.ts';

const pieceCodes = { copy: 1, block: 2, data: 3, zero: 4, patch: 5 } as const;
const contentCodes = { inline: 1, stage: 2 } as const;
const operationCodes = {
  directory: 1,
  link: 2,
  file: 3,
  hardlink: 4,
  rename: 5,
  remove: 6,
  attributes: 7,
} as const;

/** A piece takes at least this much, which bounds how many a payload can hold. */
const pieceSizeMin = 9;
const nodeIdSize = 6;

/** Bytes `piece` takes in a frame: what a sender needs to know to fill one. */
export function pieceSize(piece: Piece): number {
  switch (piece.kind) {
    case 'copy':
      return 9;
    case 'block':
    case 'zero':
      return 5 + blockIdSize;
    case 'data':
      return 5 + blockIdSize + piece.bytes.length;
    case 'patch':
      return 9 + blockIdSize + piece.patch.length;
  }
}

export function piecesSize(pieces: readonly Piece[]): number {
  let size = 4;
  for (const piece of pieces) size += pieceSize(piece);
  return size;
}

/** `u32 count`, then the pieces. */
export function writePieces(writer: FieldWriter, pieces: readonly Piece[]): void {
  writer.u32(pieces.length);
  for (const piece of pieces) {
    writer.u8(pieceCodes[piece.kind]);
    switch (piece.kind) {
      case 'copy':
        assert(piece.count > 0, 'a piece copies at least one block');
        writer.u32(piece.from);
        writer.u32(piece.count);
        break;
      case 'block':
      case 'zero':
        assert(piece.size > 0 && piece.size <= blockSizeMax, `block size ${piece.size}`);
        writer.bytes(piece.id, blockIdSize);
        writer.u32(piece.size);
        break;
      case 'data':
        assert(piece.bytes.length > 0 && piece.bytes.length <= blockSizeMax, 'block size');
        writer.bytes(piece.id, blockIdSize);
        writer.u32(piece.bytes.length);
        writer.bytes(piece.bytes, piece.bytes.length);
        break;
      case 'patch':
        assert(piece.size > 0 && piece.size <= blockSizeMax, `block size ${piece.size}`);
        assert(piece.patch.length > 0 && piece.patch.length <= blockSizeMax, 'patch size');
        writer.bytes(piece.id, blockIdSize);
        writer.u32(piece.size);
        writer.u32(piece.patch.length);
        writer.bytes(piece.patch, piece.patch.length);
        break;
    }
  }
}

/** Block bytes and ids are views of the payload. */
export function readPieces(reader: FieldReader): readonly Piece[] {
  const count = reader.u32('piece count', 0, Math.floor(payloadSizeMax / pieceSizeMin));
  if (count * pieceSizeMin > reader.left) reader.fail('piece count', 'is more than there is');
  const pieces: Piece[] = [];
  for (let i = 0; i < count; i++) pieces.push(readPiece(reader));
  return pieces;
}

function readPiece(reader: FieldReader): Piece {
  const kind = reader.u8('piece kind', 1, 5);
  if (kind === pieceCodes.copy) {
    const from = reader.u32('copy from');
    const count = reader.u32('copy count', 1);
    if (from + count > 0xffffffff) reader.fail('copy count', 'runs over the last block');
    return { kind: 'copy', from, count };
  }
  const id = reader.bytes('block id', blockIdSize);
  const size = reader.u32('block size', 1, blockSizeMax);
  if (kind === pieceCodes.block) return { kind: 'block', id, size };
  if (kind === pieceCodes.zero) return { kind: 'zero', id, size };
  if (kind === pieceCodes.data)
    return { kind: 'data', id, bytes: reader.bytes('block bytes', size) };
  const patchSize = reader.u32('patch size', 1, blockSizeMax);
  return { kind: 'patch', id, size, patch: reader.bytes('patch', patchSize) };
}

/** Bytes `operation` takes in a frame. */
export function operationSize(operation: Operation): number {
  switch (operation.kind) {
    case 'directory':
    case 'link':
    case 'hardlink':
    case 'attributes':
      return 1 + nodeIdSize + encodedEntrySize(operation.name, operation.entry);
    case 'file':
      return (
        1 +
        nodeIdSize +
        encodedEntrySize(operation.name, operation.entry) +
        contentSize(operation.content)
      );
    case 'rename':
      return (
        2 +
        2 * nodeIdSize +
        operation.fromName.length +
        encodedEntrySize(operation.name, operation.entry)
      );
    case 'remove':
      return 2 + 2 * nodeIdSize + operation.name.length;
  }
}

function contentSize(content: Content): number {
  return content.kind === 'stage' ? 5 : 5 + piecesSize(content.pieces);
}

export function writeOperation(writer: FieldWriter, operation: Operation): void {
  writer.u8(operationCodes[operation.kind]);
  switch (operation.kind) {
    case 'directory':
    case 'link':
    case 'hardlink':
      assert.equal(operation.entry.kind, kindOf[operation.kind]);
      writer.u48(operation.parent);
      writer.entry(operation.name, operation.entry);
      break;
    case 'file':
      assert.equal(operation.entry.kind, 'file');
      writer.u48(operation.parent);
      writer.entry(operation.name, operation.entry);
      writeContent(writer, operation.content);
      break;
    case 'rename':
      writer.u48(operation.fromParent);
      writer.u8(operation.fromName.length);
      writer.latin1(operation.fromName);
      writer.u48(operation.parent);
      writer.entry(operation.name, operation.entry);
      break;
    case 'remove':
      writer.u48(operation.parent);
      writer.u8(operation.name.length);
      writer.latin1(operation.name);
      writer.u48(operation.id);
      break;
    case 'attributes':
      assert.equal(operation.parent === 0, operation.name === '', 'only the root has no name');
      writer.u48(operation.parent);
      writer.entry(operation.name, operation.entry);
      break;
  }
}

function writeContent(writer: FieldWriter, content: Content): void {
  writer.u8(contentCodes[content.kind]);
  if (content.kind === 'stage') {
    writer.u32(content.stage);
    return;
  }
  writer.u32(content.baseVersion);
  writePieces(writer, content.pieces);
}

const kindOf = { directory: 'directory', link: 'link', hardlink: 'file' } as const;

export function readOperation(reader: FieldReader): Operation {
  const code = reader.u8('operation kind', 1, 7);
  switch (code) {
    case operationCodes.directory:
      return { kind: 'directory', ...readPlaced(reader, 'directory') };
    case operationCodes.link:
      return { kind: 'link', ...readPlaced(reader, 'link') };
    case operationCodes.hardlink:
      return { kind: 'hardlink', ...readPlaced(reader, 'file') };
    case operationCodes.file:
      return { kind: 'file', ...readPlaced(reader, 'file'), content: readContent(reader) };
    case operationCodes.rename:
      return {
        kind: 'rename',
        fromParent: readNodeId(reader, 'from parent'),
        fromName: readName(reader),
        parent: readNodeId(reader, 'parent'),
        ...readEntry(reader),
      };
    case operationCodes.remove:
      return {
        kind: 'remove',
        parent: readNodeId(reader, 'parent'),
        name: readName(reader),
        id: readNodeId(reader, 'id'),
      };
    default:
      return { kind: 'attributes', ...readPlacedOrRoot(reader) };
  }
}

/** `u48 parent, entry`: where the sender wants an entry of that kind. */
function readPlaced(reader: FieldReader, kind: EntryKind) {
  const parent = readNodeId(reader, 'parent');
  const { name, entry } = readEntry(reader);
  if (entry.kind !== kind) reader.fail('kind', `is ${entry.kind}, the operation's is ${kind}`);
  return { parent, name, entry };
}

function readPlacedOrRoot(reader: FieldReader): Omit<Operation & { kind: 'attributes' }, 'kind'> {
  const parent = reader.u48('parent', 0, nodeIdMax);
  const { name, entry } = readEntryOrRoot(reader);
  if ((parent === 0) !== (name === '')) reader.fail('parent', 'is 0 for the root and only there');
  // Within range, as readNodeId checks, or 0.
  return { parent: parent as NodeId | 0, name, entry };
}

function readContent(reader: FieldReader): Content {
  if (reader.u8('content kind', 1, 2) === contentCodes.stage) {
    return { kind: 'stage', stage: reader.u32('stage') };
  }
  return {
    kind: 'inline',
    baseVersion: reader.u32('base version'),
    pieces: readPieces(reader),
  };
}
