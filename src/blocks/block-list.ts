// A file's blocks in order, packed: 18 bytes each (size - 1 as u16 BE, 16-byte id), as it is kept
// in the stores of both sides.
import assert from 'node:assert/strict';
import { ReplicaError } from '../errors.ts';
import { blockIdSize, blockSizeMax } from '../limits.ts';
import { KeyTable } from './key-table.ts';

const recordSize = 2 + blockIdSize;

/** Immutable; `packed` belongs to it once given. */
export class BlockList {
  static readonly empty: BlockList = new BlockList(Buffer.alloc(0));

  readonly packed: Buffer;
  readonly count: number;
  #offsets: Float64Array | undefined;
  #table: KeyTable | undefined;

  /** `packed` as it was stored; throws ERR_STATE if it cannot be a list. Any content can. */
  static from(packed: Buffer): BlockList {
    if (packed.length % recordSize !== 0) {
      throw new ReplicaError('ERR_STATE', `block list of ${packed.length} bytes`);
    }
    return new BlockList(packed);
  }

  private constructor(packed: Buffer) {
    this.packed = packed;
    this.count = packed.length / recordSize;
  }

  /** Size of the file, in bytes. */
  get byteCount(): number {
    return this.offsetAt(this.count);
  }

  sizeAt(i: number): number {
    assert(i >= 0 && i < this.count);
    return this.packed.readUInt16BE(i * recordSize) + 1;
  }

  /** A view, not a copy. */
  idAt(i: number): Buffer {
    assert(i >= 0 && i < this.count);
    return this.packed.subarray(i * recordSize + 2, (i + 1) * recordSize);
  }

  /** True if block `i` has this id. */
  isAt(i: number, id: Buffer): boolean {
    assert(i >= 0 && i < this.count);
    return id.compare(this.packed, i * recordSize + 2, (i + 1) * recordSize) === 0;
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
      this.#table.build(this.packed, { stride: recordSize, offset: 2 });
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
  #packed = Buffer.allocUnsafeSlow(256 * recordSize);
  #size = 0;

  /** `size` in bytes, 1 to blockSizeMax. */
  add(id: Buffer, size: number): void {
    assert(size >= 1 && size <= blockSizeMax && id.length === blockIdSize);
    this.#reserve(recordSize);
    this.#size = this.#packed.writeUInt16BE(size - 1, this.#size);
    this.#packed.set(id, this.#size);
    this.#size += blockIdSize;
  }

  /** Adds `count` blocks of `list` from block `from` on. */
  addRun(list: BlockList, run: { readonly from: number; readonly count: number }): void {
    assert(run.from >= 0 && run.count >= 0 && run.from + run.count <= list.count);
    this.#reserve(run.count * recordSize);
    const start = run.from * recordSize;
    list.packed.copy(this.#packed, this.#size, start, start + run.count * recordSize);
    this.#size += run.count * recordSize;
  }

  /** Everything added since the last build, which may be nothing. */
  build(): BlockList {
    if (this.#size === 0) return BlockList.empty;
    const list = BlockList.from(Buffer.from(this.#packed.subarray(0, this.#size)));
    this.#size = 0;
    return list;
  }

  /** Forgets what was added. */
  clear(): void {
    this.#size = 0;
  }

  #reserve(byteCount: number): void {
    if (this.#size + byteCount <= this.#packed.length) return;
    const larger = Buffer.allocUnsafeSlow(
      Math.max(this.#size + byteCount, this.#packed.length * 2),
    );
    this.#packed.copy(larger, 0, 0, this.#size);
    this.#packed = larger;
  }
}
