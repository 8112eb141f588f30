// One file's bytes in, pieces out: which blocks it consists of, which of them are unchanged blocks
// of its previous version, and what the rest holds. The previous version is known by its list and
// checks alone (34 bytes a block); its content is not needed.
import assert from 'node:assert/strict';
import { blockSizeMax } from '../limits.ts';
import { blockId, zeroBlockId } from './block-id.ts';
import { type BlockList, BlockListBuilder } from './block-list.ts';
import { type CheckHash, checkSize } from './check-hash.ts';
import { GrowingBuffer } from './growing-buffer.ts';
import type { Kernels } from './kernels.ts';
import { KeyTable } from './key-table.ts';

/** The version that the other side has, as finish() gave it, cut within the same bounds. */
export interface Basis {
  readonly list: BlockList;
  /** 16 bytes a block, by the same CheckHash. */
  readonly checks: Buffer;
}

export type MatchedPiece =
  /** `count` blocks of the basis from block `from` on. */
  | { readonly kind: 'copy'; readonly from: number; readonly count: number }
  /** One block; `bytes` is a view of the matcher's buffer, valid until the next buffer() or begin(). */
  | { readonly kind: 'new'; readonly id: Buffer; readonly bytes: Buffer }
  /** One block of `size` zero bytes, wherever it came from: it stays a hole. */
  | { readonly kind: 'zero'; readonly id: Buffer; readonly size: number };

const nothing: readonly MatchedPiece[] = [];
/** Blocks cut ahead at first when looking for the basis: what is found behind is cut in vain. */
const scanBlocksMin = 4;
const scanBlocksMax = 1024;
/**
 * A run of copied blocks ends here once the content is known to be another one, so that the other
 * side copies while this one reads on. Each costs some 40 bytes of wire.
 */
const runSizeMax = 128 * 1024 * 1024;

/**
 * Reused for many files: begin(), then buffer(), read into it and advance() until the end of the
 * file, then finish(). A file may be abandoned by the next begin().
 *
 * Laws: patch(basis, pieces) is the content; the list is that of plain chunking of the content,
 * whatever the basis was and however it was read.
 *
 * Walking along the boundaries of the basis costs one XXH3 a block. From a mismatch on the content
 * is cut by its own, until a block is one of the basis by check, size and id; from there the walk
 * goes on, shifted. SHA-256 is spent on new blocks, and one block for each time they fall in step.
 */
export class ContentMatcher {
  readonly #kernels: Kernels;
  readonly #secret: Buffer;
  readonly #checkHash: CheckHash;
  readonly #runSizeMax: number;

  /** Bytes read and not yet cut: kernels.data[start, end). */
  #start = 0;
  #end = 0;
  readonly #list = new BlockListBuilder();
  readonly #checks = new GrowingBuffer();

  #basis: Basis | undefined;
  /** The block of the basis that should come next. */
  #next = 0;
  /** Expects the boundaries of the basis; else scans for its own. */
  #isWalking = false;
  #scanBlocks = scanBlocksMax;
  /** Copied blocks not yet given out, because the run may go on. */
  #runFrom = 0;
  #runCount = 0;
  #runSize = 0;
  /** Not the content of the basis: until then it may turn out that there is nothing to do. */
  #isOther = false;
  readonly #table = new KeyTable();
  #hasTable = false;

  /** Takes over `kernels.data`. `secret` keys the block ids. */
  constructor(options: {
    kernels: Kernels;
    secret: Buffer;
    checkHash: CheckHash;
    /** For tests. */
    runSizeMax?: number;
  }) {
    this.#runSizeMax = options.runSizeMax ?? runSizeMax;
    this.#kernels = options.kernels;
    this.#secret = options.secret;
    this.#checkHash = options.checkHash;
    assert(this.#kernels.data.length > blockSizeMax);
  }

  /** Starts a file of `size` bytes, if that is known. Without a basis every block is new. */
  begin(basis?: Basis, size?: number): void {
    assert(basis === undefined || basis.checks.length === basis.list.count * checkSize);
    this.#start = 0;
    this.#end = 0;
    this.#list.clear();
    this.#checks.clear();
    this.#basis = basis;
    this.#next = 0;
    this.#isWalking = basis !== undefined;
    this.#scanBlocks = basis === undefined ? scanBlocksMax : scanBlocksMin;
    this.#runCount = 0;
    this.#isOther = size !== undefined && size !== basis?.list.byteCount;
    this.#hasTable = false;
  }

  /** Where the next bytes of the file go: 1 MiB or more with the default kernels. */
  buffer(): Buffer {
    const { data } = this.#kernels;
    if (this.#start > 0) {
      data.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    return this.#end === 0 ? data : data.subarray(this.#end);
  }

  /** Takes the `byteCount` bytes read into buffer(), and gives out what is decided. */
  advance(byteCount: number): readonly MatchedPiece[] {
    this.#end += byteCount;
    assert(byteCount >= 0 && this.#end <= this.#kernels.data.length);
    // A small file waits for finish(), and is cut in one go.
    if (this.#end - this.#start < this.#kernels.bounds.max) return nothing;
    const pieces: MatchedPiece[] = [];
    this.#match(pieces, false);
    return pieces;
  }

  /** The file ends here. */
  finish(): { pieces: readonly MatchedPiece[]; list: BlockList; checks: Buffer } {
    const pieces: MatchedPiece[] = [];
    this.#match(pieces, true);
    this.#endRun(pieces);
    assert(this.#start === this.#end);
    return { pieces, list: this.#list.build(), checks: this.#checks.take() };
  }

  /** Goes on until all bytes are placed, or, unless `isLast`, more of them are needed. */
  #match(pieces: MatchedPiece[], isLast: boolean): void {
    while (this.#start < this.#end) {
      const goesOn =
        this.#isWalking && this.#basis !== undefined
          ? this.#walk(this.#basis, pieces, isLast)
          : this.#scan(pieces, isLast);
      if (!goesOn) return;
    }
  }

  /** Takes blocks of the basis while they are still what they were. False: needs more bytes. */
  #walk(basis: Basis, pieces: MatchedPiece[], isLast: boolean): boolean {
    const { list, checks } = basis;
    while (this.#start < this.#end && this.#next < list.count) {
      const size = list.sizeAt(this.#next);
      const rest = this.#end - this.#start;
      const isEnd = this.#next === list.count - 1;
      if (!isLast && (isEnd ? rest <= size : rest < size)) return false;
      // The last block ends with the basis, not where its content would be cut.
      if (isEnd ? rest !== size : rest < size) break;
      const bytes = this.#kernels.data.subarray(this.#start, this.#start + size);
      const at = this.#next * checkSize;
      if (this.#checkHash.digest(bytes).compare(checks, at, at + checkSize) !== 0) break;
      this.#takeOld(pieces, list, bytes);
      this.#start += size;
    }
    if (this.#start < this.#end) this.#isWalking = false;
    return true;
  }

  /** Block `next` of the basis is here. */
  #takeOld(pieces: MatchedPiece[], list: BlockList, bytes: Buffer): void {
    const i = this.#next++;
    if (bytes[0] === 0) {
      const zeroId = zeroBlockId(this.#secret, bytes.length);
      if (list.isAt(i, zeroId)) {
        this.#endRun(pieces);
        pieces.push({ kind: 'zero', id: zeroId, size: bytes.length });
        this.#addOld(i, 1);
        return;
      }
    }
    if (this.#runCount > 0 && this.#runFrom + this.#runCount !== i) this.#endRun(pieces);
    if (this.#runCount === 0) {
      this.#runFrom = i;
      this.#runSize = 0;
    }
    this.#runCount++;
    this.#runSize += bytes.length;
    if (this.#isOther && this.#runSize >= this.#runSizeMax) this.#endRun(pieces);
  }

  /** Cuts by content until the basis is found again. False: needs more bytes. */
  #scan(pieces: MatchedPiece[], isLast: boolean): boolean {
    const kernels = this.#kernels;
    const count = kernels.findCuts(this.#start, this.#end, isLast, this.#scanBlocks);
    for (let i = 0; i < count; i++) {
      const cut = kernels.cutAt(i);
      const isInStep = this.#takeCut(pieces, cut, kernels.isZeroAt(i));
      this.#start = cut;
      if (isInStep) {
        this.#isWalking = true;
        this.#scanBlocks = scanBlocksMin;
        return true;
      }
    }
    this.#scanBlocks = Math.min(this.#scanBlocks * 2, scanBlocksMax);
    return count > 0;
  }

  /** Places the block from `start` to `cut`. True if it is one of the basis. */
  #takeCut(pieces: MatchedPiece[], cut: number, isZero: boolean): boolean {
    const bytes = this.#kernels.data.subarray(this.#start, cut);
    const check = this.#checkHash.digest(bytes);
    const old = this.#findOld(check);
    const id = isZero ? zeroBlockId(this.#secret, bytes.length) : blockId(this.#secret, bytes);
    if (this.#basis !== undefined && old !== -1) {
      const { list } = this.#basis;
      if (list.sizeAt(old) === bytes.length && list.isAt(old, id)) {
        this.#next = old;
        this.#takeOld(pieces, list, bytes);
        return true;
      }
    }
    this.#endRun(pieces);
    this.#isOther = true;
    this.#list.add(id, bytes.length);
    this.#checks.append(check);
    pieces.push(isZero ? { kind: 'zero', id, size: bytes.length } : { kind: 'new', id, bytes });
    return false;
  }

  /** The block of the basis with this check that lies nearest behind the last one taken, or -1. */
  #findOld(check: Buffer): number {
    if (this.#basis === undefined) return -1;
    if (!this.#hasTable) {
      this.#table.build(this.#basis.checks, { stride: checkSize, offset: 0 });
      this.#hasTable = true;
    }
    return this.#table.find(check, this.#next);
  }

  #endRun(pieces: MatchedPiece[]): void {
    if (this.#runCount === 0) return;
    pieces.push({ kind: 'copy', from: this.#runFrom, count: this.#runCount });
    this.#addOld(this.#runFrom, this.#runCount);
    this.#runCount = 0;
  }

  #addOld(from: number, count: number): void {
    assert(this.#basis !== undefined);
    this.#list.addRun(this.#basis.list, { from, count });
    this.#checks.append(this.#basis.checks.subarray(from * checkSize, (from + count) * checkSize));
  }
}
