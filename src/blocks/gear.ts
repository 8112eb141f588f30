// What the two chunkers (wasm kernel and plain twin) share: the table, the bounds, the threshold.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { blockSizeMax, blockSizeMin, blockSizeTarget } from '../limits.ts';

/** Bytes the 32-bit gear hash remembers: each shifts one bit out, so the 33rd is gone. */
export const gearWindow = 32;

/** Sizes in bytes. Both sides need not agree on them, but a basis is cut as its bounds said. */
export interface BlockBounds {
  /** No content-defined cut before this; at least gearWindow. */
  readonly min: number;
  /** Mean distance from `min` to the cut; at least 128. */
  readonly target: number;
  /** A block is cut here at the latest; at most blockSizeMax. */
  readonly max: number;
}

export const blockBounds: BlockBounds = {
  min: blockSizeMin,
  target: blockSizeTarget,
  max: blockSizeMax,
};

/** A cut lies after a byte whose hash is below this: at most 2^25, as the table allows. */
export function cutThreshold(bounds: BlockBounds): number {
  assert(bounds.min >= gearWindow && bounds.max >= bounds.min && bounds.max <= blockSizeMax);
  assert(bounds.target >= 128);
  return Math.floor(2 ** 32 / bounds.target);
}

/**
 * 256 words that spread a byte over the hash, derived from a fixed text. Its number was chosen so
 * that no run of one repeated byte hashes below 2^25: constant data is cut at `max`, and the
 * kernel's short cut for zeroes rests on that.
 */
export function gearTable(): Uint32Array {
  const bytes = createHash('shake256', { outputLength: 1024 }).update('replica gear 6').digest();
  return Uint32Array.from({ length: 256 }, (_, byte) => bytes.readUInt32LE(byte * 4));
}
