import fs from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { callControl } from '../../src/control/control-client.ts';
import { type ControlHandlers, ControlServer } from '../../src/control/control-server.ts';
import { ReplicaError } from '../../src/errors.ts';
import { controlRequestSizeMax } from '../../src/limits.ts';

type Test = Parameters<Parameters<typeof t.test>[0]>[0];

/** With a path that a socket address can hold. */
function shortFolder(t: Test): string {
  const folder = fs.mkdtempSync(join(tmpdir(), 'replica-control-'));
  t.teardown(() => fs.rmSync(folder, { recursive: true }));
  return folder;
}

async function serve(t: Test, folder: string, handlers: ControlHandlers): Promise<ControlServer> {
  const server = await ControlServer.open(folder, handlers);
  t.teardown(() => server.close());
  return server;
}

function ask(folder: string, command: string, argument?: unknown, signal?: AbortSignal) {
  return callControl({
    folder,
    command,
    argument,
    signal: signal ?? new AbortController().signal,
  });
}

t.test('a question is answered, whatever the argument and the answer hold', async t => {
  const folder = shortFolder(t);
  const values = ['', 'a\nb\u0000"', 12, { a: [1, { b: null }] }, 'x'.repeat(30_000)];
  await serve(t, folder, { echo: argument => argument, nothing: () => undefined });
  for (const value of values) t.same(await ask(folder, 'echo', value), { result: value });
  t.same(await ask(folder, 'nothing'), { result: null });
});

t.test('only its user may use the socket', async t => {
  const folder = shortFolder(t);
  await serve(t, folder, {});
  t.equal(fs.statSync(join(folder, 'control.sock')).mode & 0o777, 0o600);
});

t.test('nobody answers where no program runs', async t => {
  const folder = shortFolder(t);
  t.equal(await ask(folder, 'about'), undefined);
  const server = await ControlServer.open(folder, {});
  await server.close();
  t.same(fs.readdirSync(folder), [], 'and nothing is left behind');
  t.equal(await ask(folder, 'about'), undefined);
});

t.test('a socket left behind by a killed program is taken over', async t => {
  const folder = shortFolder(t);
  const dead = join(folder, 'control.sock');
  const server = net.createServer().listen(join(folder, 'bound'));
  await new Promise(resolve => server.once('listening', resolve));
  fs.renameSync(join(folder, 'bound'), dead);
  await new Promise(resolve => server.close(resolve));
  t.ok(fs.existsSync(dead));
  t.equal(await ask(folder, 'about'), undefined);
  await serve(t, folder, { about: () => 'alive' });
  t.same(await ask(folder, 'about'), { result: 'alive' });
});

t.test('the newest of two programs answers, also after the older one ended', async t => {
  const folder = shortFolder(t);
  const older = await ControlServer.open(folder, { about: () => 'older' });
  await serve(t, folder, { about: () => 'newer' });
  t.same(await ask(folder, 'about'), { result: 'newer' });
  await older.close();
  t.same(await ask(folder, 'about'), { result: 'newer' });
});

t.test('a state folder whose path is longer than a socket address', async t => {
  const folder = join(shortFolder(t), 'x'.repeat(100), 'y'.repeat(100));
  fs.mkdirSync(folder, { recursive: true });
  await serve(t, folder, { about: () => 'far down' });
  t.same(await ask(folder, 'about'), { result: 'far down' });
});

t.test('failures arrive with their code, and an unknown request is refused', async t => {
  const folder = shortFolder(t);
  await serve(t, folder, {
    fail: () => Promise.reject(new ReplicaError('ERR_PATH', 'the source is gone')),
  });
  await t.rejects(ask(folder, 'fail'), { code: 'ERR_PATH', message: 'the source is gone' });
  for (const command of ['none', 'toString', '__proto__']) {
    await t.rejects(ask(folder, command), { code: 'ERR_USAGE' }, command);
  }
});

t.test('whoever goes before the answer aborts the request', async t => {
  const folder = shortFolder(t);
  let aborted = (_: unknown): void => {};
  const gone = new Promise(resolve => {
    aborted = resolve;
  });
  let asked = (): void => {};
  const isAsked = new Promise<void>(resolve => {
    asked = resolve;
  });
  await serve(t, folder, {
    wait: (_, signal) => {
      asked();
      return new Promise(() => signal.addEventListener('abort', aborted));
    },
  });
  const stop = new AbortController();
  const answer = ask(folder, 'wait', undefined, stop.signal);
  await isAsked;
  stop.abort();
  await t.rejects(answer, { code: 'ERR_SOCKET' });
  await gone;
});

t.test('a program that ends before it answered is no answer', async t => {
  const folder = shortFolder(t);
  let asked = (): void => {};
  const isAsked = new Promise<void>(resolve => {
    asked = resolve;
  });
  const server = await ControlServer.open(folder, {
    wait: () => {
      asked();
      return new Promise(() => {});
    },
  });
  const answer = ask(folder, 'wait');
  await isAsked;
  await server.close();
  await t.rejects(answer, { code: 'ERR_SOCKET' });
});

t.test('one that hangs is given up, and nonsense is no answer', async t => {
  const folder = shortFolder(t);
  await serve(t, folder, { about: () => new Promise(() => {}) });
  const signal = new AbortController().signal;
  await t.rejects(callControl({ folder, command: 'about', signal, timeoutMs: 20 }), {
    code: 'ERR_TIMEOUT',
    message: `the push does not answer; its state is in ${folder}`,
  });
  const other = shortFolder(t);
  const server = net.createServer(socket => socket.end('hello\n')).unref();
  t.teardown(() => server.close());
  await new Promise<void>(resolve => server.listen(join(other, 'control.sock'), resolve));
  await t.rejects(ask(other, 'about'), { code: 'ERR_SOCKET', message: 'what answers is no push' });
});

t.test('garbage, and a request without an end, end their connection only', async t => {
  const folder = shortFolder(t);
  await serve(t, folder, { about: () => 'alive' });
  const talk = (bytes: string): Promise<string> =>
    new Promise(resolve => {
      let text = '';
      const socket = net.connect({ path: join(folder, 'control.sock') }, () => socket.write(bytes));
      socket.setEncoding('utf8').on('data', chunk => {
        text += chunk;
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(text));
    });
  t.match(await talk('no json\n'), /"ERR_USAGE"/);
  t.match(await talk('[1]\n'), /"ERR_USAGE"/);
  t.match(await talk('null\n'), /"ERR_USAGE"/);
  t.equal(await talk('x'.repeat(controlRequestSizeMax + 1)), '');
  t.same(await ask(folder, 'about'), { result: 'alive' });
});
