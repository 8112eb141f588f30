// Grains: 32-bit hashes of the 64 or 256 bytes that follow each other in a block. The kernels and
// the memory they work in; src/blocks/assembly/grains.ts has the method, grains-plain.ts the oracle.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { blockSizeMax } from '../limits.ts';
import { instantiate } from './kernels.ts';

/** Files up to this size have small grains: a sixteenth of their size, a sixty-fourth beyond. */
const smallGrainsFileSize = 16 * 1024 * 1024;
const smallGrain = 64;
const largeGrain = 256;
/** Old grains that one match looks through. */
export const oldGrainsMax = 2 ** 18;
/** Bytes one match looks at. */
export const gapSizeMax = 1024 * 1024;
const runsMax = gapSizeMax / smallGrain;

export function grainSizeOf(fileSize: number): number {
  return fileSize <= smallGrainsFileSize ? smallGrain : largeGrain;
}

/** The multiplier of the hash, from a secret: what collides cannot be made on purpose. */
export function grainFactor(secret: Buffer): bigint {
  const digest = createHash('sha256').update('replica grains').update(secret).digest();
  return digest.readBigUInt64BE(0) | 1n;
}

interface GrainExports {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  setFactor(high: number, low: number): void;
  layGrains(
    hashes: number,
    places: number,
    heads: number,
    chain: number,
    runs: number,
    bits: number,
  ): void;
  digestGrains(start: number, end: number, size: number, to: number): void;
  indexGrains(count: number, size: number): void;
  matchGrains(
    start: number,
    end: number,
    count: number,
    size: number,
    hasLast: number,
    lastOld: number,
    limit: number,
  ): number;
}

const pageSize = 65536;

/** One a thread. Memory is reserved, and taken only as far as it is used. */
export class GrainKernels {
  /** The caller's: what is matched or digested lies here. */
  readonly data: Buffer;
  readonly #exports: GrainExports;
  readonly #at: {
    [part in 'hashes' | 'places' | 'heads' | 'chain' | 'runs' | 'digests' | 'data']: number;
  };
  readonly #hashes: Buffer;
  readonly #places: Uint32Array;
  readonly #runs: Uint32Array;
  readonly #digests: Buffer;
  #oldCount = 0;

  constructor(factor: bigint) {
    // What assembly/grains.ts exports; its tests would fail on any difference.
    const exports = instantiate() as unknown as GrainExports;
    this.#exports = exports;
    let end = exports.memory.buffer.byteLength;
    const take = (size: number): number => {
      end += size;
      return end - size;
    };
    this.#at = {
      hashes: take(oldGrainsMax * 4),
      places: take(oldGrainsMax * 8),
      heads: take(oldGrainsMax * 8),
      chain: take(oldGrainsMax * 4),
      runs: take(runsMax * 12),
      digests: take((blockSizeMax / smallGrain) * 4),
      data: take(gapSizeMax),
    };
    exports.memory.grow(Math.ceil((end - exports.memory.buffer.byteLength) / pageSize));
    const { buffer } = exports.memory;
    this.data = Buffer.from(buffer, this.#at.data, gapSizeMax);
    this.#hashes = Buffer.from(buffer, this.#at.hashes, oldGrainsMax * 4);
    this.#places = new Uint32Array(buffer, this.#at.places, oldGrainsMax * 2);
    this.#runs = new Uint32Array(buffer, this.#at.runs, runsMax * 3);
    this.#digests = Buffer.from(buffer, this.#at.digests, (blockSizeMax / smallGrain) * 4);
    this.useFactor(factor);
  }

  /** Hashes are made with that one from now on. */
  useFactor(factor: bigint): void {
    this.#exports.setFactor(Number(factor >> 32n), Number(factor & 0xffffffffn));
  }

  /** The grains of the block in data[start, end), u32 LE each; valid until the next call. */
  digest(start: number, end: number, size: number): Buffer {
    assert(start >= 0 && start <= end && end <= gapSizeMax && end - start <= blockSizeMax);
    const { data, digests } = this.#at;
    this.#exports.digestGrains(data + start, data + end, size, digests);
    return this.#digests.subarray(0, Math.ceil((end - start) / size) * 4);
  }

  /** Forgets the old grains. */
  clear(): void {
    this.#oldCount = 0;
  }

  /** Adds the grains of an old block of `blockSize` bytes; false when there is no room. */
  addOld(block: { offset: number; size: number }, hashes: Buffer, grainSize: number): boolean {
    const count = hashes.length / 4;
    if (this.#oldCount + count > oldGrainsMax) return false;
    assert.equal(count, Math.ceil(block.size / grainSize));
    this.#hashes.set(hashes, this.#oldCount * 4);
    for (let i = 0; i < count; i++) {
      const at = (this.#oldCount + i) * 2;
      this.#places[at] = block.offset + i * grainSize;
      this.#places[at + 1] = Math.min(grainSize, block.size - i * grainSize);
    }
    this.#oldCount += count;
    return true;
  }

  /** Makes what was added findable. */
  index(grainSize: number): void {
    const bits = Math.max(8, Math.ceil(Math.log2(this.#oldCount + 1)) + 1);
    const { hashes, places, heads, chain, runs } = this.#at;
    this.#exports.layGrains(hashes, places, heads, chain, runs, Math.min(bits, 19));
    this.#exports.indexGrains(this.#oldCount, grainSize);
  }

  /**
   * What of data[start, end) the old grains have, in order; `from` as the offsets of addOld.
   * `lastOld`: where what is before `start` ended in the old version.
   */
  match(
    { start, end }: { readonly start: number; readonly end: number },
    grainSize: number,
    lastOld: number | undefined,
  ): Run[] {
    if (this.#oldCount === 0) return [];
    const { data } = this.#at;
    const [from, to] = [data + start, data + end];
    const { matchGrains } = this.#exports;
    const [hasLast, last] = [lastOld === undefined ? 0 : 1, lastOld ?? 0];
    const count = matchGrains(from, to, this.#oldCount, grainSize, hasLast, last, runsMax);
    const runs: Run[] = [];
    for (let i = 0; i < 3 * count; i += 3) {
      const [at = 0, old = 0, size = 0] = this.#runs.subarray(i, i + 3);
      runs.push({ at: start + at, from: old, size });
    }
    return runs;
  }
}

export interface Run {
  readonly at: number;
  readonly from: number;
  readonly size: number;
}
