// Kernels of blocks/, compiled to WebAssembly by the build. One call a buffer, not one a block.
// Memory: the gear table and the cuts lie in static data (below), file bytes wherever the caller
// put them. src/blocks/chunker-plain.ts is the same algorithm in plain words.

export * from './grains';

/** Cuts one call can report; more are found by calling again. */
const cutsMax: u32 = 1024;
/** Marks a block that is all zero bytes in the list of cuts; the rest of the word is the cut. */
const zeroBit: u32 = 0x80000000;
const window: usize = 32;

const table: usize = memory.data(1024, 64);
const cuts: usize = memory.data(4096, 64);

export function tableAt(): usize {
  return table;
}

export function cutsAt(): usize {
  return cuts;
}

/**
 * Cuts memory[start, end) into blocks and writes where each ends, at most `limit` of them.
 * Only what later bytes cannot change is cut: unless `isLast`, the rest must hold `max` bytes.
 * Returns how many were written.
 */
export function findCuts(
  start: usize, end: usize, isLast: bool, limit: u32, min: usize, max: usize, threshold: u32,
): u32 {
  if (limit > cutsMax) limit = cutsMax;
  let count: u32 = 0;
  while (count < limit && start < end) {
    if (!isLast && end - start < max) break;
    const stop = start + max < end ? start + max : end;
    const zeroes = zeroesFrom(start, stop);
    const isZero = zeroes == stop;
    const cut = isZero ? stop : nextCut(start, stop, zeroes, min, threshold);
    store<u32>(cuts + (<usize>count << 2), <u32>cut | (isZero ? zeroBit : 0));
    count++;
    start = cut;
  }
  return count;
}

/** Where the zero bytes from `start` on end: `stop`, or the first other byte. */
// @ts-ignore: decorator
@inline
function zeroesFrom(start: usize, stop: usize): usize {
  let at = start;
  while (at + 32 <= stop) {
    if (load<u64>(at) | load<u64>(at, 8) | load<u64>(at, 16) | load<u64>(at, 24)) break;
    at += 32;
  }
  while (at < stop && !load<u8>(at)) at++;
  return at;
}

/**
 * The end of the block that begins at `start`: after the first byte at or beyond `min` where the
 * hash of the last 32 bytes is below the threshold, else `stop`. A window of zeroes alone never
 * is, so the search may begin behind the leading zeroes.
 */
// @ts-ignore: decorator
@inline
function nextCut(start: usize, stop: usize, zeroes: usize, min: usize, threshold: u32): usize {
  let first = start + min;
  if (first >= stop) return stop;
  if (zeroes > first) first = zeroes;
  let at = first - window;
  let hash: u32 = 0;
  while (at < first) {
    hash = (hash << 1) + word(at, 0);
    at++;
  }
  if (hash < threshold) return at;
  // Four bytes a round: the hashes in between hang on `hash` alone, not on each other.
  const stop4 = stop - 4;
  while (at <= stop4) {
    const a = word(at, 0);
    const b = (a << 1) + word(at, 1);
    const c = (b << 1) + word(at, 2);
    const d = (c << 1) + word(at, 3);
    if ((hash << 1) + a < threshold) return at + 1;
    if ((hash << 2) + b < threshold) return at + 2;
    if ((hash << 3) + c < threshold) return at + 3;
    hash = (hash << 4) + d;
    at += 4;
    if (hash < threshold) return at;
  }
  while (at < stop) {
    hash = (hash << 1) + word(at, 0);
    at++;
    if (hash < threshold) return at;
  }
  return stop;
}

// @ts-ignore: decorator
@inline
function word(at: usize, offset: usize): u32 {
  return load<u32>(table + (<usize>load<u8>(at + offset) << 2));
}
