// Bytes of what is asked about blocks, and answered. PROTOCOL.md has the tables.
import assert from 'node:assert/strict';
import {
  askedGrainsMax,
  askedRangesMax,
  blockIdSize,
  grainSizeMax,
  grainSizeMin,
  offerIdsMax,
} from '../limits.ts';
import { readNodeId } from '../snapshot/entry-codec.ts';
import type { FieldReader } from '../snapshot/field-reader.ts';
import type { FieldWriter } from '../snapshot/field-writer.ts';
import { readMany, writeCount } from './counts.ts';
import {
  type AskedFile,
  type ByteRange,
  type GetGrains,
  type Grains,
  MessageType,
  type Need,
  type Offer,
} from './messages.ts';

export type BlockMessage = Offer | Need | GetGrains | Grains;

/** What a file and a range of it take in a GetGrains. */
const fileHeadSize = 12;
const rangeSize = 10;
/** Offsets are u48. */
export const askedOffsetMax = 2 ** 48 - 1;
const hashSize = 4;

export function blockMessageSize(message: BlockMessage): number {
  switch (message.type) {
    case MessageType.Offer:
      return 6 + message.ids.length;
    case MessageType.Need:
      return 6 + message.bitmap.length;
    case MessageType.GetGrains:
      return message.files.reduce(
        (size, { ranges }) => size + fileHeadSize + rangeSize * ranges.length,
        16,
      );
    case MessageType.Grains:
      return message.ranges.reduce((size, hashes) => size + 4 + hashes.length, 6);
  }
}

export function writeBlockMessage(message: BlockMessage, writer: FieldWriter): void {
  writer.u32(message.batch);
  switch (message.type) {
    case MessageType.Offer:
      writeCount(writer, message.ids.length / blockIdSize, 1, offerIdsMax);
      writer.bytes(message.ids, message.ids.length);
      return;
    case MessageType.Need:
      writeCount(writer, message.bitmap.length, 1, offerIdsMax / 8);
      writer.bytes(message.bitmap, message.bitmap.length);
      return;
    case MessageType.GetGrains:
      writer.u64(message.factor);
      writer.u16(message.grainSize);
      writeCount(writer, message.files.length, 1, askedRangesMax);
      for (const { id, version, ranges } of message.files) {
        writer.u48(id);
        writer.u32(version);
        writeCount(writer, ranges.length, 1, askedRangesMax);
        for (const { offset, size } of ranges) {
          writer.u48(offset);
          writer.u32(size);
        }
      }
      return;
    case MessageType.Grains:
      writeCount(writer, message.ranges.length, 1, askedRangesMax);
      for (const hashes of message.ranges) {
        assert(hashes.length <= askedGrainsMax * hashSize && hashes.length % hashSize === 0);
        writer.u32(hashes.length / hashSize);
        writer.bytes(hashes, hashes.length);
      }
  }
}

export function readBlockMessage(type: BlockMessage['type'], reader: FieldReader): BlockMessage {
  const batch = reader.u32('batch');
  switch (type) {
    case MessageType.Offer: {
      const count = reader.u16('id count', 1, offerIdsMax);
      return { type, batch, ids: reader.bytes('ids', count * blockIdSize) };
    }
    case MessageType.Need: {
      const size = reader.u16('bitmap size', 1, offerIdsMax / 8);
      return { type, batch, bitmap: reader.bytes('bitmap', size) };
    }
    case MessageType.GetGrains:
      return readGetGrains(batch, reader);
    case MessageType.Grains: {
      const bounds = { min: 1, max: askedRangesMax, itemSizeMin: 4 };
      const ranges = readMany(reader, bounds, () => {
        return reader.bytes('hashes', reader.u32('hash count', 0, askedGrainsMax) * hashSize);
      });
      return { type, batch, ranges };
    }
  }
}

function readGetGrains(batch: number, reader: FieldReader): GetGrains {
  const factor = reader.u64('factor');
  const grainSize = reader.u16('grain size', grainSizeMin, grainSizeMax);
  let ranges = 0;
  let grains = 0;
  const readRange = (): ByteRange => {
    const offset = reader.u48('offset', 0, askedOffsetMax);
    const size = reader.u32('size', 1, askedGrainsMax * grainSize);
    grains += grainsIn(size, grainSize);
    if (++ranges > askedRangesMax) reader.fail('range count', 'is too large in all');
    if (grains > askedGrainsMax) reader.fail('size', 'is too large in all');
    return { offset, size };
  };
  const bounds = { min: 1, max: askedRangesMax };
  const fileBounds = { ...bounds, itemSizeMin: fileHeadSize + rangeSize };
  const rangeBounds = { ...bounds, itemSizeMin: rangeSize };
  const files = readMany(reader, fileBounds, (): AskedFile => {
    const id = readNodeId(reader, 'id');
    const version = reader.u32('version', 1);
    return { id, version, ranges: readMany(reader, rangeBounds, readRange) };
  });
  return { type: MessageType.GetGrains, batch, factor, grainSize, files };
}

/** Hashes that a range of `size` bytes has. */
export function grainsIn(size: number, grainSize: number): number {
  return Math.ceil(size / grainSize);
}
