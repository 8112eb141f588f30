// A patch makes a block from an older version of its file: bytes to insert and ranges to copy.
//
// Repeated until the block is complete: varint count of bytes, bytes, and unless that completes it
// varint size (1 up) and zigzag varint of where the copy begins, from where the last one ended.
// A varint has seven bits a byte, lowest first.
import assert from 'node:assert/strict';
import { ReplicaError } from '../errors.ts';
import { fileSizeMax } from '../limits.ts';
import { GrowingBuffer } from './growing-buffer.ts';

/** Bytes that the older version has at `from` and the block at `at`. */
export interface Copy {
  readonly at: number;
  readonly from: number;
  readonly size: number;
}

/** `copies` in order, not overlapping, each of a byte or more and within the block. */
export function encodePatch(block: Uint8Array, copies: readonly Copy[]): Buffer {
  const patch = new PatchWriter();
  let at = 0;
  let expected = 0;
  for (const copy of copies) {
    assert(copy.at >= at && copy.size > 0 && copy.at + copy.size <= block.length);
    patch.bytes(block.subarray(at, copy.at));
    patch.varint(copy.size);
    const step = copy.from - expected;
    patch.varint(step < 0 ? -2 * step - 1 : 2 * step);
    at = copy.at + copy.size;
    expected = copy.from + copy.size;
  }
  if (at < block.length) patch.bytes(block.subarray(at));
  return patch.take();
}

class PatchWriter {
  readonly #bytes = scratch;

  bytes(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.#bytes.append(bytes);
  }

  varint(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes.append(singles[(rest % 0x80) + 0x80] ?? none);
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes.append(singles[rest] ?? none);
  }

  take(): Buffer {
    return this.#bytes.take();
  }
}

const scratch = new GrowingBuffer();
const none = Buffer.alloc(0);
const singles = Array.from({ length: 256 }, (_, byte) => Buffer.from([byte]));

/**
 * The block of `size` bytes that `patch` makes; `read(from, into)` fills `into` from the older
 * version. Throws ERR_PROTOCOL when the patch makes another size or asks for what no file can have.
 */
export function applyPatch(
  patch: Buffer,
  size: number,
  read: (from: number, into: Buffer) => void,
): Buffer {
  const block = Buffer.allocUnsafe(size);
  const reader = new PatchReader(patch);
  let at = 0;
  let expected = 0;
  while (at < size) {
    const count = reader.varint();
    if (count > size - at) throw wrong('inserts more than the block');
    reader.bytes(count).copy(block, at);
    at += count;
    if (at === size) break;
    const length = reader.varint();
    if (length === 0 || length > size - at) throw wrong('copies more than the block, or nothing');
    const step = reader.varint();
    const from = expected + (step % 2 === 1 ? -(step + 1) / 2 : step / 2);
    if (from < 0 || from + length > fileSizeMax) throw wrong('copies from outside a file');
    read(from, block.subarray(at, at + length));
    at += length;
    expected = from + length;
  }
  if (!reader.isAtEnd) throw wrong('goes on after its block');
  return block;
}

class PatchReader {
  readonly #patch: Buffer;
  #at = 0;

  constructor(patch: Buffer) {
    this.#patch = patch;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#patch.length;
  }

  varint(): number {
    let value = 0;
    // Eight bytes: 2^56 - 1, of which no more than 2^54 is of use.
    for (let scale = 1; scale < 2 ** 56; scale *= 0x80) {
      const byte = this.#patch[this.#at++];
      if (byte === undefined) break;
      value += (byte % 0x80) * scale;
      if (byte < 0x80) {
        if (value > 2 * fileSizeMax) break;
        return value;
      }
    }
    throw wrong('ends within a number, or has one too long');
  }

  bytes(count: number): Buffer {
    const bytes = this.#patch.subarray(this.#at, this.#at + count);
    if (bytes.length < count) throw wrong('ends within its bytes');
    this.#at += count;
    return bytes;
  }
}

function wrong(what: string): ReplicaError {
  return new ReplicaError('ERR_PROTOCOL', `field patch ${what}`);
}
