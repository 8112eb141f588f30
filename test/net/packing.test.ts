import zlib from 'node:zlib';
import t from 'tap';
import { packedSizeMax, payloadSizeMax } from '../../src/limits.ts';
import { codecs } from '../../src/net/codec-stream.ts';
import { compressionFor, looksRandom, Packer } from '../../src/net/packing.ts';
import { encodeFrame } from '../../src/wire/frame.ts';
import { type Message, MessageType } from '../../src/wire/messages.ts';
import { encodePacked } from '../../src/wire/packed.ts';
import { bareEnd, drain, openPair, write } from '../support/connections.ts';
import { helloOf, randomMessage, welcome } from '../support/messages.ts';
import { randomBytes, seededRandom } from '../support/random.ts';

const always = { when: 'always' } as const;

function stageData(bytes: Buffer): Message {
  const id = Buffer.alloc(16, 1);
  return { type: MessageType.StageData, stage: 1, pieces: [{ kind: 'data', id, bytes }] };
}

/** A message that a sender may send at any time, of at most 64 KiB. */
function anyMessage(random: () => number): Message {
  for (;;) {
    const message = randomMessage(random);
    switch (message.type) {
      case MessageType.Offer:
      case MessageType.Operations:
      case MessageType.CommitEnd:
      case MessageType.StageData:
        return message;
    }
  }
}

for (const codec of codecs) {
  t.test(`messages arrive as they were sent, packed by ${codec} or plain`, async t => {
    for (let seed = 1; seed <= 3; seed++) {
      t.comment(`seed ${seed}`);
      const random = seededRandom(seed);
      const compression = [{ when: 'always', codec }, { when: 'unpack' }] as const;
      const { sender, receiver } = await openPair(undefined, undefined, compression);
      const credits = drain(sender.messages);
      const sent: Message[] = [];
      const sending = (async () => {
        for (let i = 0; i < 60; i++) {
          const message =
            random() < 0.2 ? stageData(randomBytes(random, 60_000)) : anyMessage(random);
          sent.push(message);
          await sender.connection.send(message);
          if (random() < 0.3) await new Promise(setImmediate);
        }
        await sender.connection.close({ code: 'shutdown', message: 'the end' });
      })();
      const { received, error } = await drain(receiver.messages);
      await Promise.all([sending, credits]);
      t.equal(error, undefined);
      t.match(received.pop(), { type: MessageType.Failure, message: 'the end' });
      t.same(received, sent);
    }
  });
}

t.test('both directions are packed when one side asks for it, and noise is not', async t => {
  const text = Buffer.from('the same words again and again. '.repeat(2000));
  const noise = randomBytes(seededRandom(1), 60_000);
  const compression = [always, { when: 'unpack' }] as const;
  const { sender, receiver } = await openPair(undefined, undefined, compression);
  const before = receiver.connection.bytesReceived;
  await sender.connection.send(stageData(text));
  await receiver.messages.next();
  const packed = receiver.connection.bytesReceived - before;
  t.ok(packed < 1000, `${packed} bytes`);
  await sender.connection.send(stageData(noise));
  await receiver.messages.next();
  const plain = receiver.connection.bytesReceived - before - packed;
  t.equal(plain, encodeFrame(stageData(noise)).length);
  const back = sender.connection.bytesReceived;
  await receiver.connection.send({ type: MessageType.Need, batch: 1, bitmap: Buffer.alloc(1024) });
  await sender.messages.next();
  t.ok(sender.connection.bytesReceived - back < 100);
  await sender.connection.close();
});

t.test('nothing is packed unless both sides can', async t => {
  const text = stageData(Buffer.alloc(60_000, 'text '));
  for (const compression of [[always], [undefined, always], [always, { when: 'never' }]] as const) {
    const { sender, receiver } = await openPair(undefined, undefined, compression);
    const before = receiver.connection.bytesReceived;
    await sender.connection.send(text);
    await receiver.messages.next();
    t.equal(receiver.connection.bytesReceived - before, encodeFrame(text).length);
    await sender.connection.close();
  }
});

t.test('on one machine nothing is packed unless it is asked for', async t => {
  t.same(compressionFor(undefined, true), { when: 'unpack' });
  t.same(compressionFor(undefined, false), { when: 'spare' });
  t.same(compressionFor(always, true), always);
});

t.test('noise is told from text by few samples', async t => {
  const noise = randomBytes(seededRandom(2), 300_000);
  t.equal(looksRandom(noise), true);
  t.equal(looksRandom(Buffer.from(noise.toString('base64'))), false);
  t.equal(looksRandom(noise.subarray(0, 100)), false, 'too small to tell');
  for (const size of [4096, 4097, 5000]) t.equal(looksRandom(noise.subarray(0, size)), true);
});

/** A receiver to which a peer's sender greeted; what it makes of the packed frames that follow. */
async function outcome(...frames: readonly Buffer[]) {
  const { connection, messages, stream } = bareEnd(undefined, { when: 'unpack' });
  write(stream, helloOf('sender', { features: 1n }));
  await messages.next();
  connection.setPayloadLimit(payloadSizeMax);
  await connection.send(welcome);
  for (const frame of frames) stream.write(frame);
  stream.resume();
  const { received, error } = await drain(messages);
  await connection.closed;
  return { received, error, connection };
}

function brotli(bytes: Buffer, isLast = false): Buffer {
  const { BROTLI_OPERATION_FLUSH, BROTLI_OPERATION_FINISH, BROTLI_PARAM_QUALITY } = zlib.constants;
  const finishFlush = isLast ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_FLUSH;
  return zlib.brotliCompressSync(bytes, { finishFlush, params: { [BROTLI_PARAM_QUALITY]: 2 } });
}

t.test('packed frames that are not what they say end the connection', async t => {
  const frame = encodeFrame(stageData(Buffer.alloc(10_000, 'x')));
  const size = frame.length;
  const good = brotli(frame);
  const nested = encodePacked({ codec: 'brotli', size, parts: [good] });
  const pack = (bytes: Buffer, announced: number) =>
    encodePacked({ codec: 'brotli', size: announced, parts: [bytes] });
  const rows: [string, readonly Buffer[], RegExp][] = [
    ['more than announced', [pack(good, size - 1)], /more than the 10033 announced/],
    ['less than announced', [pack(good, size + 1)], /10034 came/],
    ['cut short', [pack(good.subarray(0, 20), size)], /came|unpacked/],
    ['garbage', [pack(Buffer.alloc(50, 0xff), size)], /came|unpacked/],
    ['bytes behind the end', [pack(Buffer.concat([brotli(frame, true), good]), size)], /unpacked/],
    ['a stream that ended', [pack(brotli(frame, true), size), pack(good, size)], /unpacked/],
    ['half a frame', [pack(brotli(frame.subarray(0, 5000)), 5000)], /cut off/],
    ['packed twice', [pack(brotli(nested), nested.length)], /type 7/],
    [
      'a codec that was not offered',
      [encodePacked({ codec: 'zstd', size, parts: [good] })],
      /zstd/,
    ],
    ['a bomb', [pack(brotli(Buffer.alloc(64 * 1024 * 1024)), packedSizeMax)], /more than/],
  ];
  for (const [what, frames, message] of rows) {
    // Where both codecs are there, zstd is offered as well: its bytes are no brotli.
    const isOffered = what.startsWith('a codec') && codecs.includes('zstd');
    const { error } = await outcome(...frames);
    t.match(error, { code: 'ERR_PROTOCOL', message: isOffered ? /unpacked/ : message }, what);
  }
});

t.test('a bomb is put out before it takes memory', async t => {
  const bomb = brotli(Buffer.alloc(256 * 1024 * 1024));
  const frames = [encodePacked({ codec: 'brotli', size: packedSizeMax, parts: [bomb] })];
  const before = process.memoryUsage();
  const peaks: number[] = [];
  const watch = setInterval(() => {
    const { external, arrayBuffers } = process.memoryUsage();
    peaks.push(external + arrayBuffers);
  }, 1);
  t.match((await outcome(...frames)).error, { code: 'ERR_PROTOCOL' });
  clearInterval(watch);
  const grown = Math.max(...peaks, 0) - before.external - before.arrayBuffers;
  t.ok(grown < 32 * 1024 * 1024, `${grown} bytes more`);
});

t.test('a packed frame before the greeting is a message out of turn', async t => {
  const { messages, stream } = bareEnd(undefined, { when: 'unpack' });
  stream.write(encodePacked({ codec: 'brotli', size: 100, parts: [brotli(Buffer.alloc(100))] }));
  stream.resume();
  t.match((await drain(messages)).error, { code: 'ERR_PROTOCOL', message: /type 7/ });
});

t.test('what was packed before the peer ended is handed out', async t => {
  const compression = [always, { when: 'unpack' }] as const;
  const { sender, receiver } = await openPair(undefined, undefined, compression);
  const text = stageData(Buffer.alloc(60_000, 'text '));
  for (let i = 0; i < 5; i++) await sender.connection.send(text);
  // The sender waits for the end of the other side, but not for ever.
  const closed = sender.connection.close();
  const { received, error } = await drain(receiver.messages);
  t.equal(error, undefined);
  t.equal(received.length, 5);
  await receiver.connection.close();
  await closed;
});

t.test('what was packed before the link was lost is handed out, then the error', async t => {
  const { connection, messages, stream } = bareEnd(undefined, { when: 'unpack' });
  stream.resume();
  write(stream, helloOf('sender', { features: 1n }));
  await messages.next();
  connection.setPayloadLimit(payloadSizeMax);
  await connection.send(welcome);
  const packer = new Packer('brotli', { level: undefined, checksum: false });
  t.teardown(() => packer.close());
  const text = stageData(Buffer.alloc(60_000, 'text '));
  const packed: Buffer[] = [];
  for (let i = 0; i < 3; i++) {
    packed.push((await packer.pack(encodeFrame(text))) ?? Buffer.alloc(0));
  }
  const first = messages.next();
  stream.write(Buffer.concat(packed));
  stream.destroy(new Error('gone'));
  await connection.closed;
  t.same((await first).value, text);
  const { received, error } = await drain(messages);
  t.same(received, [text, text]);
  t.match(error, { code: 'ERR_SOCKET', message: /ECONNRESET/ });
});
