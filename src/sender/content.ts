// The content of files as the read worker hands it over: pieces, block list and checks packed into
// few buffers, so that a batch of small files moves between threads without copying or cloning.
import { BlockList } from '../blocks/block-list.ts';
import { checkSize } from '../blocks/check-hash.ts';
import type { Basis } from '../blocks/content-matcher.ts';
import type { OldRange, RefinedPiece } from '../blocks/refiner.ts';
import { blockIdSize } from '../limits.ts';

/**
 * u8 kind | u32 a | u32 b | u32 c | 16 bytes id; copy: a = from, b = count; else a = size, b = data
 * offset, c = size of the patch that follows the bytes, or `oldMark`: f64 from, u32 size follow.
 */
const pieceSize = 13 + blockIdSize;
const listedSize = 2 + blockIdSize;
const oldMark = 0xffff_ffff;
const oldSize = 12;
const kinds = ['copy', 'new', 'zero'] as const;
/** u8 status | u32 pieces | u32 blocks | f64 readMs. An array of objects is slow to cross threads. */
const headSize = 17;
const statuses = ['read', 'unstable', 'vanished', 'unreadable'] as const;

/**
 * read: content was read and the file was the scanned one before and after. unstable: it is another
 * file by now, or it changed while it was read. vanished: it is not there. unreadable: the system
 * refused; `code` says how.
 */
export type ReadStatus = (typeof statuses)[number];

export interface FileHead {
  readonly status: ReadStatus;
  readonly code: string;
  readonly pieceCount: number;
  readonly blockCount: number;
  /** Monotonic time at which reading began. */
  readonly readMs: number;
}

/** Several files' content, or part of one large file's. */
export interface PackedContent {
  readonly heads: Uint8Array<ArrayBuffer>;
  /** Of the files that could not be read, in order. */
  readonly codes: readonly string[];
  readonly pieces: Uint8Array;
  readonly data: Uint8Array<ArrayBuffer>;
  readonly lists: Uint8Array;
  readonly checks: Uint8Array;
}

/** A piece in main-thread form; `bytes` is a view of the batch's data. */
export type ReadPiece =
  | { readonly kind: 'copy'; readonly from: number; readonly count: number }
  | {
      readonly kind: 'new';
      readonly id: Buffer;
      readonly bytes: Buffer;
      /** Makes the block from the base version. */
      readonly patch?: Buffer;
      /** Where in the base version its bytes may be; grains of it are not here. */
      readonly old?: OldRange;
    }
  | { readonly kind: 'zero'; readonly id: Buffer; readonly size: number };

export interface FileContent {
  readonly head: FileHead;
  readonly pieces: readonly ReadPiece[];
  /** The list and checks of the whole file; empty on all parts of a large file but the last. */
  readonly blocks: Basis;
}

/** Data buffers come back for reuse: of at least this size, they fit the next batch as well. */
const dataSizeMin = 1024 * 1024;

/** A growing buffer whose contents can be moved to another thread. */
class Pool {
  #bytes: Buffer;
  size = 0;

  /** `spare`: memory to use if it is large enough. */
  constructor(sizeMin: number, spare?: ArrayBuffer) {
    const isEnough = spare !== undefined && spare.byteLength >= sizeMin;
    this.#bytes = isEnough ? Buffer.from(spare) : Buffer.allocUnsafeSlow(sizeMin);
  }

  /** `size` more bytes to be written; valid until the next call. */
  extend(size: number): Buffer {
    const end = this.size + size;
    if (end > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(end, this.#bytes.length * 2));
      this.#bytes.copy(grown, 0, 0, this.size);
      this.#bytes = grown;
    }
    const part = this.#bytes.subarray(this.size, end);
    this.size = end;
    return part;
  }

  truncate(size: number): void {
    this.size = size;
  }

  take(): Uint8Array<ArrayBuffer> {
    // allocUnsafeSlow is never pooled: the whole ArrayBuffer is ours to move.
    return new Uint8Array(this.#bytes.buffer as ArrayBuffer, 0, this.size);
  }
}

export class ContentPacker {
  readonly #pieces = new Pool(16 * 1024);
  readonly #data: Pool;
  readonly #lists = new Pool(16 * 1024);
  readonly #checks = new Pool(16 * 1024);
  readonly #heads = new Pool(4 * 1024);
  readonly #codes: string[] = [];
  #pieceCount = 0;
  #mark = { pieces: 0, data: 0 };

  constructor(dataSizeHint: number, spare?: ArrayBuffer) {
    this.#data = new Pool(Math.max(dataSizeHint, dataSizeMin), spare);
  }

  get dataSize(): number {
    return this.#data.size;
  }

  get pieceCount(): number {
    return this.#pieceCount;
  }

  add(pieces: Iterable<RefinedPiece>): void {
    for (const piece of pieces) {
      const at = this.#pieces.extend(pieceSize);
      at[0] = kinds.indexOf(piece.kind);
      if (piece.kind === 'copy') {
        at.writeUInt32BE(piece.from, 1);
        at.writeUInt32BE(piece.count, 5);
        at.fill(0, 9);
      } else if (piece.kind === 'zero') {
        at.writeUInt32BE(piece.size, 1);
        at.writeUInt32BE(0, 5);
        piece.id.copy(at, 13);
      } else {
        at.writeUInt32BE(piece.bytes.length, 1);
        at.writeUInt32BE(this.#data.size, 5);
        at.writeUInt32BE(piece.patch?.length ?? (piece.old ? oldMark : 0), 9);
        piece.id.copy(at, 13);
        this.#data.extend(piece.bytes.length).set(piece.bytes);
        if (piece.patch) this.#data.extend(piece.patch.length).set(piece.patch);
        else if (piece.old) {
          const old = this.#data.extend(oldSize);
          old.writeUInt32BE(piece.old.size, old.writeDoubleBE(piece.old.from));
        }
      }
      this.#pieceCount++;
    }
  }

  /** Ends a file (or a part): its pieces are those added since the last end. */
  end(
    head: { status: ReadStatus; code?: string; readMs: number },
    blocks: Basis | undefined,
  ): void {
    if (head.status !== 'read') {
      this.#pieces.truncate(this.#mark.pieces);
      this.#data.truncate(this.#mark.data);
      this.#pieceCount = 0;
    } else if (blocks !== undefined) {
      this.#lists.extend(blocks.list.packed.length).set(blocks.list.packed);
      this.#checks.extend(blocks.checks.length).set(blocks.checks);
    }
    const at = this.#heads.extend(headSize);
    at[0] = statuses.indexOf(head.status);
    at.writeUInt32BE(this.#pieceCount, 1);
    at.writeUInt32BE(head.status === 'read' ? (blocks?.list.count ?? 0) : 0, 5);
    at.writeDoubleBE(head.readMs, 9);
    if (head.status === 'unreadable') this.#codes.push(head.code ?? '');
    this.#pieceCount = 0;
    this.#mark = { pieces: this.#pieces.size, data: this.#data.size };
  }

  finish(): { content: PackedContent; transfer: ArrayBuffer[] } {
    const pieces = this.#pieces.take();
    const data = this.#data.take();
    const lists = this.#lists.take();
    const checks = this.#checks.take();
    const heads = this.#heads.take();
    const content = { heads, codes: this.#codes, pieces, data, lists, checks };
    const parts = [heads, pieces, data, lists, checks];
    return { content, transfer: parts.map(part => part.buffer) };
  }
}

/** Takes a packed batch apart, file by file, in order. */
export function* unpackContent(content: PackedContent): Generator<FileContent> {
  const pieceBytes = asBuffer(content.pieces);
  const data = asBuffer(content.data);
  const lists = asBuffer(content.lists);
  const checks = asBuffer(content.checks);
  let piecesAt = 0;
  let blocksAt = 0;
  for (const head of unpackHeads(content)) {
    const pieces: ReadPiece[] = [];
    for (let i = 0; i < head.pieceCount; i++, piecesAt += pieceSize) {
      pieces.push(readPiece(pieceBytes.subarray(piecesAt, piecesAt + pieceSize), data));
    }
    const blocksEnd = blocksAt + head.blockCount;
    const blocks: Basis = {
      list: BlockList.from(lists.subarray(blocksAt * listedSize, blocksEnd * listedSize)),
      checks: checks.subarray(blocksAt * checkSize, blocksEnd * checkSize),
    };
    blocksAt = blocksEnd;
    yield { head, pieces, blocks };
  }
}

function* unpackHeads({ heads, codes }: PackedContent): Generator<FileHead> {
  const bytes = asBuffer(heads);
  let unreadable = 0;
  for (let at = 0; at < bytes.length; at += headSize) {
    const status = statuses[bytes.readUInt8(at)] ?? 'unreadable';
    yield {
      status,
      code: status === 'unreadable' ? (codes[unreadable++] ?? '') : '',
      pieceCount: bytes.readUInt32BE(at + 1),
      blockCount: bytes.readUInt32BE(at + 5),
      readMs: bytes.readDoubleBE(at + 9),
    };
  }
}

function readPiece(at: Buffer, data: Buffer): ReadPiece {
  const kind = kinds[at[0] ?? 0] ?? 'copy';
  const a = at.readUInt32BE(1);
  const b = at.readUInt32BE(5);
  const c = at.readUInt32BE(9);
  const id = at.subarray(13);
  if (kind === 'copy') return { kind, from: a, count: b };
  if (kind === 'zero') return { kind, id, size: a };
  const bytes = data.subarray(b, b + a);
  if (c === 0) return { kind, id, bytes };
  const end = b + a;
  if (c !== oldMark) return { kind, id, bytes, patch: data.subarray(end, end + c) };
  return {
    kind,
    id,
    bytes,
    old: { from: data.readDoubleBE(end), size: data.readUInt32BE(end + 8) },
  };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
