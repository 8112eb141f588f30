import { existsSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { ListenOptions, Programs, ReceiveOptions } from '../../src/cli/programs.ts';
import { ReplicaError } from '../../src/errors.ts';
import type { Connection } from '../../src/net/connection.ts';
import { memoryPair } from '../../src/net/memory-pair.ts';
import { type InProcessOptions, runInProcess } from '../support/run-cli.ts';

class Doubles {
  receiver: ReceiveOptions | undefined;
  listener: ListenOptions | undefined;
  readonly closed: string[] = [];
  readonly served: Connection[] = [];
  readonly stop = new AbortController();
  serveError: Error | undefined;
  #connections: readonly Connection[];

  constructor(connections: readonly Connection[] = []) {
    this.#connections = connections;
  }

  get programs(): Programs {
    const refuse = () => Promise.reject(new Error('not in this test'));
    return {
      dialSsh: () => Promise.reject(new Error('not in this test')),
      connectionOver: () => Promise.reject(new Error('not in this test')),
      memoryPair: async () => memoryPair(),
      dial: refuse,
      openSender: refuse,
      openVerifier: refuse,
      openReceiver: async options => {
        this.receiver = options;
        return {
          serve: async connection => {
            this.served.push(connection);
            if (this.serveError) throw this.serveError;
          },
          close: async () => void this.closed.push('receiver'),
        };
      },
      listen: async options => {
        this.listener = options;
        return {
          address: { host: options.host, port: options.port || 4711 },
          connections: () => this.#untilClosed(),
          endRevoked: () => {},
          close: async () => void this.closed.push('listener'),
        };
      },
    };
  }

  async *#untilClosed(): AsyncGenerator<Connection, void, void> {
    yield* this.#connections;
    this.stop.abort();
  }
}

async function receive(
  t: Test,
  doubles: Doubles,
  flags: readonly string[] = [],
  options: Partial<InProcessOptions> = {},
) {
  const home = options.home ?? t.testdir();
  const result = await runInProcess(['receive', 'dst', ...flags], {
    home,
    programs: doubles.programs,
    signal: doubles.stop.signal,
    ...options,
  });
  return { ...result, home: realpathSync(home) };
}

t.test('memory is swept each time 4 MiB were read, by whatever connections', async t => {
  const doubles = new Doubles();
  let sweeps = 0;
  await receive(t, doubles, [], { sweepYoung: () => sweeps++ });
  const { onRead } = doubles.listener ?? {};
  t.equal(sweeps, 0);
  for (let i = 0; i < 64 * 3 - 1; i++) onRead?.(64 * 1024);
  t.equal(sweeps, 2);
  onRead?.(64 * 1024);
  t.equal(sweeps, 3);
});

t.test('listens, says where, and ends with exit 0 when told to', async t => {
  const doubles = new Doubles();
  const { code, stdout, stderr, home } = await receive(t, doubles);
  t.equal(code, 0);
  t.equal(stdout, 'listening on [::]:7375\n');
  t.ok(existsSync(join(home, 'dst')), 'the last component of the destination is made');
  t.match(doubles.receiver, {
    root: join(home, 'dst'),
    adopt: false,
    takeOver: false,
    fsync: 'batch',
    keepMs: 86_400_000,
    specialBits: false,
  });
  t.notOk('stateFolder' in (doubles.receiver ?? {}));
  t.match(doubles.listener, { host: '::', port: 7375, insecure: false });
  t.ok(doubles.closed.includes('listener'));
  t.ok(doubles.closed.includes('receiver'));
  t.match(stderr, /made a key, .*receiver\.key/);
  t.equal(doubles.listener?.keys().length, 1);
});

t.test('the pairing string is shown once, and only to a person at a terminal', async t => {
  const home = t.testdir();
  const run = (isTerminal: boolean) => receive(t, new Doubles(), [], { home, isTerminal });
  const first = await run(true);
  t.match(
    first.stderr,
    /replica pair testhost:7375\nand paste this line when it asks:\n {4}replica1:/,
  );
  t.notMatch((await run(true)).stderr, /replica1:|made a key/);
  const piped = await receive(t, new Doubles(), [], { home: t.testdir() });
  t.match(piped.stderr, /replica pair testhost:7375\nand paste what 'replica key show' prints/);
  t.notMatch(piped.stderr, /replica1:/, 'logs are archived; secrets are not for archives');
});

t.test('flags reach receiver and listener', async t => {
  const doubles = new Doubles();
  const flags = [
    '--port',
    '0',
    '--host',
    '127.0.0.1',
    '--state',
    'state',
    '--adopt',
    '--take-over',
  ];
  const more = ['--fsync', 'off', '--keep', '2h', '--special-bits', '--insecure'];
  const { stdout, stderr, home } = await receive(t, doubles, [...flags, ...more]);
  t.equal(stdout, 'listening on 127.0.0.1:4711\n');
  t.match(doubles.receiver, {
    stateFolder: join(home, 'state'),
    adopt: true,
    takeOver: true,
    fsync: 'off',
    keepMs: 7_200_000,
    specialBits: true,
  });
  t.match(doubles.listener, { host: '127.0.0.1', port: 0, insecure: true });
  t.notMatch(stderr, /made a key/, 'no key where none is used');
});

t.test(
  '--insecure listens on this machine only unless told otherwise, and then refuses',
  async t => {
    const doubles = new Doubles();
    await receive(t, doubles, ['--insecure']);
    t.match(doubles.listener, { host: '127.0.0.1' });
  },
);

t.test('a session that fails is one line in the log and ends nothing else', async t => {
  for (const [error, message] of [
    [new ReplicaError('ERR_PROTOCOL', 'a broken frame'), /disconnected: a broken frame/],
    [new TypeError('oops'), /a bug ended the connection/],
  ] as const) {
    const [near, far] = memoryPair();
    const [other, otherFar] = memoryPair();
    t.teardown(() => Promise.all([near, far, other, otherFar].map(one => one.close())));
    const doubles = new Doubles([near, other]);
    doubles.serveError = error;
    const { code, stderr } = await receive(t, doubles);
    t.equal(code, 0);
    t.match(stderr, message);
    t.equal(doubles.served.length, 2, 'the next one is served');
  }
});
