// Node sets file times through a double of seconds that libuv cuts to whole microseconds.

/**
 * `timeNs` (any sign) as an argument of fs.utimes and its kin that leaves the file with exactly
 * the microsecond at or before `timeNs`; exact up to the year 2242, where doubles get too coarse.
 * libuv cuts towards zero, so half a microsecond is added away from it. Before 1970 the argument
 * is a string: a negative number silently means now, and a Date holds milliseconds only.
 */
export function fileTime(timeNs: bigint): number | string {
  const us = Number(cutToMicroseconds(timeNs) / 1000n);
  return us >= 0 ? (us + 0.5) / 1e6 : String((us - 0.5) / 1e6);
}

/** `timeNs` cut to what a destination can hold: whole microseconds, downwards. */
export function cutToMicroseconds(timeNs: bigint): bigint {
  const rest = timeNs % 1000n;
  return timeNs - (rest < 0n ? rest + 1000n : rest);
}
