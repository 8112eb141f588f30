// Writes fixed layouts field by field, big endian, into a Buffer whose size was computed first.
// A value that does not fit its field is a bug of the caller and throws a RangeError.
import assert from 'node:assert/strict';
import type { Entry } from './entry.ts';
import { writeEntry, writeSize } from './entry-codec.ts';
import type { Name } from './name.ts';
import { writeInt64 } from './wide-integers.ts';

export class FieldWriter {
  readonly #bytes: Buffer;
  #offset: number;

  constructor(bytes: Buffer, offset = 0) {
    this.#bytes = bytes;
    this.#offset = offset;
  }

  get offset(): number {
    return this.#offset;
  }

  u8(value: number): void {
    this.#offset = this.#bytes.writeUInt8(value, this.#offset);
  }

  u16(value: number): void {
    this.#offset = this.#bytes.writeUInt16BE(value, this.#offset);
  }

  u32(value: number): void {
    this.#offset = this.#bytes.writeUInt32BE(value, this.#offset);
  }

  u48(value: number): void {
    this.#offset = this.#bytes.writeUIntBE(value, this.#offset, 6);
  }

  /** A u64 from a number of at most 2^53-1. */
  size(value: number): void {
    writeSize(this.#bytes, this.#offset, value);
    this.#offset += 8;
  }

  /** Modulo 2^64: an i64 as well. */
  u64(value: bigint): void {
    writeInt64(this.#bytes, this.#offset, value);
    this.#offset += 8;
  }

  flag(value: boolean): void {
    this.u8(value ? 1 : 0);
  }

  /** Copies `source`, which must be `size` bytes. */
  bytes(source: Buffer, size: number): void {
    assert.equal(source.length, size);
    this.#bytes.set(source, this.#offset);
    this.#offset += size;
  }

  latin1(text: string): void {
    this.#bytes.write(text, this.#offset, text.length, 'latin1');
    this.#offset += text.length;
  }

  entry(name: Name | '', entry: Entry): void {
    this.#offset = writeEntry(this.#bytes, this.#offset, name, entry);
  }
}
