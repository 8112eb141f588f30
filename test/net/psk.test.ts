// The handshake against everything it must not let through (research: RFC 9257 and what node:tls
// does when it is used as its manual says).
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import tls, { type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { payloadSizeMax } from '../../src/limits.ts';
import { type Log, silentLog } from '../../src/log.ts';
import { dial } from '../../src/net/dial.ts';
import { Listener, type ListenerOptions } from '../../src/net/listener.ts';
import { assertPsk, identityOf, idOf, pskOf, pskTlsOptions } from '../../src/net/psk.ts';
import { createKey, formatPairing, type Key } from '../../src/store/key-file.ts';
import { selfSigned } from '../support/certificate.ts';
import { drain, side } from '../support/connections.ts';
import { helloOf, welcome } from '../support/messages.ts';
import { until } from '../support/until.ts';

const key = createKey({});
const other = createKey({});
const host = '127.0.0.1';
const program = join(import.meta.dirname, '../support/link-program.js');

async function listenerFor(t: Test, options: Partial<ListenerOptions> = {}): Promise<Listener> {
  const listener = await Listener.open({
    host,
    port: 0,
    keys: () => [key, other],
    insecure: false,
    log: silentLog,
    ...options,
  });
  t.teardown(() => listener.close());
  return listener;
}

function dialTo(port: number, as: Key | undefined = key) {
  return dial({ host, port, key: as, insecure: false, timeoutMs: 10_000 });
}

/** A TLS client without any of our rules. */
function rawClient(port: number, options: tls.ConnectionOptions): Promise<TLSSocket | Error> {
  return new Promise(resolve => {
    const socket = tls.connect({ host, port, rejectUnauthorized: false, ...options });
    socket.once('secureConnect', () => resolve(socket));
    socket.on('error', resolve);
    socket.once('close', () => resolve(new Error('closed')));
  });
}

const withKey = (as: Key, identity = identityOf(as)): tls.ConnectionOptions => ({
  ...pskTlsOptions,
  ca: [],
  pskCallback: () => ({ psk: pskOf(as), identity }),
});

/** Passes everything on to `port` and keeps a copy. */
async function relayTo(t: Test, target: number) {
  const up: Buffer[] = [];
  const down: Buffer[] = [];
  const relay = net.createServer(front => {
    const back = net.connect(target, host);
    front.on('data', chunk => up.push(chunk)).pipe(back);
    back.on('data', chunk => down.push(chunk)).pipe(front);
    for (const socket of [front, back]) socket.on('error', () => {});
  });
  t.teardown(() => relay.close());
  const port = await listening(relay);
  return { port, up: () => Buffer.concat(up), down: () => Buffer.concat(down) };
}

/** The port `server` got. */
async function listening(server: net.Server): Promise<number> {
  server.listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  if (!address || typeof address === 'string') throw new Error('no port');
  return address.port;
}

t.test('golden key derivation', async t => {
  const fixed: Key = { id: 'AAECAwQFBgcICQoLDA0ODw', secret: Buffer.alloc(32, 7) };
  t.equal(identityOf(fixed), 'replica1:AAECAwQFBgcICQoLDA0ODw');
  t.equal(
    pskOf(fixed).toString('hex'),
    'd084e0df79188bc11caf5f5e8adcc144cfc52f9b35cd41f08c98722c754965e6',
  );
});

t.test('an identity is one of ours or nothing', async t => {
  t.equal(idOf(identityOf(key)), key.id);
  const bad = ['', '__proto__', 'replica1:', key.id, `replica2:${key.id}`, `${identityOf(key)}\n`];
  for (const identity of [...bad, `${identityOf(key)}x`, ` ${identityOf(key)}`]) {
    t.equal(idOf(identity), undefined, JSON.stringify(identity));
  }
});

t.test('both ends with the key meet, and know which key it was', async t => {
  const listener = await listenerFor(t);
  const connections = listener.connections();
  const client = await dialTo(listener.address.port);
  const { value: server } = await connections.next();
  if (!server) throw new Error('no connection');
  t.equal(server.peerKeyId, key.id);
  t.equal(client.peerKeyId, key.id);
  t.match(server.peer, /^127\.0\.0\.1:\d+$/);
  await client.send(helloOf('sender'));
  await server.send(helloOf('receiver'));
  const [left, right] = [client.messages(), server.messages()];
  t.same((await right.next()).value, helloOf('sender'));
  t.same((await left.next()).value, helloOf('receiver'));
  server.setPayloadLimit(payloadSizeMax);
  await server.send(welcome);
  t.same((await left.next()).value, welcome);
  await Promise.all([client.close(), server.close()]);
});

t.test('a wrong key and an unknown one are refused alike, with one clear line', async t => {
  const listener = await listenerFor(t);
  const { port } = listener.address;
  const wrong: Key = { id: key.id, secret: other.secret };
  const unknown = createKey({});
  const answers: string[] = [];
  for (const bad of [wrong, unknown]) {
    const relay = await relayTo(t, port);
    const error = await dialTo(relay.port, bad).catch(cause => cause);
    t.match(error, { code: 'ERR_AUTH' });
    t.equal(
      error.message,
      `127.0.0.1:${relay.port} refused the key ${bad.id}: ` +
        `run 'replica pair 127.0.0.1:${relay.port}' with its current key`,
    );
    t.notMatch(error.message, bad.secret.toString('base64url'));
    answers.push(relay.down().toString('hex'));
  }
  t.equal(answers[0], answers[1], 'the server answers both with the same bytes');
  t.match(answers[0], /^1503/, 'an alert');
});

t.test('a server with a certificate learns nothing, even one the system trusts', async t => {
  const certificate = selfSigned();
  const folder = t.testdir();
  const authority = join(folder, 'authority.pem');
  writeFileSync(authority, certificate.cert);
  const heard: Buffer[] = [];
  const impostor = tls.createServer(certificate, socket => {
    socket.on('error', () => {});
    socket.on('data', chunk => heard.push(chunk));
  });
  impostor.on('tlsClientError', (_error, socket) => socket.destroy());
  t.teardown(() => impostor.close());
  const port = String(await listening(impostor));
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: authority };
  const run = async (...words: string[]): Promise<string> => {
    const { stdout } = await promisify(execFile)(process.execPath, [program, ...words], { env });
    return stdout.trim();
  };
  t.equal(await run('trust', 'localhost', port), 'trusted', 'the certificate is good');
  t.equal(await run('dial', formatPairing(key), 'localhost', port), 'ERR_AUTH');
  t.same(Buffer.concat(heard).length, 0);
});

t.test('the client refuses any handshake without the key', async t => {
  const certificate = selfSigned();
  const servers: [string, tls.TlsOptions][] = [
    ['a certificate of nobody', certificate],
    ['TLS 1.2 with the key', { ...withServerKey(), minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' }],
    ['another key', withServerKey(other)],
  ];
  for (const [what, options] of servers) {
    const server = tls.createServer(options, socket => socket.on('error', () => {}));
    server.on('tlsClientError', (_error, socket) => socket.destroy());
    const port = await listening(server);
    await t.rejects(
      dialTo(port),
      {
        code: 'ERR_AUTH',
      },
      what,
    );
    server.close();
  }
});

function withServerKey(as: Key = key): tls.TlsOptions {
  return { pskCallback: () => pskOf(as), ciphers: 'PSK:TLS_AES_128_GCM_SHA256' };
}

t.test('a handshake by certificate that nothing stopped does not pass for the key', async t => {
  const certificate = selfSigned();
  const server = tls.createServer(certificate, socket => socket.on('error', () => {}));
  t.teardown(() => server.close());
  const socket = await rawClient(await listening(server), {});
  if (socket instanceof Error) throw socket;
  t.throws(() => assertPsk(socket, 'x'), { code: 'ERR_AUTH' });
  socket.destroy();
});

t.test('the server refuses clients without a key of its own', async t => {
  const listener = await listenerFor(t);
  const { port } = listener.address;
  const clients: [string, tls.ConnectionOptions][] = [
    ['no key', { ca: [] }],
    ['no key, our suites', { ...pskTlsOptions, ca: [] }],
    ['a certificate', { ...selfSigned(), ca: [] }],
    ['TLS 1.2', { ...withKey(key), minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2', ciphers: 'PSK' }],
    ['__proto__', withKey(key, '__proto__')],
    ['another scheme', withKey(key, `replica2:${key.id}`)],
    ['the bare id', withKey(key, key.id)],
    ['128 characters', withKey(key, 'x'.repeat(128))],
    ['an empty secret', withKey({ ...key, secret: Buffer.alloc(0) })],
    [
      'the secret itself',
      { ...withKey(key), pskCallback: () => ({ psk: key.secret, identity: identityOf(key) }) },
    ],
  ];
  for (const [what, options] of clients) {
    const outcome = await rawClient(port, options);
    t.ok(outcome instanceof Error, what);
    if (!(outcome instanceof Error)) outcome.destroy();
  }
  const good = await dialTo(port);
  t.pass('and goes on with those who have one');
  await good.close();
});

t.test('forward secrecy: the client insists on a fresh exchange', async t => {
  const listener = await listenerFor(t);
  const socket = await rawClient(listener.address.port, withKey(key));
  if (socket instanceof Error) throw socket;
  t.equal(socket.getCipher().name, 'TLS_AES_128_GCM_SHA256');
  assertPsk(socket, 'x');
  for (const bad of [{ getEphemeralKeyInfo: () => ({}) }, { isSessionReused: () => false }]) {
    t.throws(() => assertPsk(Object.assign(Object.create(socket), bad), 'x'), { code: 'ERR_AUTH' });
  }
  socket.destroy();
});

t.test('a revoked key opens nothing, nor does what its connections left behind', async t => {
  let keys = [key, other];
  const listener = await listenerFor(t, { keys: () => keys });
  const { port } = listener.address;
  const connections = listener.connections();
  const sessions: Buffer[] = [];
  const before = await rawClient(port, withKey(key));
  if (before instanceof Error) throw before;
  before.on('session', (session: Buffer) => sessions.push(session));
  const { value: server } = await connections.next();
  // Tickets would come with the first data.
  await server?.send(helloOf('receiver'));
  await once(before, 'data');
  const saved = before.getSession();
  if (saved) sessions.push(saved);
  before.destroy();
  keys = [other];
  await t.rejects(dialTo(port), { code: 'ERR_AUTH' });
  for (const session of sessions) {
    const again = await rawClient(port, { ...pskTlsOptions, ca: [], session });
    t.ok(again instanceof Error, 'a saved session is refused');
    if (!(again instanceof Error)) again.destroy();
  }
  t.ok(sessions.length > 0, 'there was one to try');
  const good = await dialTo(port, other);
  await good.close();
});

t.test('endRevoked ends live connections of keys that are gone, and no others', async t => {
  let keys = [key, other];
  const listener = await listenerFor(t, { keys: () => keys });
  const connections = listener.connections();
  const [revoked, kept] = [
    await dialTo(listener.address.port),
    await dialTo(listener.address.port, other),
  ];
  const served = [(await connections.next()).value, (await connections.next()).value];
  for (const connection of served) await connection?.send(helloOf('receiver'));
  const ended = drain(revoked.messages());
  const keptSide = side(kept);
  await keptSide.messages.next();
  listener.endRevoked();
  keys = [other];
  listener.endRevoked();
  t.match((await ended).received.at(-1), { code: 'shutdown', message: 'the key was revoked' });
  const second = served.find(connection => connection?.peerKeyId === other.id);
  await second?.send(welcome);
  t.same((await keptSide.messages.next()).value, welcome);
  await Promise.all([revoked.close(), kept.close(), ...served.map(one => one?.close())]);
});

t.test('keys that cannot be read let nobody in, and the log says so', async t => {
  const lines: string[] = [];
  const log: Log = { ...silentLog, error: (_fields, message) => lines.push(message) };
  let isBroken = true;
  const keys = () => {
    if (isBroken) throw new Error('the key file can be used by others');
    return [key];
  };
  const listener = await listenerFor(t, { keys, log });
  for (let i = 0; i < 3; i++) {
    await t.rejects(dialTo(listener.address.port), { code: 'ERR_AUTH' });
  }
  t.equal(lines.length, 1, 'once, not for each');
  isBroken = false;
  const client = await dialTo(listener.address.port);
  const { value: server } = await listener.connections().next();
  isBroken = true;
  listener.endRevoked();
  await server?.send(helloOf('receiver'));
  t.same((await client.messages().next()).value, helloOf('receiver'), 'who is in stays in');
  await Promise.all([client.close(), server?.close()]);
});

t.test('nothing of the key goes over the wire but its id', async t => {
  const listener = await listenerFor(t);
  const relay = await relayTo(t, listener.address.port);
  const client = await dialTo(relay.port);
  await client.send(helloOf('sender', { label: 'a label nobody may see' }));
  const connections = listener.connections();
  const { value: server } = await connections.next();
  await server?.messages().next();
  await until(() => relay.up().length > 0);
  const wire = Buffer.concat([relay.up(), relay.down()]);
  t.ok(wire.includes(identityOf(key)));
  for (const secret of [key.secret, pskOf(key), 'a label nobody may see', 'RPLC']) {
    t.notOk(wire.includes(secret));
  }
  await Promise.all([client.close(), server?.close()]);
});
