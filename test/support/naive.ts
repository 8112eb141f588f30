// Slow and obvious versions of what src does fast: oracles for tests, rivals for benches.
import { createHash } from 'node:crypto';
import type { MatchedPiece } from '../../src/blocks/content-matcher.ts';
import { type BlockBounds, gearTable } from '../../src/blocks/gear.ts';

const table = gearTable();

/** The gear hash after bytes[0, end), by its definition: 32 words, the oldest shifted furthest. */
export function naiveGearHash(bytes: Uint8Array, end: number): number {
  let sum = 0n;
  for (let age = 0; age < 32; age++) {
    sum += BigInt(table[bytes[end - 1 - age] ?? 0] ?? 0) << BigInt(age);
  }
  return Number(sum & 0xffffffffn);
}

/** Where the blocks of a whole file end, straight from the rule. */
export function naiveCuts(bytes: Uint8Array, bounds: BlockBounds): number[] {
  const cuts: number[] = [];
  let size = 0;
  for (let end = 1; end <= bytes.length; end++) {
    size++;
    const isCut = size >= bounds.min && naiveGearHash(bytes, end) < 2 ** 32 / bounds.target;
    if (!isCut && size < bounds.max && end < bytes.length) continue;
    cuts.push(end);
    size = 0;
  }
  return cuts;
}

/** The blocks themselves, given where they end. */
export function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  return cuts.map((cut, i) => bytes.subarray(cuts[i - 1] ?? 0, cut));
}

export function naiveBlockId(secret: Buffer, bytes: Uint8Array): Buffer {
  return createHash('sha256').update(secret).update(bytes).digest().subarray(0, 16);
}

/** The packed block list of a file, given its blocks. */
export function naiveList(secret: Buffer, blocks: readonly Buffer[]): Buffer {
  return Buffer.concat(
    blocks.flatMap(block => {
      const size = Buffer.alloc(2);
      size.writeUInt16BE(block.length - 1);
      return [size, naiveBlockId(secret, block)];
    }),
  );
}

/** Pieces that a file consists of when nothing is known of its previous version. */
export function naivePieces(secret: Buffer, blocks: readonly Buffer[]): MatchedPiece[] {
  return blocks.map(bytes => {
    const id = naiveBlockId(secret, bytes);
    const isZero = bytes.every(byte => byte === 0);
    return isZero ? { kind: 'zero', id, size: bytes.length } : { kind: 'new', id, bytes };
  });
}
