// What does it cost to make frames of messages and to read them again, in chunks as a socket gives
// them, with checksums and without? 'naive' joins each chunk to all that is left and cuts it off again.
import { payloadSizeMax } from '../../src/limits.ts';
import { decodeMessage } from '../../src/wire/codec.ts';
import { encodeFrame, FrameChecksum, frameHeaderSize } from '../../src/wire/frame.ts';
import { FrameDecoder } from '../../src/wire/frame-decoder.ts';
import { type Message, MessageType } from '../../src/wire/messages.ts';
import { noise } from '../../test/support/content.ts';
import { randomMessage } from '../../test/support/messages.ts';
import { seededRandom } from '../../test/support/random.ts';
import { measure } from '../support/measure.ts';

const random = seededRandom(1);
const mixed: Message[] = [];
while (mixed.length < 2000) {
  const message = randomMessage(random);
  if (message.type !== MessageType.Hello) mixed.push(message);
}
const bytes = noise(1, 128 * 1024);
const pieces = [{ kind: 'data', id: noise(2, 16), bytes: bytes.subarray(0, 60_000) }] as const;
const large = Array.from(
  { length: 500 },
  (_, stage): Message => ({ type: MessageType.StageData, stage, pieces }),
);

function chunksOf(stream: Buffer, size: number): Buffer[] {
  const count = Math.ceil(stream.length / size);
  return Array.from({ length: count }, (_, i) => stream.subarray(i * size, (i + 1) * size));
}

function decode(chunks: readonly Buffer[], checksum: boolean): number {
  const decoder = new FrameDecoder({ checksum });
  decoder.setPayloadSizeMax(payloadSizeMax);
  let count = 0;
  for (const chunk of chunks) {
    decoder.push(chunk);
    for (let frame = decoder.next(); frame; frame = decoder.next()) {
      decodeMessage(frame.type, frame.payload);
      count++;
    }
  }
  return count;
}

function naive(chunks: readonly Buffer[]): number {
  let rest: Buffer = Buffer.alloc(0);
  let count = 0;
  for (const chunk of chunks) {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= frameHeaderSize) {
      const end = frameHeaderSize + rest.readUInt32BE(0);
      if (rest.length < end) break;
      decodeMessage(rest.readUInt8(4), rest.subarray(frameHeaderSize, end));
      rest = rest.subarray(end);
      count++;
    }
  }
  return count;
}

for (const [content, messages] of Object.entries({
  '2000 mixed messages': mixed,
  '500 of 60 kB': large,
})) {
  for (const checksum of [false, true]) {
    const sum = checksum ? new FrameChecksum() : undefined;
    const encode = (): Buffer[] => messages.map(message => encodeFrame(message, sum));
    const stream = Buffer.concat(encode());
    const options = { bytes: stream.length, runs: 31 };
    const link = checksum ? 'with checksums' : 'without';
    measure({ name: 'frames: encode', content, link }, options, encode);
    for (const size of [64 * 1024, 1400]) {
      const chunks = chunksOf(stream, size);
      if (decode(chunks, checksum) !== messages.length) throw new Error('frames are missing');
      const how = `in chunks of ${size}`;
      measure({ name: 'frames: decode', content, link, how }, options, () =>
        decode(chunks, checksum),
      );
      if (checksum) continue;
      if (naive(chunks) !== messages.length) throw new Error('naive frames are missing');
      measure({ name: 'frames: decode, naive', content, link, how }, options, () => naive(chunks));
    }
  }
}
