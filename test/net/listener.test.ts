// Strangers: whoever has not said who they are must neither get in nor keep others out.
import { once } from 'node:events';
import net, { type Socket } from 'node:net';
import tls from 'node:tls';
import t, { type Test } from 'tap';
import { payloadSizeMax } from '../../src/limits.ts';
import { type Log, silentLog } from '../../src/log.ts';
import type { Connection } from '../../src/net/connection.ts';
import { dial, unreachable } from '../../src/net/dial.ts';
import { Listener, type ListenerLimits, type ListenerOptions } from '../../src/net/listener.ts';
import { identityOf, pskOf, pskTlsOptions } from '../../src/net/psk.ts';
import { createKey } from '../../src/store/key-file.ts';
import { encodeFrame, FrameChecksum } from '../../src/wire/frame.ts';
import { MessageType } from '../../src/wire/messages.ts';
import { drain } from '../support/connections.ts';
import { helloOf } from '../support/messages.ts';
import { until } from '../support/until.ts';

const key = createKey({});
const host = '127.0.0.1';

async function listenerFor(
  t: Test,
  limits: Partial<ListenerLimits> = {},
  options: Partial<ListenerOptions> = {},
): Promise<Listener> {
  const base = { host, port: 0, keys: () => [key], insecure: false, log: silentLog };
  const listener = await Listener.open({ ...base, limits, ...options });
  t.teardown(() => listener.close());
  return listener;
}

function dialTo(port: number, options: Partial<Parameters<typeof dial>[0]> = {}) {
  return dial({ host, port, key, insecure: false, timeoutMs: 20_000, ...options });
}

/** A good client from dialling to having been greeted, and away again. */
async function visit(listener: Listener): Promise<void> {
  const client = await dialTo(listener.address.port);
  await client.send(helloOf('sender'));
  const { value: server } = await listener.connections().next();
  const { value: hello } = (await server?.messages().next()) ?? {};
  if (hello?.type !== MessageType.Hello) throw new Error('no hello');
  server?.setPayloadLimit(payloadSizeMax);
  await Promise.all([client.close(), server?.close()]);
}

/** A stranger's socket, and when it was closed. */
async function stranger(
  t: Test,
  port: number,
): Promise<{ socket: Socket; closed: Promise<number> }> {
  const start = performance.now();
  const socket = net.connect(port, host);
  t.teardown(() => socket.destroy());
  socket.on('error', () => {});
  socket.resume();
  const closed = new Promise<number>(resolve => {
    socket.once('close', () => resolve(performance.now() - start));
  });
  await Promise.race([new Promise(resolve => socket.once('connect', resolve)), closed]);
  return { socket, closed };
}

t.test('who opened the listener hears of every byte that was read', async t => {
  let bytes = 0;
  const onRead = (count: number): void => {
    bytes += count;
  };
  const listener = await listenerFor(t, {}, { onRead });
  const client = await dialTo(listener.address.port);
  await client.send(helloOf('sender'));
  const { value: server } = await listener.connections().next();
  await server?.messages().next();
  t.equal(bytes, client.bytesSent);
  t.equal(bytes, server?.bytesReceived);
  await Promise.all([client.close(), server?.close()]);
});

t.test('a connection that must not wear out does not, at either end', async t => {
  const few = { tlsRecordsWorn: 2, tlsRecordsMax: 8 };
  for (const isEndless of [false, true]) {
    const listener = await listenerFor(t, few);
    const client = await dialTo(listener.address.port, { limits: few, isEndless });
    await client.send(helloOf('sender'));
    const { value: server } = await listener.connections().next();
    if (!server) throw new Error('no connection');
    await server.send(helloOf('receiver'));
    const done = [drain(client.messages()), drain(server.messages())];
    let isOver = false;
    void client.closed.then(() => {
      isOver = true;
    });
    const other = (side: Connection): Connection => (side === client ? server : client);
    const exchange = async (): Promise<void> => {
      for (let i = 0; i < 20; i++) {
        for (const side of [client, server]) {
          await side.send({ type: MessageType.Ping, token: BigInt(i) });
          side.flush();
          await until(() => isOver || side.bytesSent <= other(side).bytesReceived, 'it came');
        }
      }
    };
    if (isEndless) await exchange();
    else await t.rejects(exchange(), { code: 'ERR_SOCKET' });
    t.equal(client.isWorn, !isEndless);
    await Promise.all([client.close(), server.close()]);
    await Promise.all(done);
  }
});

t.test(
  'strangers of every kind are sent away in time, and a good client gets in meanwhile',
  async t => {
    const handshakeMs = 400;
    const listener = await listenerFor(t, { handshakeMs, strangersPerAddressMax: 10 });
    const { port } = listener.address;
    const idle = await stranger(t, port);
    const http = await stranger(t, port);
    http.socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    const garbage = await stranger(t, port);
    garbage.socket.write(Buffer.alloc(5000, 0xa5));
    const plain = await stranger(t, port);
    plain.socket.write(encodeFrame(helloOf('sender'), new FrameChecksum()));
    const zeroes = await stranger(t, port);
    zeroes.socket.write(Buffer.alloc(100_000));
    // The start of a handshake that never ends, in drops that reset any timer of silence.
    const slow = await stranger(t, port);
    const record = Buffer.concat([Buffer.from('1603014000010000ff', 'hex'), Buffer.alloc(16_000)]);
    let at = 0;
    const drip = setInterval(() => slow.socket.write(record.subarray(at, ++at)), 20);
    t.teardown(() => clearInterval(drip));
    await visit(listener);
    t.pass('the good client was served');
    for (const [what, one] of Object.entries({ idle, http, garbage, plain, zeroes, slow })) {
      const ms = await one.closed;
      // Generous: the machine may be busy; the default deadline of TLS sockets is 120 s.
      t.ok(ms < 10_000, `${what} was closed after ${Math.round(ms)} ms`);
    }
    t.ok((await idle.closed) >= handshakeMs - 20, 'but had its time');
    await visit(listener);
  },
);

t.test('the deadline of the handshake ends with the handshake', async t => {
  const listener = await listenerFor(t, { handshakeMs: 150 });
  const start = performance.now();
  const client = await dialTo(listener.address.port);
  const { value: server } = await listener.connections().next();
  await until(() => performance.now() - start > 450);
  await server?.send(helloOf('receiver'));
  t.same((await client.messages().next()).value, helloOf('receiver'));
  await Promise.all([client.close(), server?.close()]);
});

t.test('who has the key and then says nothing is closed too', async t => {
  const listener = await listenerFor(t, { helloMs: 100 });
  const client = await dialTo(listener.address.port);
  const { error } = await drain(client.messages());
  t.ok(error === undefined || 'code' in Object(error));
  await client.closed;
});

t.test('strangers are counted, in all and by address', async t => {
  const listener = await listenerFor(t, { strangersPerAddressMax: 3, handshakeMs: 60_000 });
  const { port } = listener.address;
  const first = [await stranger(t, port), await stranger(t, port), await stranger(t, port)];
  const fourth = await stranger(t, port);
  await fourth.closed;
  await t.rejects(dialTo(port), { code: 'ERR_SOCKET', message: /closed the connection/ });
  first[0]?.socket.destroy();
  await first[0]?.closed;
  // The place is free once the listener has seen it too.
  let isIn = false;
  await until(() => {
    if (!isIn)
      visit(listener).then(
        () => {
          isIn = true;
        },
        () => {},
      );
    return isIn;
  });
  t.pass('a place that was left is free again');
  const all = await listenerFor(t, { strangersMax: 1, handshakeMs: 60_000 });
  await stranger(t, all.address.port);
  await (await stranger(t, all.address.port)).closed;
});

t.test('a peer that was greeted is no stranger any more', async t => {
  const listener = await listenerFor(t, { strangersPerAddressMax: 1 });
  const connections = listener.connections();
  const open: (Connection | undefined)[] = [];
  for (let i = 0; i < 5; i++) {
    const client = await dialTo(listener.address.port);
    const { value: server } = await connections.next();
    await t.rejects(dialTo(listener.address.port), { code: 'ERR_SOCKET' });
    server?.setPayloadLimit(payloadSizeMax);
    await server?.greeted;
    open.push(client, server ?? undefined);
  }
  await Promise.all(open.map(connection => connection?.close()));
});

t.test('connections of one key are bounded: the newest is told', async t => {
  const listener = await listenerFor(t, { connectionsPerKeyMax: 2 });
  const { port } = listener.address;
  const open = [await dialTo(port), await dialTo(port)];
  const third = await dialTo(port);
  const { received } = await drain(third.messages());
  t.match(received, [{ type: MessageType.Failure, code: 'busy' }]);
  await Promise.all([...open, third].map(connection => connection.close()));
});

t.test('the log says who was refused, but not a line for each', async t => {
  const lines: object[] = [];
  const log: Log = { ...silentLog, warn: fields => lines.push(fields) };
  const listener = await listenerFor(t, {}, { log });
  const bad = { id: key.id, secret: createKey({}).secret };
  for (let i = 0; i < 20; i++) await dialTo(listener.address.port, { key: bad }).catch(() => {});
  t.match(lines, [{ address: '127.0.0.1', reason: /BINDER|DECRYPT|ILLEGAL/ }]);
  t.equal(lines.length, 1);
});

t.test('close sends strangers away and leaves peers alone', async t => {
  const listener = await listenerFor(t);
  const connections = listener.connections();
  const client = await dialTo(listener.address.port);
  const { value: server } = await connections.next();
  const waiting = await dialTo(listener.address.port);
  const idle = await stranger(t, listener.address.port);
  await until(() => listener.address.port > 0);
  const { port } = listener.address;
  await listener.close();
  await listener.close();
  await Promise.all([idle.closed, waiting.closed]);
  t.same(await connections.next(), { done: true, value: undefined });
  await t.rejects(dialTo(port), { code: 'ERR_SOCKET', message: /nothing listens there/ });
  await server?.send(helloOf('receiver'));
  t.same((await client.messages().next()).value, helloOf('receiver'));
  await Promise.all([client.close(), server?.close(), waiting.close()]);
});

t.test('says why it cannot listen', async t => {
  const { port } = (await listenerFor(t)).address;
  await t.rejects(listenerFor(t, {}, { port }), {
    code: 'ERR_SOCKET',
    message: `cannot listen at 127.0.0.1:${port}: port ${port} is in use: stop the other program or choose --port`,
  });
  await t.rejects(listenerFor(t, {}, { host: '192.0.2.1' }), {
    code: 'ERR_SOCKET',
    message: /192\.0\.2\.1:0: this machine does not have that address: choose --host/,
  });
});

t.test('listens on every address by default', async t => {
  const listener = await listenerFor(t, {}, { host: '::' });
  t.match(listener.address.host, /^(::|0\.0\.0\.0)$/);
  await visit(listener);
});

t.test('says why it cannot dial', async t => {
  const closed = net.createServer().listen(0, host);
  await once(closed, 'listening');
  const address = closed.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  closed.close();
  await t.rejects(dialTo(port), { code: 'ERR_SOCKET', message: /nothing listens there/ });
  await t.rejects(dialTo(1, { host: 'nowhere.invalid' }), { code: 'ERR_SOCKET' });
  const again = Object.assign(new Error('getaddrinfo EAI_AGAIN x'), { code: 'EAI_AGAIN' });
  const text = 'cannot connect to x:1: the name cannot be looked up now';
  t.equal(unreachable(again, 'x:1').message, text);
  await t.rejects(dialTo(1, { key: undefined }), { code: 'ERR_AUTH', message: /no key/ });
});

/** A server that does `act` with each connection. */
async function serverThat(t: Test, act: (socket: Socket) => void): Promise<number> {
  const server = net.createServer(socket => {
    socket.on('error', () => {});
    t.teardown(() => socket.destroy());
    act(socket);
  });
  server.listen(0, host);
  t.teardown(() => server.close());
  await once(server, 'listening');
  const address = server.address();
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
}

t.test('says what answered in place of a receiver', async t => {
  const mute = await serverThat(t, () => {});
  await t.rejects(dialTo(mute, { timeoutMs: 100 }), {
    code: 'ERR_TIMEOUT',
    message: `no answer from 127.0.0.1:${mute} within 0.1 s`,
  });
  const cancelled = dialTo(mute, { signal: AbortSignal.timeout(50) });
  await t.rejects(cancelled, { code: 'ERR_SOCKET', message: /cancelled/ });
  await t.rejects(dialTo(mute, { signal: AbortSignal.abort() }), { message: /cancelled/ });
  const http = await serverThat(t, socket => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  await t.rejects(dialTo(http), { code: 'ERR_PROTOCOL', message: /does not speak TLS/ });
  const ssh = await serverThat(t, socket => socket.write('SSH-2.0-OpenSSH_9.6\r\n'));
  await t.rejects(dialTo(ssh), { code: 'ERR_PROTOCOL', message: /does not speak TLS/ });
  const slamming = await serverThat(t, socket => socket.destroy());
  await t.rejects(dialTo(slamming), { code: 'ERR_SOCKET', message: /closed the connection/ });
  const plain = await listenerFor(t, {}, { insecure: true });
  void (async () => {
    for await (const connection of plain.connections()) void drain(connection.messages());
  })();
  await t.rejects(dialTo(plain.address.port), { code: 'ERR_PROTOCOL', message: /--insecure/ });
});

t.test('plain connections: this machine only, at both ends', async t => {
  for (const beyond of ['::', '0.0.0.0', '192.0.2.1', 'example.invalid']) {
    await t.rejects(
      listenerFor(t, {}, { insecure: true, host: beyond }),
      { code: 'ERR_USAGE', message: /within this machine only/ },
      beyond,
    );
  }
  await t.rejects(dialTo(1, { insecure: true, host: '192.0.2.1' }), {
    code: 'ERR_USAGE',
    message: /within this machine only, and 192\.0\.2\.1 is/,
  });
  const listener = await listenerFor(t, {}, { insecure: true });
  // Whichever of its addresses comes first.
  const options = { insecure: true, host: 'localhost', key: undefined };
  const client = await dialTo(listener.address.port, options);
  await client.send(helloOf('sender'));
  const { value: server } = await listener.connections().next();
  t.equal(server?.peerKeyId, undefined);
  t.same((await server?.messages().next())?.value, helloOf('sender'));
  await Promise.all([client.close(), server?.close()]);
});

t.test('a plain client at a TLS receiver is sent away', async t => {
  const listener = await listenerFor(t);
  const client = await dialTo(listener.address.port, { insecure: true });
  await client.send(helloOf('sender'));
  const { error } = await drain(client.messages());
  t.match(error, { code: 'ERR_SOCKET', message: /without a greeting|lost/ });
  await client.close();
});

t.test('a bit flipped on a plain link ends it as a damaged frame', async t => {
  const listener = await listenerFor(t, {}, { insecure: true });
  const hello = encodeFrame(helloOf('sender'), new FrameChecksum());
  hello[40] = (hello[40] ?? 0) ^ 1;
  const socket = net.connect(listener.address.port, host);
  socket.on('error', () => {});
  socket.resume();
  socket.write(hello);
  const { value: server } = await listener.connections().next();
  if (!server) throw new Error('no connection');
  const { error } = await drain(server.messages());
  t.match(error, { code: 'ERR_PROTOCOL', message: /damaged frame/ });
  await server.close();
});

t.test('a truncated or tampered TLS stream is no end of a session', async t => {
  const listener = await listenerFor(t);
  const connections = listener.connections();
  const raw = net.connect(listener.address.port, host);
  const socket = tls.connect({
    ...pskTlsOptions,
    ca: [],
    socket: raw,
    pskCallback: () => ({ psk: pskOf(key), identity: identityOf(key) }),
  });
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  const { value: server } = await connections.next();
  if (!server) throw new Error('no connection');
  socket.write(encodeFrame(helloOf('sender')));
  const messages = server.messages();
  await messages.next();
  // An application record that nobody with the key made.
  raw.write(Buffer.concat([Buffer.from('1703030020', 'hex'), Buffer.alloc(32, 7)]));
  const { error } = await drain(messages);
  t.match(error, { code: 'ERR_SOCKET', message: /lost/ });
  raw.destroy();
});
