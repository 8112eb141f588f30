// Finds a 16-byte key among records of a Buffer by its place. Chained hash table over the first 32
// bits of the keys, which are hashes already; reusable, 8 bytes a record.

/** Records looked at for one key: bounds the time on keys made to begin alike. */
const stepsMax = 64;
const keySize = 16;
/** A table made for more records than this is not kept for much smaller ones. */
const keptCount = 65536;

export class KeyTable {
  #bytes: Buffer = Buffer.alloc(0);
  #stride = keySize;
  #offset = 0;
  #mask = 0;
  #heads = new Int32Array(0);
  #next = new Int32Array(0);

  /** Indexes bytes[i * stride + offset, + 16) for every whole record i. Borrows `bytes`. */
  build(bytes: Buffer, layout: { readonly stride: number; readonly offset: number }): void {
    const count = Math.floor(bytes.length / layout.stride);
    const size = 2 ** Math.ceil(Math.log2(Math.max(count, 16)));
    const isWasteful = this.#heads.length > keptCount && this.#heads.length > 4 * size;
    if (this.#heads.length < size || isWasteful) {
      this.#heads = new Int32Array(size);
      this.#next = new Int32Array(size);
    }
    this.#bytes = bytes;
    this.#stride = layout.stride;
    this.#offset = layout.offset;
    this.#mask = size - 1;
    this.#heads.fill(-1, 0, size);
    // Backwards, so that every chain runs upwards.
    for (let i = count - 1; i >= 0; i--) {
      const slot = bytes.readInt32LE(i * layout.stride + layout.offset) & this.#mask;
      this.#next[i] = this.#heads[slot] ?? -1;
      this.#heads[slot] = i;
    }
  }

  /** The first record at or after `near` with this key, else one before it, else -1. */
  find(key: Buffer, near: number): number {
    let before = -1;
    let at = this.#heads[key.readInt32LE(0) & this.#mask] ?? -1;
    for (let steps = 0; at !== -1 && steps < stepsMax; steps++) {
      if (this.#has(at, key)) {
        if (at >= near) return at;
        before = at;
      }
      at = this.#next[at] ?? -1;
    }
    return before;
  }

  #has(i: number, key: Buffer): boolean {
    const at = i * this.#stride + this.#offset;
    return key.compare(this.#bytes, at, at + keySize) === 0;
  }
}
