// Grains: short hashes of the pieces of a block, by which a later version of it finds what is still
// the same. 64-bit polynomial, of which the upper half is kept. src/blocks/grains-plain.ts is the
// same in plain words. All positions are memory addresses; the caller lays the memory out.

/** Candidates looked at for one window: bounds the time on repetitive content. */
const stepsMax: u32 = 16;

/** The larger of the sizes that SIMD digests whole; the smaller one uses the end of its weights. */
const wideGrain: usize = 256;
const narrowGrain: usize = 64;
/**
 * What a byte of a wide grain counts: factor^(256 - i), in four signed digits of 16 bits, lowest
 * first; the 256 lowest digits, then the 256 next ones.
 */
const weights = memory.data(2048, 16);
const digitBytes: usize = 512;

let factor: u64 = 1;
/** The sum of all weights of a grain: bytes count one more than they are. */
let wideSum: u64 = 0;
let narrowSum: u64 = 0;
let hashes: usize = 0;
let places: usize = 0;
let heads: usize = 0;
let chain: usize = 0;
let runs: usize = 0;
let shift: u32 = 0;

/** The secret factor of the polynomial, odd; its halves, since numbers are what callers have. */
export function setFactor(high: u32, low: u32): void {
  factor = (<u64>high << 32) | low;
  wideSum = 0;
  let weight: u64 = 1;
  for (let i: usize = 1; i <= wideGrain; i++) {
    weight *= factor;
    wideSum += weight;
    if (i == narrowGrain) narrowSum = wideSum;
    const at = weights + ((wideGrain - i) << 1);
    // What a digit is below its 16 bits, the next one carries.
    let rest = weight;
    for (let digit: usize = 0; digit < 4; digit++) {
      const low = <i16>rest;
      store<i16>(at + digit * digitBytes, low);
      rest = (rest - <u64>(<i64>low)) >> 16;
    }
  }
}

/**
 * Where things lie: hashes, u32 a grain; places, u32 offset and u32 size a grain; heads, u32 each,
 * 2^bits of them; chain, u32 a grain; runs, three u32 each.
 */
export function layGrains(
  hashesAt: usize, placesAt: usize, headsAt: usize, chainAt: usize, runsAt: usize, bits: u32,
): void {
  hashes = hashesAt;
  places = placesAt;
  heads = headsAt;
  chain = chainAt;
  runs = runsAt;
  shift = 32 - bits;
}

/** Writes the hash of each `size` bytes of memory[start, end), the last maybe of fewer, to `to`. */
export function digestGrains(start: usize, end: usize, size: usize, to: usize): void {
  while (start < end) {
    const stop = start + size < end ? start + size : end;
    store<u32>(to, grainOf(start, stop));
    to += 4;
    start = stop;
  }
}

/** The hash of memory[start, end). */
// @ts-ignore: decorator
@inline
function grainOf(start: usize, end: usize): u32 {
  const size = end - start;
  if (size == wideGrain) return <u32>((weigh(start, end, 0) + wideSum) >> 32);
  if (size == narrowGrain) {
    return <u32>((weigh(start, end, 2 * (wideGrain - narrowGrain)) + narrowSum) >> 32);
  }
  return upper(digest(start, end));
}

/**
 * The sum of memory[at, end), whole 16s, each byte times its weight; the first one's is at
 * `weights + from`. A digit's sums stay below 2^29: 64 products of 8 and 15 bits in each lane.
 */
// @ts-ignore: decorator
@inline
function weigh(at: usize, end: usize, from: usize): u64 {
  let sum0 = i32x4.splat(0);
  let sum1 = sum0;
  let sum2 = sum0;
  let sum3 = sum0;
  let by = weights + from;
  while (at < end) {
    const bytes = v128.load(at);
    const first = i16x8.extend_low_i8x16_u(bytes);
    const second = i16x8.extend_high_i8x16_u(bytes);
    sum0 = i32x4.add(sum0, dot(first, second, by));
    sum1 = i32x4.add(sum1, dot(first, second, by + digitBytes));
    sum2 = i32x4.add(sum2, dot(first, second, by + 2 * digitBytes));
    sum3 = i32x4.add(sum3, dot(first, second, by + 3 * digitBytes));
    at += 16;
    by += 32;
  }
  return total(sum0) + (total(sum1) << 16) + (total(sum2) << 32) + (total(sum3) << 48);
}

// @ts-ignore: decorator
@inline
function dot(first: v128, second: v128, by: usize): v128 {
  return i32x4.add(
    i32x4.dot_i16x8_s(first, v128.load(by)),
    i32x4.dot_i16x8_s(second, v128.load(by, 16)),
  );
}

// @ts-ignore: decorator
@inline
function total(sums: v128): u64 {
  const pairs = i64x2.add(
    i64x2.extend_low_i32x4_s(sums),
    i64x2.extend_high_i32x4_s(sums),
  );
  return <u64>(i64x2.extract_lane(pairs, 0) + i64x2.extract_lane(pairs, 1));
}

/** The last byte counts as much as the others, of few bytes too. */
// @ts-ignore: decorator
@inline
function upper(hash: u64): u32 {
  return <u32>((hash * factor) >> 32);
}

// @ts-ignore: decorator
@inline
function digest(at: usize, end: usize): u64 {
  let hash: u64 = 0;
  const factor2 = factor * factor;
  const factor4 = factor2 * factor2;
  while (at + 4 <= end) {
    // Four bytes a round: one multiplication of the four waits for the round before.
    hash = hash * factor4 + (byte(at) * factor + byte(at + 1)) * factor2 +
      byte(at + 2) * factor + byte(at + 3);
    at += 4;
  }
  while (at < end) {
    hash = hash * factor + byte(at);
    at++;
  }
  return hash;
}

// @ts-ignore: decorator
@inline
function byte(at: usize): u64 {
  return <u64>load<u8>(at) + 1;
}

/** Makes `count` grains findable, those of `size` bytes. */
export function indexGrains(count: u32, size: u32): void {
  memory.fill(heads, 0, <usize>4 << (32 - shift));
  for (let i = count; i > 0; i--) {
    const grain = i - 1;
    if (sizeOf(grain) != size) continue;
    const head = heads + (<usize>(hashOf(grain) >> shift) << 2);
    store<u32>(chain + (<usize>grain << 2), load<u32>(head));
    store<u32>(head, i);
  }
}

// @ts-ignore: decorator
@inline
function hashOf(grain: u32): u32 {
  return load<u32>(hashes + (<usize>grain << 2));
}

// @ts-ignore: decorator
@inline
function offsetOf(grain: u32): u32 {
  return load<u32>(places + (<usize>grain << 3));
}

// @ts-ignore: decorator
@inline
function sizeOf(grain: u32): u32 {
  return load<u32>(places + (<usize>grain << 3), 4);
}

/** Does memory[at, end) begin with that grain? */
// @ts-ignore: decorator
@inline
function isAt(grain: u32, at: usize, end: usize): bool {
  const stop = at + sizeOf(grain);
  return stop <= end && grainOf(at, stop) == hashOf(grain);
}

/** The grain that follows in the old version, or `count`. */
// @ts-ignore: decorator
@inline
function after(grain: u32, count: u32): u32 {
  const next = grain + 1;
  return next < count && offsetOf(next) == offsetOf(grain) + sizeOf(grain) ? next : count;
}

/**
 * Finds the grains in memory[start, end), which goes on from old offset `lastOld` if `hasLast`.
 * Writes runs (offset from start, old offset, size) in order, at most `limit`; returns how many.
 * A grain counts if it follows the one before, if it lies as far from the one before as in the old
 * version, or if the next one follows it: one 32-bit hash alone is found by chance too often.
 */
export function matchGrains(
  start: usize, end: usize, count: u32, size: u32, hasLast: bool, lastOld: u32, limit: u32,
): u32 {
  let power: u64 = 1;
  for (let i: u32 = 0; i < size; i++) power *= factor;
  let at = start;
  let next = count;
  let found: u32 = 0;
  // Old offset of what would lie at `start`, were nothing inserted or removed since.
  let shifted = lastOld;
  let isAligned = hasLast;
  let hash: u64 = 0;
  let isRolling = false;
  while (at < end && found < limit) {
    let grain = count;
    if (next < count && isAt(next, at, end)) grain = next;
    else {
      next = count;
      if (at + size > end) break;
      if (!isRolling) hash = digest(at, at + size);
      isRolling = true;
      grain = find(upper(hash), at, end, count, isAligned, shifted + <u32>(at - start));
    }
    if (grain == count) {
      if (at + size >= end) break;
      hash = hash * factor + byte(at + size) - power * byte(at);
      at++;
      continue;
    }
    const old = offsetOf(grain);
    const length = sizeOf(grain);
    found = add(found, <u32>(at - start), old, length);
    shifted = old - <u32>(at - start);
    isAligned = true;
    isRolling = false;
    next = after(grain, count);
    at += length;
  }
  return found;
}

// @ts-ignore: decorator
@inline
function find(hash: u32, at: usize, end: usize, count: u32, isAligned: bool, aligned: u32): u32 {
  let i = load<u32>(heads + (<usize>(hash >> shift) << 2));
  for (let step: u32 = 0; i != 0 && step < stepsMax; step++) {
    const grain = i - 1;
    if (hashOf(grain) == hash) {
      if (isAligned && offsetOf(grain) == aligned) return grain;
      const next = after(grain, count);
      if (next < count && isAt(next, at + sizeOf(grain), end)) return grain;
    }
    i = load<u32>(chain + (<usize>grain << 2));
  }
  return count;
}

// @ts-ignore: decorator
@inline
function add(count: u32, offset: u32, old: u32, size: u32): u32 {
  if (count > 0) {
    const last = runs + <usize>(count - 1) * 12;
    const length = load<u32>(last, 8);
    if (load<u32>(last) + length == offset && load<u32>(last, 4) + length == old) {
      store<u32>(last, length + size, 8);
      return count;
    }
  }
  const run = runs + <usize>count * 12;
  store<u32>(run, offset);
  store<u32>(run, old, 4);
  store<u32>(run, size, 8);
  return count + 1;
}
