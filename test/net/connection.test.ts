import { Duplex } from 'node:stream';
import t from 'tap';
import { payloadSizeMax, windowBytesMax, writeQueueBytesMax } from '../../src/limits.ts';
import { Connection } from '../../src/net/connection.ts';
import { memoryDuplexPair } from '../../src/net/memory-duplex.ts';
import { memoryPair } from '../../src/net/memory-pair.ts';
import { encodeFrame } from '../../src/wire/frame.ts';
import { FrameDecoder } from '../../src/wire/frame-decoder.ts';
import { type Message, MessageType } from '../../src/wire/messages.ts';
import { bareEnd, drain, openPair, side, write } from '../support/connections.ts';
import { helloOf, welcome } from '../support/messages.ts';
import { until } from '../support/until.ts';

const abort: Message = { type: MessageType.StageAbort, stage: 1 };

function stageData(size: number, fill = 1): Message {
  const bytes = Buffer.alloc(size, fill);
  const pieces: Message & { type: 41 } = {
    type: MessageType.StageData,
    stage: 1,
    pieces: [{ kind: 'data', id: Buffer.alloc(16), bytes }],
  };
  return pieces;
}

/** Resolves to whether `promise` is settled by the time everything else has run. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const note = () => {
    settled = true;
  };
  promise.then(note, note);
  for (let i = 0; i < 20; i++) await new Promise(resolve => setImmediate(resolve));
  return settled;
}

t.test('messages come out in order, and after the last the end', async t => {
  const { sender, receiver } = await openPair();
  const drained = drain(receiver.messages);
  for (let stage = 0; stage < 1000; stage++) {
    await sender.connection.send({ type: MessageType.StageAbort, stage });
  }
  await sender.connection.close();
  const { received, error } = await drained;
  t.equal(error, undefined);
  t.same(
    received.map(message => (message.type === MessageType.StageAbort ? message.stage : -1)),
    Array.from({ length: 1000 }, (_, i) => i),
  );
  t.equal(receiver.connection.bytesReceived, sender.connection.bytesSent);
});

t.test('small frames of one turn share a write, and none stays behind', async t => {
  const writes: number[] = [];
  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      writes.push(chunk.length);
      done();
    },
  });
  const connection = Connection.over(stream, { checksum: false, peer: 'x' });
  t.teardown(() => connection.close());
  for (let i = 0; i < 1000; i++) await connection.send(abort);
  t.same(writes, [], 'still the same turn');
  await until(() => writes.length > 0);
  t.same(writes, [9000]);
  for (let i = 0; i < 10; i++) void connection.send(stageData(60_000));
  connection.flush();
  t.equal(writes.length, 2, 'one write is under way at a time');
  await until(() => writes.reduce((sum, size) => sum + size, 0) === connection.bytesSent);
  t.ok(writes.length <= 4, 'large ones go out in large writes');
});

t.test('what was sent may change afterwards', async t => {
  const { sender, receiver } = await openPair();
  const message = stageData(5000, 1);
  await sender.connection.send(message);
  if (message.type === MessageType.StageData && message.pieces[0]?.kind === 'data') {
    message.pieces[0].bytes.fill(2);
  }
  const { value } = await receiver.messages.next();
  t.same(value, stageData(5000, 1));
  await sender.connection.close();
});

t.test('a sender waits when the window is full, and goes on as the peer handles', async t => {
  const { sender, receiver } = await openPair();
  let sent = 0;
  const sending = (async () => {
    for (let i = 0; i < 300; i++) {
      await sender.connection.send(stageData(60_000));
      sent++;
    }
  })();
  const credits = drain(sender.messages);
  t.equal(await isSettled(sending), false);
  const stuck = sent;
  t.ok(sender.connection.inFlightBytes <= windowBytesMax + 100_000);
  t.equal(await isSettled(sending), false);
  t.equal(sent, stuck, 'nobody reads, nothing moves');
  for (let i = 0; i < 300; i++) await receiver.messages.next();
  await sending;
  const reading = drain(receiver.messages);
  await sender.connection.waitForCredit(0);
  t.equal(sender.connection.inFlightBytes, 0, 'an idle receiver credits the rest');
  // A rate takes some time in which something is on its way.
  while (sender.connection.creditBytesPerSecond === 0) {
    await sender.connection.send(stageData(60_000));
    await sender.connection.waitForCredit(0);
  }
  await sender.connection.close();
  await Promise.all([credits, reading]);
});

t.test('a message counts as handled when the next one is asked for', async t => {
  const { sender, receiver } = await openPair({ creditIdleMs: 1 });
  const credits = drain(sender.messages);
  await sender.connection.send(stageData(1000));
  await receiver.messages.next();
  const waiting = sender.connection.waitForCredit(0);
  t.equal(await isSettled(waiting), false);
  const next = receiver.messages.next();
  await waiting;
  await sender.connection.close();
  await Promise.all([credits, next]);
});

t.test('answers larger than the window do not wait for credit', async t => {
  const { sender, receiver } = await openPair();
  const wanted = 3 * windowBytesMax;
  const bitmap = Buffer.alloc(1024);
  let got = 0;
  const reading = (async () => {
    while (got < wanted && !(await sender.messages.next()).done) got += 1030;
  })();
  for (let sent = 0; sent < wanted; sent += 1030) {
    await receiver.connection.send({ type: MessageType.Need, batch: 1, bitmap });
  }
  await reading;
  t.ok(got >= wanted);
  await sender.connection.close();
});

t.test('nothing is read but at the pace of the consumer', async t => {
  const { connection, messages, stream } = bareEnd();
  write(stream, helloOf('sender'));
  await messages.next();
  connection.setPayloadLimit(payloadSizeMax);
  const frame = encodeFrame(stageData(60_000));
  let taken = 0;
  for (let i = 0; i < 500; i++) stream.write(frame, () => taken++);
  await isSettled(new Promise(() => {}));
  t.ok(connection.bytesReceived < 1024 * 1024, `${connection.bytesReceived} bytes were read`);
  t.ok(taken < 30, `${taken} frames were taken off the peer`);
  for (let i = 0; i < 100; i++) await messages.next();
  t.ok(connection.bytesReceived < 101 * frame.length + 1024 * 1024);
  void connection.close();
  stream.destroy();
});

t.test('a longer payload is refused before the peer is accepted', async t => {
  const { connection, messages, stream } = bareEnd();
  const answered = drain(side(Connection.over(stream, { checksum: false, peer: 'x' })).messages);
  write(stream, helloOf('sender'), stageData(5000));
  await messages.next();
  const { error } = await drain(messages);
  t.match(error, { code: 'ERR_PROTOCOL', message: /over-long/ });
  await t.rejects(connection.send(abort), { code: 'ERR_PROTOCOL' });
  t.match((await answered).received, [{ type: MessageType.Failure, code: 'protocol' }]);
});

t.test('another major version is refused in clear words, at both ends', async t => {
  const { connection, messages, stream } = bareEnd();
  const answered = drain(side(Connection.over(stream, { checksum: false, peer: 'x' })).messages);
  write(stream, helloOf('sender', { major: 2, minor: 3 }));
  const { error } = await drain(messages);
  const text = /version 2\.3 at one end, 1\.0 at the other: install the same release/;
  t.match(error, { code: 'ERR_PROTOCOL', message: text });
  t.match((await answered).received, [{ code: 'version', message: text }]);
  await connection.closed;
});

t.test('a message that may not come now ends the connection', async t => {
  const { messages, stream } = bareEnd();
  write(stream, abort);
  const { error } = await drain(messages);
  t.match(error, { code: 'ERR_PROTOCOL', message: /type 42 in state 'greeting'/ });
  stream.resume();
});

t.test('a Failure is the last message, and says why to whoever sends', async t => {
  const codes = {
    version: 'ERR_PROTOCOL',
    protocol: 'ERR_PROTOCOL',
    bug: 'ERR_PROTOCOL',
    foreign: 'ERR_FOREIGN',
    fenced: 'ERR_FENCED',
    io: 'ERR_IO',
    busy: 'ERR_SOCKET',
    shutdown: 'ERR_SOCKET',
  } as const;
  for (const [code, expected] of Object.entries(codes)) {
    const { sender, receiver } = await openPair();
    // The entries of `codes` are keyed by failure codes.
    const closing = receiver.connection.close({ code: code as keyof typeof codes, message: 'why' });
    const { received, error } = await drain(sender.messages);
    t.match(received, [{ type: MessageType.Failure, code, message: 'why' }]);
    t.equal(error, undefined);
    await t.rejects(sender.connection.send(abort), { code: expected, message: 'receiver: why' });
    await t.rejects(sender.connection.waitForCredit(0), { code: expected });
    await Promise.all([sender.connection.close(), closing]);
  }
});

t.test('a Failure arrives although the peer was sending and did not read', async t => {
  const { sender, receiver } = await openPair({ closeLingerMs: 1_000_000 });
  for (let i = 0; i < 100; i++) void sender.connection.send(stageData(60_000)).catch(() => {});
  await receiver.messages.next();
  const closing = receiver.connection.close({ code: 'io', message: 'disk full' });
  const { received } = await drain(sender.messages);
  t.match(received, [{ type: MessageType.Failure, code: 'io' }]);
  await sender.connection.close();
  await closing;
});

t.test('who sends learns why the peer closed, even before the consumer has read it', async t => {
  const { sender, receiver } = await openPair();
  const ended = drain(receiver.messages);
  const reading = sender.messages.next();
  await receiver.connection.send({ type: MessageType.Durable, commit: 1n });
  await receiver.connection.close({ code: 'fenced', message: 'a newer one' });
  await sender.connection.closed;
  await t.rejects(sender.connection.send(abort), { code: 'ERR_FENCED' });
  t.match((await reading).value, { type: MessageType.Durable });
  t.match((await drain(sender.messages)).received, [{ code: 'fenced' }]);
  await ended;
});

t.test('close is idempotent, ends the consumer and fails what waits', async t => {
  const { sender, receiver } = await openPair();
  const consuming = drain(sender.messages);
  for (let i = 0; i < 300; i++) void sender.connection.send(stageData(60_000)).catch(() => {});
  const waiting = sender.connection.waitForCredit(0);
  const closed = { code: 'ERR_SOCKET', message: /is closed/ };
  const rejected = t.rejects(waiting, closed);
  const first = sender.connection.close();
  t.equal(sender.connection.close({ code: 'bug', message: 'x' }), first);
  await rejected;
  t.same(await consuming, { received: [], error: undefined });
  await t.rejects(sender.connection.send(abort), closed);
  receiver.connection.close().catch(() => {});
  await first;
});

t.test('closing does not wait for a peer that does not read', async t => {
  const { connection } = bareEnd({ closeLingerMs: 20 });
  await connection.close({ code: 'busy', message: '' });
  t.pass();
});

t.test('a lost link: what had come is delivered, then the error', async t => {
  const { connection, messages, stream } = bareEnd();
  stream.write(Buffer.concat([helloOf('sender'), abort, abort].map(one => encodeFrame(one))));
  t.equal((await messages.next()).value?.type, MessageType.Hello);
  stream.destroy(new Error('gone'));
  await connection.closed;
  const { received, error } = await drain(messages);
  t.same(received, [abort, abort]);
  t.match(error, { code: 'ERR_SOCKET', message: 'connection to the peer lost (ECONNRESET)' });
  await t.rejects(connection.send(abort), { code: 'ERR_SOCKET' });
  await connection.close();
});

t.test('an end within a frame is no end', async t => {
  const { connection, messages, stream } = bareEnd();
  write(stream, helloOf('sender'));
  stream.end(encodeFrame(abort).subarray(0, 7));
  const { received, error } = await drain(messages);
  t.equal(received.length, 1);
  t.match(error, { code: 'ERR_SOCKET', message: /within a frame/ });
  await connection.close();
});

t.test('an idle link stays up and both sides hear each other', async t => {
  const { sender, receiver } = await openPair({ pingAfterMs: 10, deadAfterMs: 500 });
  const consuming = [drain(sender.messages), drain(receiver.messages)];
  const before = [sender.connection.bytesReceived, receiver.connection.bytesReceived];
  await until(() => sender.connection.bytesReceived > (before[0] ?? 0) + 13 * 100, 'pings');
  await until(() => receiver.connection.bytesReceived > (before[1] ?? 0) + 13 * 100, 'pings');
  await sender.connection.send(abort);
  await sender.connection.close();
  const results = await Promise.all(consuming);
  t.same(
    results.map(({ received }) => received),
    [[], [abort]],
    'pings are nobody else’s business',
  );
});

t.test('gives a silent peer up', async t => {
  const { messages, stream } = bareEnd({ pingAfterMs: 10, deadAfterMs: 50 });
  write(stream, helloOf('receiver'));
  const { error } = await drain(messages);
  t.match(error, { code: 'ERR_SOCKET', message: 'the peer gave no answer for 0.05 s' });
});

t.test('a peer that is busy for long is not given up, nor does it give up', async t => {
  const { sender, receiver } = await openPair({ pingAfterMs: 5, deadAfterMs: 100 });
  const consuming = drain(sender.messages);
  await sender.connection.send(abort);
  await receiver.messages.next();
  const start = performance.now();
  const before = sender.connection.bytesReceived;
  // Busy for three times what a silent peer is given.
  await until(() => performance.now() - start > 300);
  t.ok(sender.connection.bytesReceived > before, 'it was heard meanwhile');
  await sender.connection.send(abort);
  t.same((await receiver.messages.next()).value, abort);
  await Promise.all([sender.connection.close(), receiver.connection.close()]);
  t.equal((await consuming).error, undefined);
});

t.test('a frame that drips in is cut off', async t => {
  const { connection, messages, stream } = bareEnd({
    ...{ frameMs: 60, deadAfterMs: 5000, slowestBytesPerSecond: 1e9 },
  });
  write(stream, helloOf('sender'));
  await messages.next();
  const bytes = encodeFrame(stageData(4000));
  let at = 0;
  const timer = setInterval(() => stream.write(bytes.subarray(at, ++at)), 2);
  const { error } = await drain(messages);
  clearInterval(timer);
  t.match(error, { code: 'ERR_SOCKET', message: /did not complete a frame within 0.06 s/ });
  t.ok(at < 4000);
  await connection.closed;
});

t.test('who does not say who it is in time is cut off, pings or not', async t => {
  const { connection, messages, stream } = bareEnd({ helloMs: 50 });
  const hello = encodeFrame(helloOf('sender'));
  let at = 0;
  const timer = setInterval(() => stream.write(hello.subarray(at, ++at)), 5);
  const { error } = await drain(messages);
  clearInterval(timer);
  t.match(error, { code: 'ERR_SOCKET', message: 'the peer sent no greeting within 0.05 s' });
  t.ok(at < hello.length);
  t.equal(await connection.greeted, false);
});

t.test('the deadline of the greeting needs no consumer', async t => {
  const { connection } = bareEnd({ helloMs: 20 });
  await connection.closed;
  await t.rejects(connection.send(abort), { code: 'ERR_SOCKET', message: /no greeting/ });
});

t.test('a flood of pings is not answered into memory', async t => {
  const [left, stream] = memoryDuplexPair();
  const connection = Connection.over(left, { checksum: false, peer: 'x' });
  write(stream, helloOf('sender'));
  const messages = connection.messages();
  await messages.next();
  const consuming = drain(messages);
  const pings = Buffer.concat(
    Array.from({ length: 5000 }, () => encodeFrame({ type: MessageType.Ping, token: 1n })),
  );
  for (let i = 0; i < 60; i++) await new Promise(resolve => stream.write(pings, resolve));
  t.ok(connection.bytesReceived > 3 * writeQueueBytesMax);
  t.ok(connection.bytesSent < 2 * writeQueueBytesMax, `${connection.bytesSent} bytes of answers`);
  stream.destroy();
  await consuming;
});

t.test('credit for more than was sent is a breach', async t => {
  const { messages, stream } = bareEnd();
  write(stream, helloOf('receiver'), { type: MessageType.Credit, handledBytes: 1n });
  const { error } = await drain(messages);
  t.match(error, { code: 'ERR_PROTOCOL', message: /handled bytes/ });
  stream.resume();
});

t.test('an abort closes', async t => {
  const [left, right] = memoryDuplexPair();
  const controller = new AbortController();
  const connection = Connection.over(left, {
    checksum: false,
    peer: 'x',
    signal: controller.signal,
  });
  right.resume();
  const consuming = drain(connection.messages());
  controller.abort();
  t.same(await consuming, { received: [], error: undefined });
  await connection.closed;
  const late = Connection.over(memoryDuplexPair()[0], {
    checksum: false,
    peer: 'x',
    signal: controller.signal,
    limits: { closeLingerMs: 1 },
  });
  await late.closed;
});

t.test('wears out, then breaks, when its key has encrypted enough', async t => {
  const { sender, receiver } = await openPair({ tlsRecordsWorn: 5, tlsRecordsMax: 50 });
  const consuming = [drain(sender.messages), drain(receiver.messages)];
  t.equal(sender.connection.isWorn, false);
  let error: unknown;
  let wornAt = 0;
  for (let i = 1; error === undefined && i < 1000; i++) {
    await sender.connection.send(stageData(60_000)).catch(cause => {
      error = cause;
    });
    sender.connection.flush();
    if (sender.connection.isWorn) wornAt ||= i;
  }
  t.match(error, { code: 'ERR_SOCKET', message: /used its key up/ });
  t.ok(wornAt > 0 && wornAt < 5, 'there was time to reconnect');
  await Promise.all(consuming);
});

t.test('where there is no key, none wears out', async t => {
  const [stream, far] = memoryDuplexPair();
  far.resume();
  const limits = { tlsRecordsWorn: 5, tlsRecordsMax: 50 };
  const connection = Connection.over(stream, { checksum: true, peer: 'the peer', limits });
  for (let i = 0; i < 100; i++) {
    await connection.send(stageData(60_000));
    connection.flush();
  }
  t.ok(connection.bytesSent > 100 * 60_000);
  t.equal(connection.isWorn, false);
  far.destroy();
  await connection.close();
});

t.test('messages() has one consumer', async t => {
  const { sender } = await openPair();
  await t.rejects(sender.connection.messages().next(), /one consumer/);
  await sender.connection.close();
});

t.test('greeted tells strangers from peers', async t => {
  const [left, right] = memoryPair();
  left.setPayloadLimit(4096);
  left.setPayloadLimit(payloadSizeMax);
  t.equal(await left.greeted, true);
  await Promise.all([left.close(), right.close()]);
  t.equal(await right.greeted, false);
});

t.test('what goes over the stream is frames and nothing else', async t => {
  const [left, right] = memoryDuplexPair();
  const decoder = new FrameDecoder({ checksum: true });
  right.on('data', (chunk: Buffer) => decoder.push(chunk));
  const connection = Connection.over(left, { checksum: true, peer: 'x' });
  await connection.send(helloOf('receiver'));
  await connection.send(welcome);
  await connection.close({ code: 'shutdown', message: '' });
  const types = [decoder.next()?.type, decoder.next()?.type, decoder.next()?.type];
  t.same(types, [MessageType.Hello, MessageType.Welcome, MessageType.Failure]);
  t.equal(decoder.isPartial, false);
});
