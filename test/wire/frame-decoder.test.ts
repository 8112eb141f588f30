import t from 'tap';
import { ReplicaError } from '../../src/errors.ts';
import { payloadSizeMax } from '../../src/limits.ts';
import { encodeFrame, FrameChecksum, frameSize } from '../../src/wire/frame.ts';
import { type Frame, FrameDecoder } from '../../src/wire/frame-decoder.ts';
import { type Message, MessageType } from '../../src/wire/messages.ts';
import { helloOf, randomMessage } from '../support/messages.ts';
import { randomInteger, seededRandom } from '../support/random.ts';

function decoderFor(checksum: boolean): FrameDecoder {
  const decoder = new FrameDecoder({ checksum });
  decoder.setPayloadSizeMax(payloadSizeMax);
  return decoder;
}

function* frames(decoder: FrameDecoder): Generator<Frame> {
  for (let frame = decoder.next(); frame; frame = decoder.next()) yield frame;
}

const ping: Message = { type: MessageType.Ping, token: 0x0102030405060708n };

t.test('golden frames', async t => {
  t.equal(encodeFrame(ping).toString('hex'), '00000008040102030405060708');
  const checked = encodeFrame(ping, new FrameChecksum());
  t.equal(checked.toString('hex'), '00000008040102030405060708328a3b7951eb774c');
  t.equal(frameSize(ping, new FrameChecksum()), checked.length);
});

t.test('the same frames come out however the bytes were split', async t => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = seededRandom(seed);
    const checksum = random() < 0.5;
    const messages = Array.from({ length: 1 + randomInteger(random, 8) }, () =>
      randomMessage(random),
    );
    const sum = checksum ? new FrameChecksum() : undefined;
    const bytes = Buffer.concat(messages.map(message => encodeFrame(message, sum)));
    const whole = decoderFor(checksum);
    whole.push(bytes);
    const expected = [...frames(whole)].map(frame => ({
      ...frame,
      payload: Buffer.from(frame.payload),
    }));
    if (expected.length !== messages.length) t.fail(`count, seed ${seed}`);
    const split = decoderFor(checksum);
    const got: Frame[] = [];
    for (let at = 0; at < bytes.length; ) {
      const step = random() < 0.5 ? 1 : 1 + randomInteger(random, bytes.length);
      split.push(Buffer.from(bytes.subarray(at, at + step)));
      at += step;
      // Whether it is asked after every chunk makes no difference either.
      if (random() < 0.7) got.push(...frames(split));
    }
    got.push(...frames(split));
    if (!t.same(got, expected, `seed ${seed}`)) break;
    if (split.isPartial || split.bufferedBytes !== 0) t.fail(`left over, seed ${seed}`);
  }
});

t.test('refuses an over-long frame on its 4 length bytes alone', async t => {
  const decoder = new FrameDecoder({ checksum: false });
  decoder.push(Buffer.from('00001001', 'hex'));
  t.throws(() => decoder.next(), { code: 'ERR_PROTOCOL', message: /4097 bytes/ });
  const open = decoderFor(false);
  open.push(Buffer.from('00', 'hex'));
  t.equal(open.next(), undefined);
  open.push(Buffer.from('100001', 'hex'));
  t.throws(() => open.next(), { code: 'ERR_PROTOCOL', message: /1048577 bytes/ });
});

t.test('the longest frame that is allowed comes through', async t => {
  const longest = Buffer.alloc(5 + payloadSizeMax, 7);
  longest.writeUInt32BE(payloadSizeMax);
  const decoder = decoderFor(false);
  decoder.push(longest);
  t.equal(decoder.next()?.payload.length, payloadSizeMax);
});

t.test('the limit counts from the next header on', async t => {
  const decoder = new FrameDecoder({ checksum: false });
  const large = Buffer.alloc(5 + 5000, 7);
  large.writeUInt32BE(5000);
  decoder.push(Buffer.concat([encodeFrame(helloOf('sender')), large]));
  t.equal(decoder.next()?.type, MessageType.Hello);
  decoder.setPayloadSizeMax(payloadSizeMax);
  t.equal(decoder.next()?.payload.length, 5000);
});

t.test('any flipped bit of a plain frame is found', async t => {
  const bytes = encodeFrame(ping, new FrameChecksum());
  // What follows a frame whose length was made larger.
  const following = Buffer.alloc(payloadSizeMax + 100);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes);
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    const decoder = decoderFor(true);
    decoder.push(Buffer.concat([flipped, following]));
    t.throws(() => decoder.next(), { code: 'ERR_PROTOCOL', message: /damaged/ }, `bit ${bit}`);
  }
});

t.test('says what else the peer speaks', async t => {
  const rows: [string, RegExp][] = [
    ['GET / HTTP/1.1\r\n', /began with "GET "/],
    ['SSH-2.0-x', /began with "SSH-"/],
    ['\x16\x03\x01\x02\x00\x01', /speaks TLS/],
    ['\x15\x03\x03\x00\x02', /speaks TLS/],
    ['\xff\xff\xff\xff', /over-long/],
  ];
  for (const [text, expected] of rows) {
    const decoder = new FrameDecoder({ checksum: true });
    decoder.push(Buffer.from(text, 'latin1'));
    t.throws(() => decoder.next(), { code: 'ERR_PROTOCOL', message: expected });
  }
});

t.test('a payload within one chunk is a view, one across chunks is put together once', async t => {
  const bytes = encodeFrame({ type: MessageType.Offer, batch: 1, ids: Buffer.alloc(1600, 3) });
  const whole = decoderFor(false);
  whole.push(bytes);
  t.equal(whole.next()?.payload.buffer, bytes.buffer);
  const split = decoderFor(false);
  t.equal(split.partialSize, 0);
  split.push(bytes.subarray(0, 3));
  t.equal(split.next(), undefined);
  t.equal(split.partialSize, 1, 'its length is not there');
  split.push(bytes.subarray(3, 100));
  t.equal(split.next(), undefined);
  t.equal(split.bufferedBytes, 0, 'the chunk is not held on to');
  t.equal(split.isPartial, true);
  t.equal(split.partialSize, bytes.length);
  split.push(bytes.subarray(100));
  t.ok(split.next()?.payload.equals(bytes.subarray(5)));
});

t.test('random bytes give frames or ERR_PROTOCOL', async t => {
  for (let seed = 1; seed <= 2000; seed++) {
    const random = seededRandom(seed);
    const decoder = decoderFor(random() < 0.5);
    try {
      for (let i = 0; i < 20; i++) {
        const chunk = Buffer.from(Array.from({ length: 7 }, () => randomInteger(random, 256)));
        if (random() < 0.7) chunk.fill(0, 0, 3);
        decoder.push(chunk);
        for (const _ of frames(decoder));
      }
    } catch (error) {
      if (!(error instanceof ReplicaError) || error.code !== 'ERR_PROTOCOL') t.fail(`seed ${seed}`);
    }
  }
  t.pass();
});
