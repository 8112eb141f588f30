// Seeded randomness for tests and benches: the same numbers for the same seed, everywhere.

/** Numbers in [0, 1), mulberry32. */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function randomBytes(random: () => number, size: number): Buffer {
  const bytes = Buffer.allocUnsafe(Math.ceil(size / 4) * 4);
  for (let at = 0; at < bytes.length; at += 4) {
    bytes.writeUInt32LE(Math.floor(random() * 2 ** 32), at);
  }
  return bytes.subarray(0, size);
}

/** A whole number in [0, below). */
export function randomInteger(random: () => number, below: number): number {
  return Math.floor(random() * below);
}

export function pick<T>(random: () => number, choices: readonly T[]): T {
  const choice = choices[randomInteger(random, choices.length)];
  if (choice === undefined) throw new RangeError('nothing to pick from');
  return choice;
}
