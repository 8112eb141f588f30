// Bytes collected one after another; reused from file to file without allocating.

/** Kept from one take() to the next; a larger buffer is given away or dropped. */
const keptSize = 64 * 1024;
/** The list of a small file: there are as many as files in a commit. */
const firstSize = 128;
const nothing = Buffer.alloc(0);

export class GrowingBuffer {
  #bytes: Buffer = nothing;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  append(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#size);
    this.#size += bytes.length;
  }

  appendUInt16BE(value: number): void {
    this.#reserve(2);
    this.#size = this.#bytes.writeUInt16BE(value, this.#size);
  }

  /** What was appended from byte `from` on; valid until the next call. */
  from(from: number): Buffer {
    return this.#bytes.subarray(from, this.#size);
  }

  /** What was appended since the last take() or clear(); the caller's own. */
  take(): Buffer {
    const bytes = this.#bytes.subarray(0, this.#size);
    const taken = this.#bytes.length > keptSize ? bytes : Buffer.from(bytes);
    this.clear();
    return taken;
  }

  clear(): void {
    this.#size = 0;
    if (this.#bytes.length > keptSize) this.#bytes = nothing;
  }

  #reserve(byteCount: number): void {
    if (this.#size + byteCount <= this.#bytes.length) return;
    const size = Math.max(this.#size + byteCount, this.#bytes.length * 2, firstSize);
    const larger = Buffer.allocUnsafe(size);
    this.#bytes.copy(larger, 0, 0, this.#size);
    this.#bytes = larger;
  }
}
