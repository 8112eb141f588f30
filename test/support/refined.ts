// Versions of a file as the read worker reads them: matched by blocks, then refined within them.
import { applyPatch } from '../../src/blocks/block-patch.ts';
import { CheckHash } from '../../src/blocks/check-hash.ts';
import { type Basis, ContentMatcher } from '../../src/blocks/content-matcher.ts';
import type { GrainCache } from '../../src/blocks/grain-cache.ts';
import { GrainKernels, grainFactor } from '../../src/blocks/grain-kernels.ts';
import { Kernels } from '../../src/blocks/kernels.ts';
import { type RefinedPiece, Refiner } from '../../src/blocks/refiner.ts';
import { noise } from './content.ts';

export const secret = noise(1, 32);
export const factor = grainFactor(noise(3, 32));
export const usual = new GrainKernels(factor);
const matcher = new ContentMatcher({
  kernels: Kernels.load(),
  secret,
  checkHash: new CheckHash(noise(2, 32)),
});

export interface Version extends Basis {
  readonly pieces: readonly RefinedPiece[];
}

export interface ReadOptions {
  readonly cache: GrainCache;
  readonly kernels?: GrainKernels;
  readonly basis?: Basis;
}

export function read(content: Buffer, { cache, kernels = usual, basis }: ReadOptions): Version {
  const refiner = new Refiner(kernels, cache);
  const pieces: RefinedPiece[] = [];
  const keep = (given: Iterable<RefinedPiece>) => {
    for (const piece of given) {
      pieces.push(piece.kind === 'new' ? { ...piece, bytes: Buffer.from(piece.bytes) } : piece);
    }
  };
  matcher.begin(basis);
  refiner.begin(basis, content.length);
  for (let at = 0; at < content.length; ) {
    const byteCount = content.copy(matcher.buffer(), 0, at);
    keep(refiner.refine(matcher.advance(byteCount)));
    at += byteCount;
  }
  const { pieces: rest, list, checks } = matcher.finish();
  keep(refiner.refine(rest));
  keep(refiner.finish());
  return { pieces, list, checks };
}

/** The content that pieces make of the old version, patches applied. */
export function made(old: Buffer, { list }: Basis, pieces: readonly RefinedPiece[]): Buffer {
  const parts = pieces.map(piece => {
    if (piece.kind === 'zero') return Buffer.alloc(piece.size);
    if (piece.kind === 'copy') {
      return old.subarray(list.offsetAt(piece.from), list.offsetAt(piece.from + piece.count));
    }
    if (!piece.patch) return piece.bytes;
    return applyPatch(piece.patch, piece.bytes.length, (from, into) => {
      old.copy(into, 0, from, from + into.length);
    });
  });
  return Buffer.concat(parts);
}

/** Bytes of content on the wire. */
export function cost(pieces: readonly RefinedPiece[]): number {
  return pieces.reduce(
    (sum, piece) => sum + (piece.kind === 'new' ? (piece.patch ?? piece.bytes).length : 0),
    0,
  );
}
