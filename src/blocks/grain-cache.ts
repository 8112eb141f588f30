// Grains of blocks that were read lately, by block id: what a later version is compared with, since
// the sender has no older content. Whatever it forgets is sent as whole blocks.
import assert from 'node:assert/strict';
import { blockIdSize } from '../limits.ts';

/** u16 size of a grain | u16 count, then u32 LE each. */
const headSize = 4;
/** What the index takes for a block, measured: key, number, and their slots in map and array. */
const indexedSize = 128;
const chunkSize = 1024 * 1024;
/** The largest part that pack() gives out: ids take less than the index. */
export const packedGrainsMax = chunkSize;

export interface Grains {
  /** Bytes of the block in a grain; the last one has the rest. */
  readonly size: number;
  /** u32 LE each; valid until the next put(). */
  readonly hashes: Buffer;
}

interface Chunk {
  readonly bytes: Buffer;
  keys: string[];
  filled: number;
}

/** Memory in chunks, taken as needed up to a bound; then the oldest chunk is forgotten and reused. */
export class GrainCache {
  readonly #chunksMax: number;
  readonly #chunks: Chunk[] = [];
  /** The chunk that is being filled. */
  #newest = 0;
  /** Where a block's grains lie: chunk * chunkSize + offset within it. */
  readonly #places = new Map<string, number>();
  #bytesPut = 0;

  /** At most `bytesMax` bytes of memory, index included; 1 MiB at least. */
  constructor(bytesMax: number) {
    this.#chunksMax = Math.max(1, Math.floor(bytesMax / chunkSize));
  }

  /** Of all grains ever put. */
  get bytesPut(): number {
    return this.#bytesPut;
  }

  /** Of the grains that are there. */
  get byteCount(): number {
    return this.#chunks.reduce((sum, { filled }) => sum + filled, 0);
  }

  has(id: Buffer): boolean {
    return this.#places.has(id.toString('latin1'));
  }

  put(id: Buffer, { size, hashes }: Grains): void {
    assert(hashes.length % 4 === 0 && hashes.length <= 0xffff * 4);
    const key = id.toString('latin1');
    if (this.#places.has(key)) return;
    const chunk = this.#chunkFor(headSize + hashes.length);
    const at = chunk.filled;
    chunk.bytes.writeUInt16LE(size, at);
    chunk.bytes.writeUInt16LE(hashes.length / 4, at + 2);
    chunk.bytes.set(hashes, at + headSize);
    chunk.filled = at + headSize + hashes.length;
    chunk.keys.push(key);
    this.#bytesPut += headSize + hashes.length;
    this.#places.set(key, this.#newest * chunkSize + at);
  }

  get(id: Buffer): Grains | undefined {
    const place = this.#places.get(id.toString('latin1'));
    if (place === undefined) return undefined;
    const bytes = this.#chunks[Math.floor(place / chunkSize)]?.bytes;
    assert(bytes !== undefined);
    const at = place % chunkSize;
    const from = at + headSize;
    const count = bytes.readUInt16LE(at + 2);
    return { size: bytes.readUInt16LE(at), hashes: bytes.subarray(from, from + 4 * count) };
  }

  /** All grains, the oldest first, in parts for restore(): per block its id and what lies in a chunk. */
  *pack(): Generator<Buffer> {
    const { length } = this.#chunks;
    for (let i = 0; i < length; i++) {
      const chunk = this.#chunks[(this.#newest + 1 + i) % length];
      if (chunk !== undefined) yield Buffer.concat([...packedChunk(chunk)]);
    }
  }

  /** Takes in what pack() gave out, until something in it makes no sense. */
  restore(part: Buffer): void {
    for (let at = 0; at + blockIdSize + headSize <= part.length; ) {
      const id = part.subarray(at, at + blockIdSize);
      const from = at + blockIdSize + headSize;
      const size = part.readUInt16LE(from - headSize);
      at = from + 4 * part.readUInt16LE(from - 2);
      if (size === 0 || at > part.length) return;
      this.put(id, { size, hashes: part.subarray(from, at) });
    }
  }

  /** A chunk with room for `byteCount` bytes and their entry in the index. */
  #chunkFor(byteCount: number): Chunk {
    const current = this.#chunks[this.#newest];
    if (current && hasRoom(current, byteCount)) return current;
    if (current) this.#newest = (this.#newest + 1) % this.#chunksMax;
    const oldest = this.#chunks[this.#newest];
    if (oldest === undefined) {
      const chunk = { bytes: Buffer.allocUnsafeSlow(chunkSize), keys: [], filled: 0 };
      this.#chunks.push(chunk);
      return chunk;
    }
    for (const key of oldest.keys) this.#places.delete(key);
    oldest.keys = [];
    oldest.filled = 0;
    return oldest;
  }
}

function* packedChunk({ bytes, keys }: Chunk): Generator<Buffer> {
  let at = 0;
  for (const key of keys) {
    const end = at + headSize + 4 * bytes.readUInt16LE(at + 2);
    yield Buffer.from(key, 'latin1');
    yield bytes.subarray(at, end);
    at = end;
  }
}

/** The index counts against the chunk: tiny blocks take more of it than of bytes. */
function hasRoom({ filled, keys }: Chunk, byteCount: number): boolean {
  return filled + byteCount + (keys.length + 1) * indexedSize <= chunkSize;
}
