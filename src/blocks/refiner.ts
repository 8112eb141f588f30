// Second level of the delta: inside new blocks, what the old version of the file had there, found
// by grains, so that an edit costs about a grain and not its block.

import { blockSizeMax } from '../limits.ts';
import type { Basis, MatchedPiece } from './content-matcher.ts';
import type { GrainCache } from './grain-cache.ts';
import {
  type GrainKernels,
  gapSizeMax,
  grainSizeOf,
  oldGrainsMax,
  type Run,
} from './grain-kernels.ts';
import { patchBlocks } from './patch-blocks.ts';

/** Blocks below this are not worth grains. */
const blockSizeMin = 128;
/** Old bytes looked through beyond the size of a gap, where its end is not known. */
const slackBytes = 256 * 1024;
/**
 * After this much in a row without anything old in it, nothing is looked for until an old block
 * comes: looking takes ten times as long as cutting and hashing.
 */
const barrenBytesMax = 1024 * 1024;

export type RefinedPiece =
  | Exclude<MatchedPiece, { kind: 'new' }>
  | (Extract<MatchedPiece, { kind: 'new' }> & {
      /** Makes the block from the version that the basis is of. */
      readonly patch?: Buffer;
      /** Without a patch: where in that version its bytes may be. Grains of it were not there. */
      readonly old?: OldRange;
    });

/** Bytes of the old version, at least one; the same for all blocks of a gap. */
export interface OldRange {
  readonly from: number;
  readonly size: number;
}

interface GapBlock {
  readonly id: Buffer;
  readonly at: number;
  readonly size: number;
}

/** Put behind a ContentMatcher: begin(), then refine() what it gives, then finish(). */
export class Refiner {
  readonly #kernels: GrainKernels;
  readonly #cache: GrainCache;
  #basis: Basis | undefined;
  #grainSize = 0;
  /** New blocks since the last old one; their bytes are kernels.data[0, #filled). */
  #gap: GapBlock[] = [];
  #filled = 0;
  /** Behind the last old block. */
  #oldEnd = 0;
  /** The whole old version is indexed. */
  #isIndexed = false;
  /** Looked through in vain since the last old block. */
  #barrenBytes = 0;
  /** New since the last old block, the gap under way not counted. */
  #passedBytes = 0;

  constructor(kernels: GrainKernels, cache: GrainCache) {
    this.#kernels = kernels;
    this.#cache = cache;
  }

  /** Starts a file of about `size` bytes. */
  begin(basis: Basis | undefined, size: number): void {
    this.#basis = basis !== undefined && basis.list.count > 0 ? basis : undefined;
    this.#grainSize = grainSizeOf(Math.max(size, basis?.list.byteCount ?? 0));
    this.#gap = [];
    this.#filled = 0;
    this.#oldEnd = 0;
    this.#isIndexed = false;
    this.#barrenBytes = 0;
    this.#passedBytes = 0;
  }

  /** `bytes` of a piece given out are valid until the next one is asked for. */
  *refine(pieces: readonly MatchedPiece[]): Generator<RefinedPiece> {
    for (const piece of pieces) {
      if (piece.kind === 'new') {
        if (this.#filled + piece.bytes.length > gapSizeMax) yield* this.#endGap(undefined);
        this.#add(piece.id, piece.bytes);
        if (this.#basis === undefined) {
          this.#gap = [];
          this.#filled = 0;
          yield piece;
        }
        continue;
      }
      yield* this.#endGap(piece.kind === 'copy' ? piece.from : undefined);
      if (piece.kind === 'copy') {
        this.#oldEnd = piece.from + piece.count;
        this.#barrenBytes = 0;
        this.#passedBytes = 0;
      } else this.#passedBytes += piece.size;
      yield piece;
    }
  }

  /** The file ends here. */
  finish(): Generator<RefinedPiece> {
    return this.#endGap(this.#basis?.list.count);
  }

  #add(id: Buffer, bytes: Buffer): void {
    const at = this.#filled;
    this.#kernels.data.set(bytes, at);
    this.#filled += bytes.length;
    this.#gap.push({ id, at, size: bytes.length });
    if (bytes.length < blockSizeMin || this.#cache.has(id)) return;
    const hashes = this.#kernels.digest(at, this.#filled, this.#grainSize);
    this.#cache.put(id, { size: this.#grainSize, hashes });
  }

  /** `nextOld`: the old block that comes behind the gap, if that is known. */
  *#endGap(nextOld: number | undefined): Generator<RefinedPiece> {
    if (this.#gap.length === 0) return;
    const basis = this.#basis;
    const old = basis && this.#lacking(basis, nextOld);
    const runs = basis === undefined ? [] : this.#match(basis, nextOld);
    const { data } = this.#kernels;
    const patches = patchBlocks(data, this.#gap, runs);
    for (const [i, { id, at, size }] of this.#gap.entries()) {
      const bytes = data.subarray(at, at + size);
      const patch = patches[i];
      if (patch !== undefined) yield { kind: 'new', id, bytes, patch };
      else if (old !== undefined) yield { kind: 'new', id, bytes, old };
      else yield { kind: 'new', id, bytes };
    }
    this.#passedBytes += this.#filled;
    this.#gap = [];
    this.#filled = 0;
  }

  #match(basis: Basis, nextOld: number | undefined): readonly Run[] {
    if (this.#barrenBytes >= barrenBytesMax) return [];
    const { list } = basis;
    const isWhole = list.byteCount <= (oldGrainsMax / 2) * this.#grainSize;
    if (!this.#isIndexed) {
      const window = isWhole ? { from: 0, to: list.count } : this.#window(basis, nextOld);
      this.#index(basis, window);
      this.#isIndexed = isWhole;
    }
    const base = isWhole ? 0 : list.offsetAt(this.#oldEnd);
    const lastOld = list.offsetAt(this.#oldEnd) - base;
    const runs = this.#kernels.match({ start: 0, end: this.#filled }, this.#grainSize, lastOld);
    this.#barrenBytes = runs.length === 0 ? this.#barrenBytes + this.#filled : 0;
    return runs.map(({ at, from, size }) => ({ at, from: from + base, size }));
  }

  /** Where the bytes of the gap were, if all is as it seems and grains of it are not there. */
  #lacking({ list }: Basis, nextOld: number | undefined): OldRange | undefined {
    if (this.#barrenBytes >= barrenBytesMax) return undefined;
    const from = list.offsetAt(this.#oldEnd) + this.#passedBytes;
    const isKnown = nextOld !== undefined && nextOld >= this.#oldEnd;
    const end = isKnown ? list.offsetAt(nextOld) : list.byteCount;
    // Of much that was removed only the beginning; of what goes on as new not more than there is.
    const size = Math.min(end - from, (isKnown ? 2 : 1) * this.#filled + blockSizeMax);
    if (size <= 0) return undefined;
    for (let i = this.#oldEnd; i < list.count && list.offsetAt(i) < from + size; i++) {
      const isTold = list.sizeAt(i) < blockSizeMin || list.offsetAt(i + 1) <= from;
      if (!isTold && this.#cache.get(list.idAt(i))?.size !== this.#grainSize) return { from, size };
    }
    return undefined;
  }

  /** Old blocks in which the bytes of the gap may have been. */
  #window({ list }: Basis, nextOld: number | undefined): { from: number; to: number } {
    const from = this.#oldEnd;
    if (nextOld !== undefined && nextOld > from && nextOld < list.count)
      return { from, to: nextOld };
    const endBytes = list.offsetAt(from) + this.#filled + slackBytes;
    let to = from;
    while (to < list.count && list.offsetAt(to) < endBytes) to++;
    return { from, to };
  }

  #index({ list }: Basis, { from, to }: { from: number; to: number }): void {
    const base = from === 0 ? 0 : list.offsetAt(from);
    this.#kernels.clear();
    for (let i = from; i < to; i++) {
      const grains = this.#cache.get(list.idAt(i));
      if (grains === undefined || grains.size !== this.#grainSize) continue;
      const block = { offset: list.offsetAt(i) - base, size: list.sizeAt(i) };
      if (!this.#kernels.addOld(block, grains.hashes, grains.size)) break;
    }
    this.#kernels.index(this.#grainSize);
  }
}
