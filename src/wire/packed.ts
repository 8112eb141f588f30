// A frame whose payload is other frames, compressed. Each direction is one compressed stream, cut
// where the sender of it flushed, with plain frames in between: what does not compress goes plain.
import assert from 'node:assert/strict';
import { ReplicaError } from '../errors.ts';
import { packedSizeMax, payloadSizeMax } from '../limits.ts';
import { type FrameChecksum, frameHeaderSize } from './frame.ts';

/** Frame type, beside those of messages. */
export const packedType = 7;

export type Codec = 'brotli' | 'zstd';
const codecs: readonly Codec[] = ['brotli', 'zstd'];
/** Bits of Hello's features: what a side can unpack. */
export const codecFeatures: { readonly [codec in Codec]: bigint } = { brotli: 1n, zstd: 2n };
/** Bit of Hello's features: this side asks to be sent packed frames wherever that saves bytes. */
export const packedWanted = 4n;

/** u8 codec | u32 size of the frames | compressed bytes. */
const packedHeaderSize = 5;

export interface Packed {
  readonly codec: Codec;
  /** Bytes of the frames in it. */
  readonly size: number;
  readonly bytes: Buffer;
}

export function encodePacked(
  packed: { readonly codec: Codec; readonly size: number; readonly parts: readonly Buffer[] },
  checksum?: FrameChecksum,
): Buffer {
  const { codec, size, parts } = packed;
  const length = parts.reduce((sum, part) => sum + part.length, packedHeaderSize);
  assert(length <= payloadSizeMax && size <= packedSizeMax);
  const head = Buffer.alloc(frameHeaderSize + packedHeaderSize);
  head.writeUInt32BE(length, 0);
  head.writeUInt8(packedType, 4);
  head.writeUInt8(codecs.indexOf(codec) + 1, frameHeaderSize);
  head.writeUInt32BE(size, frameHeaderSize + 1);
  const frame = Buffer.concat([head, ...parts]);
  return checksum ? Buffer.concat([frame, checksum.digest(frame)]) : frame;
}

/** Throws ERR_PROTOCOL for what cannot be one; `bytes` is a view of `payload`. */
export function decodePacked(payload: Buffer): Packed {
  const codec = payload.length > packedHeaderSize ? codecs[payload.readUInt8(0) - 1] : undefined;
  if (codec === undefined) throw new ReplicaError('ERR_PROTOCOL', 'field codec of packed frames');
  const size = payload.readUInt32BE(1);
  if (size <= frameHeaderSize || size > packedSizeMax) {
    throw new ReplicaError('ERR_PROTOCOL', `packed frames of ${size} bytes announced`);
  }
  return { codec, size, bytes: payload.subarray(packedHeaderSize) };
}
