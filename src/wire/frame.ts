// A frame: u32 payload length | u8 type | payload | plaintext only: 8 bytes XXH3-64 of all of it.
// Big endian. TLS authenticates every byte by itself; without it nothing else would notice a
// flipped name or mode.
import assert from 'node:assert/strict';
import xxhash from 'xxhash-addon';
import { payloadSizeMax } from '../limits.ts';
import { encodedSize, writeMessage } from './codec.ts';
import type { Message } from './messages.ts';

export const frameHeaderSize = 5;
export const checksumSize = 8;

/** XXH3-64, seed 0, of what a frame holds before it. Finds damage, does not stop an attacker. */
export class FrameChecksum {
  readonly #hasher = new xxhash.XXHash3(Buffer.alloc(8));

  digest(...parts: readonly Buffer[]): Buffer {
    this.#hasher.reset();
    for (const part of parts) {
      // The addon crashes the process on anything else.
      assert(Buffer.isBuffer(part));
      this.#hasher.update(part);
    }
    return this.#hasher.digest();
  }
}

/** Bytes of the whole frame; `checksum` only where the link has no TLS. */
export function frameSize(message: Message, checksum?: FrameChecksum): number {
  return frameHeaderSize + encodedSize(message) + (checksum ? checksumSize : 0);
}

/**
 * Writes the frame of `message` at `offset`; returns the offset behind it. Everything is copied:
 * Buffers of the message may change afterwards.
 */
export function writeFrame(
  message: Message,
  target: { readonly bytes: Buffer; readonly offset: number },
  checksum?: FrameChecksum,
): number {
  const { bytes, offset } = target;
  const size = encodedSize(message);
  assert(size <= payloadSizeMax, `payload of ${size} bytes`);
  bytes.writeUInt32BE(size, offset);
  bytes.writeUInt8(message.type, offset + 4);
  const end = writeMessage(message, bytes, offset + frameHeaderSize);
  assert.equal(end, offset + frameHeaderSize + size);
  if (!checksum) return end;
  bytes.set(checksum.digest(bytes.subarray(offset, end)), end);
  return end + checksumSize;
}

/** The frame of `message` in a new Buffer. */
export function encodeFrame(message: Message, checksum?: FrameChecksum): Buffer {
  const bytes = Buffer.allocUnsafe(frameSize(message, checksum));
  assert.equal(writeFrame(message, { bytes, offset: 0 }, checksum), bytes.length);
  return bytes;
}
