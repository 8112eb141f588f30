// A file's blocks in order, packed: 18 bytes each (size - 1 as u16 BE, 16-byte id), as it is kept
// in the stores of both sides.
import assert from 'node:assert/strict';
import { ReplicaError } from '../errors.ts';
import { blockIdSize, blockSizeMax, indexedBlockSizeMin } from '../limits.ts';
import { GrowingBuffer } from './growing-buffer.ts';
import { KeyTable } from './key-table.ts';

/** Bytes of one block in a packed list. */
export const listedSize = 2 + blockIdSize;

/** Is a block of that size worth an entry in the index, and a question? */
export function isIndexed(size: number): boolean {
  return size >= indexedBlockSizeMin;
}

/** Immutable; `packed` belongs to it once given. */
export class BlockList {
  static readonly empty: BlockList = new BlockList(Buffer.alloc(0));

  readonly packed: Buffer;
  readonly count: number;
  #offsets: Float64Array | undefined;
  #table: KeyTable | undefined;

  /** `packed` as it was stored; throws ERR_STATE if it cannot be a list. Any content can. */
  static from(packed: Buffer): BlockList {
    if (packed.length % listedSize !== 0) {
      throw new ReplicaError('ERR_STATE', `block list of ${packed.length} bytes`);
    }
    return new BlockList(packed);
  }

  private constructor(packed: Buffer) {
    this.packed = packed;
    this.count = packed.length / listedSize;
  }

  /** Size of the file, in bytes. */
  get byteCount(): number {
    return this.offsetAt(this.count);
  }

  sizeAt(i: number): number {
    assert(i >= 0 && i < this.count);
    return this.packed.readUInt16BE(i * listedSize) + 1;
  }

  /** A view, not a copy. */
  idAt(i: number): Buffer {
    assert(i >= 0 && i < this.count);
    return this.packed.subarray(i * listedSize + 2, (i + 1) * listedSize);
  }

  /** True if block `i` has this id. */
  isAt(i: number, id: Buffer): boolean {
    assert(i >= 0 && i < this.count);
    return id.compare(this.packed, i * listedSize + 2, (i + 1) * listedSize) === 0;
  }

  /** Where block `i` begins, in bytes; `i` may be `count`. Costs 8 bytes a block once asked. */
  offsetAt(i: number): number {
    assert(i >= 0 && i <= this.count);
    this.#offsets ??= this.#sumSizes();
    return this.#offsets[i] ?? 0;
  }

  /**
   * The first block at or after `near` with this id, else one before it, else -1. Costs 8 bytes a
   * block once asked. May miss a block among dozens whose ids begin alike (made so by a peer).
   */
  indexOf(id: Buffer, near = 0): number {
    if (this.#table === undefined) {
      this.#table = new KeyTable();
      this.#table.build(this.packed, { stride: listedSize, offset: 2 });
    }
    return this.#table.find(id, near);
  }

  #sumSizes(): Float64Array {
    const offsets = new Float64Array(this.count + 1);
    let sum = 0;
    for (let i = 0; i < this.count; i++) {
      sum += this.sizeAt(i);
      offsets[i + 1] = sum;
    }
    return offsets;
  }
}

/** Collects blocks; reusable after build(). */
export class BlockListBuilder {
  readonly #packed = new GrowingBuffer();

  /** `size` in bytes, 1 to blockSizeMax. */
  add(id: Buffer, size: number): void {
    assert(size >= 1 && size <= blockSizeMax && id.length === blockIdSize);
    this.#packed.appendUInt16BE(size - 1);
    this.#packed.append(id);
  }

  /** Adds `count` blocks of `list` from block `from` on. */
  addRun(list: BlockList, run: { readonly from: number; readonly count: number }): void {
    const { from, count } = run;
    assert(from >= 0 && count >= 0 && from + count <= list.count);
    this.#packed.append(list.packed.subarray(from * listedSize, (from + count) * listedSize));
  }

  /** Packed, from block `from` on; valid until the next call. */
  packedFrom(from: number): Buffer {
    return this.#packed.from(from * listedSize);
  }

  /** Everything added since the last build, which may be nothing. */
  build(): BlockList {
    return this.#packed.size === 0 ? BlockList.empty : BlockList.from(this.#packed.take());
  }

  /** Forgets what was added. */
  clear(): void {
    this.#packed.clear();
  }
}
