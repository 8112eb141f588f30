// Reads fixed layouts field by field, big endian. Every read is checked against the end first, and
// every failure is an ERR_PROTOCOL that names the field, so that a decoder built from these calls
// can do nothing else than return a value or throw that.
import { ReplicaError } from '../errors.ts';
import { fileSizeMax } from '../limits.ts';
import { readInt64, readUint64 } from './wide-integers.ts';

export class FieldReader {
  readonly #bytes: Buffer;
  #offset: number;

  /** Reads `bytes` from `offset` to its end. Buffers it returns are views of `bytes`. */
  constructor(bytes: Buffer, offset = 0) {
    this.#bytes = bytes;
    this.#offset = offset;
  }

  get offset(): number {
    return this.#offset;
  }

  /** Bytes not read yet. */
  get left(): number {
    return this.#bytes.length - this.#offset;
  }

  u8(field: string, min = 0, max = 0xff): number {
    const at = this.#take(field, 1);
    return this.#within(field, this.#bytes.readUInt8(at), min, max);
  }

  u16(field: string, min = 0, max = 0xffff): number {
    const at = this.#take(field, 2);
    return this.#within(field, this.#bytes.readUInt16BE(at), min, max);
  }

  u32(field: string, min = 0, max = 0xffffffff): number {
    const at = this.#take(field, 4);
    return this.#within(field, this.#bytes.readUInt32BE(at), min, max);
  }

  u48(field: string, min: number, max: number): number {
    const at = this.#take(field, 6);
    return this.#within(field, this.#bytes.readUIntBE(at, 6), min, max);
  }

  /** A u64 that must fit a JavaScript number. */
  size(field: string, min = 0, max = fileSizeMax): number {
    const at = this.#take(field, 8);
    const high = this.#bytes.readUInt32BE(at);
    if (high > 0x1fffff) this.fail(field, 'is over 2^53-1');
    return this.#within(field, high * 0x1_0000_0000 + this.#bytes.readUInt32BE(at + 4), min, max);
  }

  u64(field: string): bigint {
    return readUint64(this.#bytes, this.#take(field, 8));
  }

  i64(field: string): bigint {
    return readInt64(this.#bytes, this.#take(field, 8));
  }

  /** A byte that is 0 or 1. */
  flag(field: string): boolean {
    return this.u8(field, 0, 1) === 1;
  }

  /** The next `size` bytes as a view. */
  bytes(field: string, size: number): Buffer {
    const at = this.#take(field, size);
    return this.#bytes.subarray(at, at + size);
  }

  latin1(field: string, size: number): string {
    const at = this.#take(field, size);
    return this.#bytes.toString('latin1', at, at + size);
  }

  /** Refuses bytes after the last field. */
  end(): void {
    if (this.left !== 0) this.fail('end', `has ${this.left} bytes too many`);
  }

  fail(field: string, what: string): never {
    throw new ReplicaError('ERR_PROTOCOL', `field ${field} ${what}`);
  }

  #take(field: string, size: number): number {
    const at = this.#offset;
    if (size > this.#bytes.length - at) this.fail(field, 'is cut short');
    this.#offset = at + size;
    return at;
  }

  #within(field: string, value: number, min: number, max: number): number {
    if (value < min || value > max) this.fail(field, `is ${value}, not ${min} to ${max}`);
    return value;
  }
}
