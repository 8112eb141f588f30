// The chunker in plain words: the oracle of the wasm kernel, and its rival in the bench.
import { type BlockBounds, cutThreshold, gearTable, gearWindow } from './gear.ts';

const table = gearTable();

/**
 * The end of the block that begins at `start` in a file that ends at `end`: after the first byte
 * at or beyond `bounds.min` where the gear hash of the last 32 bytes is below the threshold, at
 * most `bounds.max` bytes on, at most `end`.
 */
export function nextCut(
  bytes: Uint8Array,
  range: { readonly start: number; readonly end: number },
  bounds: BlockBounds,
): number {
  const { start, end } = range;
  const threshold = cutThreshold(bounds);
  const stop = Math.min(start + bounds.max, end);
  let hash = 0;
  for (let at = start + bounds.min - gearWindow; at < stop; at++) {
    hash = ((hash << 1) + (table[bytes[at] ?? 0] ?? 0)) >>> 0;
    if (at + 1 >= start + bounds.min && hash < threshold) return at + 1;
  }
  return stop;
}

/** Every cut of a whole file, in order; the last is its size. Empty for an empty file. */
export function allCuts(bytes: Uint8Array, bounds: BlockBounds): number[] {
  const cuts: number[] = [];
  for (let start = 0; start < bytes.length; ) {
    start = nextCut(bytes, { start, end: bytes.length }, bounds);
    cuts.push(start);
  }
  return cuts;
}
