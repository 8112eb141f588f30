// Second level of the delta: inside new blocks, what the old version of the file had there, found
// by grains, so that an edit costs about a grain and not its block.

import { type Copy, encodePatch } from './block-patch.ts';
import type { Basis, MatchedPiece } from './content-matcher.ts';
import type { GrainCache } from './grain-cache.ts';
import {
  type GrainKernels,
  gapSizeMax,
  grainSizeOf,
  oldGrainsMax,
  type Run,
} from './grain-kernels.ts';

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
    });

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
      }
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
    const runs = this.#basis === undefined ? [] : this.#match(this.#basis, nextOld);
    const gap = this.#gap;
    let first = 0;
    for (const { id, at, size } of gap) {
      const bytes = this.#kernels.data.subarray(at, at + size);
      while (first < runs.length && endOf(runs[first]) <= at) first++;
      const copies = copiesWithin(runs, first, { at, size });
      const patch = copies.length > 0 ? encodePatch(bytes, copies) : undefined;
      if (patch === undefined || patch.length > size - size / 8) yield { kind: 'new', id, bytes };
      else yield { kind: 'new', id, bytes, patch };
    }
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
    const runs = this.#kernels.match(this.#filled, this.#grainSize, lastOld);
    this.#barrenBytes = runs.length === 0 ? this.#barrenBytes + this.#filled : 0;
    return runs.map(({ at, from, size }) => ({ at, from: from + base, size }));
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

function endOf(run: Run | undefined): number {
  return run === undefined ? 0 : run.at + run.size;
}

/** The parts of runs, from `first` on, that lie in a block; offsets become its own. */
function copiesWithin(
  runs: readonly Run[],
  first: number,
  block: { readonly at: number; readonly size: number },
): Copy[] {
  const copies: Copy[] = [];
  for (let i = first; i < runs.length; i++) {
    const run = runs[i];
    if (run === undefined || run.at >= block.at + block.size) break;
    const from = Math.max(run.at, block.at);
    const to = Math.min(run.at + run.size, block.at + block.size);
    copies.push({ at: from - block.at, from: run.from + from - run.at, size: to - from });
  }
  return copies;
}
