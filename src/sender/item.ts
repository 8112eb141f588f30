// One change on its way: the operation it becomes, and what is confirmed once that is durable.
// Pure: same change and content, same operation.
import { trustAfterMs } from '../limits.ts';
import type { NodeId } from '../snapshot/entry.ts';
import type { Operation, Piece } from '../wire/messages.ts';
import { pieceSize } from '../wire/operation-codec.ts';
import type { Change, Confirmation, FileChange } from './change.ts';
import type { FileContent, ReadPiece } from './content.ts';
import type { ReadRequest } from './packed.ts';

export interface Item {
  readonly change: Change;
  readonly operation: Operation;
  readonly confirmation: Confirmation;
}

/** Bytes of operations or pieces in one frame; one inline file more still fits in a frame. */
export const frameBytes = 256 * 1024;

/** Content bytes of a commit. */
export interface Sent {
  bytesSent: number;
  bytesReused: number;
}

export function idOf(change: Change): NodeId {
  return change.kind === 'remove' ? change.id : change.entry.id;
}

export function placeOf({ parent, name }: Change): string {
  return `${parent}/${name}`;
}

export function noBytes(): Sent {
  return { bytesSent: 0, bytesReused: 0 };
}

export function requestOf(change: FileChange): ReadRequest {
  const { entry, path, basis } = change;
  const { size, mtimeNs, stamp } = entry;
  return { path, basis, expected: { size, mtimeNs, ctimeNs: stamp.ctimeNs, ino: stamp.ino } };
}

export function operationOf(change: Exclude<Change, { kind: 'file' }>): Operation {
  switch (change.kind) {
    case 'directory':
    case 'link':
    case 'hardlink': {
      const { kind, parent, name, entry } = change;
      return { kind, parent, name, entry };
    }
    case 'rename': {
      const { kind, fromParent, fromName, parent, name, entry } = change;
      return { kind, fromParent, fromName, parent, name, entry };
    }
    case 'remove': {
      const { kind, parent, name, id } = change;
      return { kind, parent, name, id };
    }
    case 'attributes': {
      const { kind, parent, name, entry } = change;
      return { kind, parent, name, entry };
    }
  }
}

/** Nothing but the whole basis, in order: only attributes changed. */
export function isSameContent(change: FileChange, content: FileContent): boolean {
  return change.baseVersion > 0 && isSameList(change, content);
}

export function isSameList(change: FileChange, content: FileContent): boolean {
  if (change.basis === undefined) return false;
  return content.blocks.list.packed.equals(change.basis.list.packed);
}

/** What the receiver said about new pieces. */
export interface Asked {
  /** Those whose bytes are sent; the others are named by their ids. */
  readonly needed: ReadonlySet<ReadPiece>;
  /** Patches that were made after reading. */
  readonly patches: ReadonlyMap<ReadPiece, Buffer>;
}

export function piecesOf(content: FileContent, asked: Asked | 'all'): readonly Piece[] {
  return content.pieces.map(piece => {
    if (piece.kind !== 'new') return piece;
    const { id, bytes } = piece;
    if (asked === 'all') return { kind: 'data', id, bytes };
    const patch = piece.patch ?? asked.patches.get(piece);
    const isNeeded = asked.needed.has(piece);
    if (patch && isNeeded) return { kind: 'patch', id, size: bytes.length, patch };
    if (isNeeded) return { kind: 'data', id, bytes };
    return { kind: 'block', id, size: bytes.length };
  });
}

/** Does any of them take bytes from the base version? */
export function hasBase(pieces: readonly Piece[]): boolean {
  return pieces.some(piece => piece.kind === 'copy' || piece.kind === 'patch');
}

export function countPieces(pieces: readonly Piece[], change: FileChange, sent: Sent): void {
  for (const piece of pieces) {
    if (piece.kind === 'data') sent.bytesSent += piece.bytes.length;
    else if (piece.kind === 'block') sent.bytesReused += piece.size;
    else if (piece.kind === 'patch') {
      sent.bytesSent += piece.patch.length;
      sent.bytesReused += Math.max(piece.size - piece.patch.length, 0);
    } else if (piece.kind === 'copy') sent.bytesReused += copiedSize(piece, change);
  }
}

/** Bytes of the file that they make, whatever is sent for them. */
export function contentSize(pieces: readonly Piece[], change: FileChange): number {
  let bytes = 0;
  for (const piece of pieces) {
    if (piece.kind === 'data') bytes += piece.bytes.length;
    else if (piece.kind === 'copy') bytes += copiedSize(piece, change);
    else bytes += piece.size;
  }
  return bytes;
}

function copiedSize(piece: { from: number; count: number }, change: FileChange): number {
  const list = change.basis?.list;
  let bytes = 0;
  for (let i = piece.from; i < piece.from + piece.count; i++) bytes += list?.sizeAt(i) ?? 0;
  return bytes;
}

function confirmationOf(change: FileChange, content: FileContent): Confirmation {
  return { token: change.token, basis: content.blocks, ...trustOf(change, content) };
}

/** Only attributes changed: the file keeps the version before. */
export function sameContentItem(change: FileChange, content: FileContent): Item {
  const { parent, name, token, baseVersion: version } = change;
  const entry = { ...change.entry, version };
  const operation: Operation = { kind: 'attributes', parent, name, entry };
  return { change, operation, confirmation: { token, version, ...trustOf(change, content) } };
}

/** The file's content is complete in a stage. */
export function stagedItem(change: FileChange, content: FileContent, stage: number): Item {
  const { parent, name, entry } = change;
  const staged = { kind: 'stage', stage } as const;
  const operation: Operation = { kind: 'file', parent, name, entry, content: staged };
  return { change, operation, confirmation: confirmationOf(change, content) };
}

/** The file's content travels in the operation. */
export function inlineItem(
  change: FileChange,
  content: FileContent,
  pieces: readonly Piece[],
): Item {
  const { parent, name, entry } = change;
  const hasCopies = hasBase(pieces);
  const baseVersion = hasCopies ? change.baseVersion : 0;
  const inline = { kind: 'inline', baseVersion, pieces } as const;
  const operation: Operation = { kind: 'file', parent, name, entry, content: inline };
  return { change, operation, confirmation: confirmationOf(change, content) };
}

function trustOf(change: FileChange, content: FileContent): { trusted: boolean } {
  return { trusted: content.head.readMs - change.seenMs >= trustAfterMs };
}

export function sizeOf(item: Item | undefined): number {
  if (item === undefined) return 0;
  const fixed = 160 + item.change.path.length;
  const { operation } = item;
  if (operation.kind === 'link') return fixed + operation.entry.target.length;
  if (operation.kind !== 'file' || operation.content.kind !== 'inline') return fixed;
  let bytes = fixed;
  for (const piece of operation.content.pieces) {
    bytes += pieceSize(piece);
  }
  return bytes;
}
