// Grains in plain words: the oracle of assembly/grains.ts.
const mask = 0xffffffffffffffffn;

/** Upper half of the 64-bit polynomial in `factor` over bytes + 1, times `factor`. */
function grainOf(bytes: Uint8Array, factor: bigint): number {
  let hash = 0n;
  for (const byte of bytes) hash = (hash * factor + BigInt(byte) + 1n) & mask;
  return Number(((hash * factor) & mask) >> 32n);
}

/** Grains of a block, as u32 LE. */
export function grainsOf(block: Uint8Array, size: number, factor: bigint): Buffer {
  const hashes = Buffer.alloc(Math.ceil(block.length / size) * 4);
  for (let i = 0; i * size < block.length; i++) {
    hashes.writeUInt32LE(grainOf(block.subarray(i * size, (i + 1) * size), factor), i * 4);
  }
  return hashes;
}
