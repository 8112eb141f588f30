// SHA-256 says what a block is. Keyed with the replica's secret, which goes first and whose
// digest is cut to half: neither guessed outside nor extended.
import assert from 'node:assert/strict';
import { createHash, hash } from 'node:crypto';
import { blockIdSize, blockSizeMax } from '../limits.ts';

const secretSize = 32;
/**
 * Copying secret and bytes together for the one-shot hash beats createHash and two updates up to
 * 32 KiB, by half at 1 KiB, and is no slower above (bench/blocks/content-matcher.bench.ts).
 * Holds nothing between calls.
 */
const scratch = Buffer.allocUnsafeSlow(secretSize + blockSizeMax);

/** First 16 bytes of SHA-256(secret || bytes). `secret` is 32 bytes. */
export function blockId(secret: Buffer, bytes: Uint8Array): Buffer {
  assert(secret.length === secretSize);
  if (bytes.length > blockSizeMax) {
    return createHash('sha256').update(secret).update(bytes).digest().subarray(0, blockIdSize);
  }
  scratch.set(secret, 0);
  scratch.set(bytes, secretSize);
  return digestOfScratch(secretSize + bytes.length);
}

/**
 * First 16 bytes of SHA-256(secret || 'entry' || parent as u64 BE || encodedEntry), where
 * encodedEntry is name and entry as entry-codec.ts lays them out.
 */
export function entryDigest(secret: Buffer, parent: number, encodedEntry: Buffer): Buffer {
  assert(secret.length === secretSize);
  assert(encodedEntry.length <= blockSizeMax - 13);
  scratch.set(secret, 0);
  scratch.write('entry', secretSize, 'latin1');
  scratch.writeUInt32BE(Math.floor(parent / 2 ** 32), secretSize + 5);
  scratch.writeUInt32BE(parent >>> 0, secretSize + 9);
  scratch.set(encodedEntry, secretSize + 13);
  return digestOfScratch(secretSize + 13 + encodedEntry.length);
}

/** Sizes whose zero block is remembered for a secret: the largest, and the ends of sparse files. */
const zeroIdsMax = 256;
const zeroes = Buffer.alloc(blockSizeMax);
const zeroIds = new WeakMap<Buffer, Map<number, Buffer>>();

/** blockId of `size` zero bytes, 1 to blockSizeMax; remembered for as long as `secret` is held. */
export function zeroBlockId(secret: Buffer, size: number): Buffer {
  assert(size >= 1 && size <= blockSizeMax);
  const ids = zeroIds.get(secret) ?? new Map<number, Buffer>();
  let id = ids.get(size);
  if (id === undefined) {
    if (ids.size === zeroIdsMax) ids.clear();
    id = blockId(secret, zeroes.subarray(0, size));
    zeroIds.set(secret, ids.set(size, id));
  }
  return id;
}

function digestOfScratch(size: number): Buffer {
  // A string (one char, one byte) comes back 0.5 µs sooner than a Buffer.
  const digest = hash('sha256', scratch.subarray(0, size), 'binary');
  return Buffer.from(digest.slice(0, blockIdSize), 'latin1');
}
