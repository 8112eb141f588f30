// Node sets file times through a double of seconds. libuv before 1.52 cuts that to whole
// microseconds, towards zero; later ones keep what the double holds, and doubles of today are
// 238 ns apart. Either way the microsecond comes out right, which is what replicas promise.
import { versions } from 'node:process';

/**
 * `timeNs` (any sign) as an argument of fs.utimes and its kin that leaves the file within the
 * microsecond at or before `timeNs`, up to the year 2242, where doubles get too coarse.
 * Before 1970 it is a string: a negative number silently means now, and a Date holds
 * milliseconds only.
 */
export function fileTime(timeNs: bigint, cuts: boolean = cutsHere): number | string {
  const us = Number(cutToMicroseconds(timeNs) / 1000n);
  const seconds = cuts ? (us < 0 ? us - 0.5 : us + 0.5) / 1e6 : secondsAtOrAbove(us);
  return seconds < 0 ? String(seconds) : seconds;
}

/** `timeNs` cut to what a destination can hold: whole microseconds, downwards. */
export function cutToMicroseconds(timeNs: bigint): bigint {
  const rest = timeNs % 1000n;
  return timeNs - (rest < 0n ? rest + 1000n : rest);
}

/** Does this version of libuv cut file times to microseconds? (libuv pull request 4951.) */
export function libuvCuts(version: string = versions.uv): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major < 1 || (major === 1 && minor < 52);
}

const cutsHere = libuvCuts();

/** The smallest double that libuv does not turn into a time before `us` microseconds. */
function secondsAtOrAbove(us: number): number {
  const { doubles, bits } = scratch;
  doubles[0] = us / 1e6;
  const whole = Math.trunc(doubles[0]);
  // Both sides are exact: what is left of `us` is small, and so is the fraction.
  while ((doubles[0] - whole) * 1e9 < (us - whole * 1e6) * 1e3) bits[0] = nextUp(bits[0] ?? 0n);
  return doubles[0];
}

function nextUp(bits: bigint): bigint {
  return bits < 0n ? bits - 1n : bits + 1n;
}

const doubles = new Float64Array(1);
/** One double, and the same as bits: neighbours are one apart. */
const scratch = { doubles, bits: new BigInt64Array(doubles.buffer) };
