import { mkdirSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import t, { type Test } from 'tap';
import type { Programs, ReceiveOptions } from '../../src/cli/programs.ts';
import { FailureNews } from '../../src/cli/push-report.ts';
import { RepeatedLines } from '../../src/cli/repeated-lines.ts';
import { ReplicaError } from '../../src/errors.ts';
import { memoryPair } from '../../src/net/memory-pair.ts';
import { replacedRoot } from '../../src/sender/change.ts';
import type { SenderEvent, SenderOutcome } from '../../src/sender/events.ts';
import type { SenderOptions } from '../../src/sender/sender-options.ts';
import type { SenderStatus } from '../../src/sender/status-board.ts';
import { type InProcessOptions, runInProcess } from '../support/run-cli.ts';

const equal: SenderOutcome = {
  inSync: true,
  problems: 0,
  vanished: 0,
  held: 0,
  interrupted: false,
  error: undefined,
};

class Doubles {
  sender: SenderOptions | undefined;
  receiver: ReceiveOptions | undefined;
  closed: string[] = [];
  readonly #events: readonly SenderEvent[];

  constructor(events: readonly SenderEvent[]) {
    this.#events = events;
  }

  get programs(): Programs {
    const events = this.#events;
    const { closed } = this;
    return {
      dialSsh: () => Promise.reject(new Error('not in this test')),
      connectionOver: () => Promise.reject(new Error('not in this test')),
      memoryPair: async () => memoryPair(),
      dial: () => Promise.reject(new ReplicaError('ERR_SOCKET', 'no network in this test')),
      openVerifier: () => Promise.reject(new Error('not in this test')),
      listen: () => Promise.reject(new ReplicaError('ERR_SOCKET', 'no network in this test')),
      openReceiver: async options => {
        this.receiver = options;
        return { serve: async () => {}, close: async () => void closed.push('receiver') };
      },
      openSender: async options => {
        this.sender = options;
        return {
          ...unasked,
          async *run() {
            yield* events;
          },
          close: async () => closed.push('sender') > 0,
        };
      },
    };
  }
}

const notHere = (): never => {
  throw new Error('not in this test');
};

/** What nobody asks these senders. */
const unasked = {
  // All that the last line of a terminal needs of it.
  status: { state: 'connecting', reason: '' } as SenderStatus,
  ...{ pending: notHere, explain: notHere, flush: notHere },
  ...{ pause: notHere, resume: notHere, decide: notHere },
};

/** `push src ./dst` with a sender that says `events`. */
async function push(
  t: Test,
  events: readonly SenderEvent[],
  flags: readonly string[] = [],
  options: Partial<InProcessOptions> = {},
) {
  const home = t.testdir({ src: { file: 'x' } });
  const doubles = new Doubles(events);
  const result = await runInProcess(['push', 'src', './dst', ...flags], {
    home,
    programs: doubles.programs,
    ...options,
  });
  return { ...result, home: realpathSync(home), doubles };
}

function end(outcome: Partial<SenderOutcome> = {}): SenderEvent {
  return { kind: 'end', outcome: { ...equal, ...outcome } };
}

t.test(
  'a password for ssh may be typed until --timeout; what was reached answers sooner',
  async t => {
    const home = t.testdir({ src: {} });
    for (const [flags, first] of [
      [[], 30_000],
      [['--timeout', '100s'], 100_000],
      [['--timeout', '1h'], 120_000],
    ] as const) {
      const doubles = new Doubles([{ kind: 'end', outcome: equal }]);
      const given: number[] = [];
      const answers = [false, true, false].map(isReached => async () => {
        if (isReached) return (await memoryPair())[0];
        throw new ReplicaError('ERR_TIMEOUT', 'no answer');
      });
      const programs: Programs = {
        ...doubles.programs,
        dialSsh: async ({ timeoutMs }) => {
          given.push(timeoutMs);
          return (answers.shift() ?? notHere)();
        },
      };
      await runInProcess(['push', 'src', 'ssh://h/dst', ...flags], { home, programs });
      const { signal } = new AbortController();
      for (let i = 0; i < 3; i++) {
        const attempt = await doubles.sender?.connect(signal).catch(() => undefined);
        await attempt?.close();
      }
      t.same(given, [first, first, 15_000], flags.join(' '));
    }
  },
);

t.test('flags reach the sender with their defaults', async t => {
  const { code, doubles, home } = await push(t, [end()]);
  t.equal(code, 0);
  const { sender, receiver } = doubles;
  t.match(sender, {
    source: join(home, 'src'),
    intervalMs: 500,
    once: false,
    dryRun: false,
    paths: [],
    exclude: [],
    deleteExcluded: false,
    delete: true,
    maxDelete: { kind: 'percent', value: 50 },
    acceptDeletes: false,
    scanJobs: 'auto',
    optimize: 'time',
    cpuShare: 0.1,
    checksum: false,
    timeoutMs: 30_000,
    takeOver: false,
    label: `testhost:${home}/src`,
  });
  t.equal(sender?.sourceId.length, 16);
  t.match(sender?.stateFolder, /^.*\/\.local\/state\/replica\/[0-9a-f]{16}$/);
  t.equal(statSync(sender?.stateFolder ?? '').mode & 0o777, 0o700);
  t.match(receiver, {
    root: join(home, 'dst'),
    adopt: false,
    takeOver: false,
    fsync: 'batch',
    keepMs: 86_400_000,
    specialBits: false,
  });
  t.same(doubles.closed, ['sender', 'receiver'], 'the sender closes before its receiver');
});

t.test('flags reach the sender as given', async t => {
  const flags = [
    ...['--interval', '2s', '--once', '--exclude', '*.o', '--exclude', 'build/', '--no-delete'],
    ...['--max-delete', '7', '--accept-deletes', '-c', '--timeout=1m', '--take-over'],
    ...['--cpu-limit', '2.5%', '--scan-jobs', '8', '--optimize', 'bytes'],
    ...['--chmod', 'D755', '-g', '-X', '--numeric-ids'],
    ...['--special-bits', '--adopt', '--fsync', 'off', '--keep', '1h', '--path', './a//b/'],
  ];
  const { code, doubles } = await push(t, [end()], flags);
  t.equal(code, 0);
  t.match(doubles.sender, {
    intervalMs: 2000,
    once: true,
    paths: ['a/b'],
    exclude: ['*.o', 'build/'],
    delete: false,
    maxDelete: { kind: 'count', value: 7 },
    acceptDeletes: true,
    checksum: true,
    scanJobs: 8,
    optimize: 'bytes',
    attributes: {
      chmod: [{ for: 'directories', keep: 0, set: 0o755, setIfExecutable: 0 }],
      owner: false,
      group: true,
      xattrs: true,
    },
    numericIds: true,
    cpuShare: 0.025,
    timeoutMs: 60_000,
    takeOver: true,
  });
  t.match(doubles.receiver, {
    adopt: true,
    takeOver: true,
    fsync: 'off',
    keepMs: 3_600_000,
    specialBits: true,
  });
});

t.test('patterns on the command line come after those of files, and so beat them', async t => {
  const home = t.testdir({ src: {}, rules: '# a comment\r\n*.log\n\n!keep.log\n' });
  const doubles = new Doubles([end()]);
  const flags = ['--exclude', 'keep.log', '--exclude-from', 'rules'];
  await runInProcess(['push', 'src', './dst', ...flags], { home, programs: doubles.programs });
  t.same(doubles.sender?.exclude, ['# a comment', '*.log', '!keep.log', 'keep.log']);
});

t.test('a dry run and a part of the source are one pass', async t => {
  t.match((await push(t, [end()], ['-n'])).doubles.sender, { once: true, dryRun: true });
  t.match((await push(t, [end()], ['--path', 'a'])).doubles.sender, { once: true, dryRun: false });
});

t.test('the same source and target get the same state folder, others another', async t => {
  const folder = async (target: string): Promise<string | undefined> => {
    const home = t.testdir({ src: {}, link: t.fixture('symlink', 'dst'), dst: {} });
    const doubles = new Doubles([end()]);
    const source = target === './dst' ? 'src' : './src/';
    await runInProcess(['push', source, target], { home, programs: doubles.programs });
    return doubles.sender?.stateFolder;
  };
  const first = await folder('./dst');
  t.equal(await folder('./link/'), first);
  t.not(await folder('./other'), first);
});

t.test('each outcome has its exit code', async t => {
  const failure = (code: ConstructorParameters<typeof ReplicaError>[0]) => ({
    inSync: false,
    error: new ReplicaError(code, 'what happened to what'),
  });
  const rows: [Partial<SenderOutcome>, readonly string[], number][] = [
    [{}, ['--once'], 0],
    [{ inSync: false }, [], 0],
    [{ inSync: false, interrupted: true }, [], 0],
    [{ inSync: false, interrupted: true }, ['--once'], 20],
    [{ interrupted: true }, ['--once'], 0],
    [{ inSync: false, problems: 2, vanished: 1, held: 1 }, ['--once'], 23],
    [{ inSync: false, vanished: 1, held: 1 }, ['--once'], 25],
    [{ vanished: 1 }, ['--once'], 24],
    [{ inSync: false }, ['--once'], 23],
    [failure('ERR_AUTH'), [], 5],
    [failure('ERR_FENCED'), [], 12],
    [failure('ERR_FOREIGN'), [], 3],
    [failure('ERR_IO'), ['--once'], 11],
    [failure('ERR_TIMEOUT'), ['--once'], 30],
  ];
  for (const [outcome, flags, expected] of rows) {
    const { code, stderr } = await push(t, [end(outcome)], flags);
    t.equal(code, expected, JSON.stringify([outcome, flags]));
    const said =
      outcome.error?.code === 'ERR_FENCED' ? 'another push of .*' : 'what happened to what';
    if (outcome.error) t.match(stderr, new RegExp(`^replica: ${said}$`, 'm'));
  }
});

t.test('says what happens, as JSON lines off a terminal and as sentences on one', async t => {
  const events: SenderEvent[] = [
    {
      kind: 'disconnected',
      error: new ReplicaError('ERR_SOCKET', 'connection refused'),
      retryInMs: 1500,
    },
    { kind: 'connected', peer: 'this process' },
    {
      kind: 'commit',
      commit: 7n,
      operations: 1,
      bytesSent: 417,
      bytesReused: 1_210_000,
      resent: 0,
      ms: 12,
    },
    { kind: 'problem', problem: { path: 'a\n\xff', code: 'EACCES', message: 'permission denied' } },
    { kind: 'held', reason: 'the source is empty', count: 3 },
    { kind: 'released' },
    { kind: 'source', state: 'gone', reason: 'its folder is missing' },
    { kind: 'source', state: 'gone', reason: replacedRoot },
    { kind: 'source', state: 'back', reason: 'its folder is there again' },
    { kind: 'synced', entries: 2, special: 0 },
    { kind: 'synced', entries: 2, special: 3 },
    { kind: 'reconciling', entries: 1 },
    { kind: 'state', message: 'the state was rebuilt' },
    { kind: 'lost', count: 2 },
    { kind: 'disconnected', error: new ReplicaError('ERR_SOCKET', 'link lost'), retryInMs: 200 },
    end({ problems: 1, vanished: 2, held: 3 }),
  ];
  const sentences = [
    'connection refused; trying again in 1.5 s',
    'connected to this process',
    'commit 7: 1 operation, 417 B sent, 1.21 MB reused, 12 ms',
    'a\\x0a\\xff: permission denied (EACCES)',
    "3 deletes held: the source is empty; 'replica approve' or --accept-deletes releases them",
    'no deletes are held any more',
    'the source is gone: its folder is missing; nothing is deleted, and it goes on by itself once it is back',
    "the source is gone: another directory is in its place (not mounted, or replaced?); nothing is deleted: mount it, or 'replica approve' if this is the source from now on",
    'the source is back: its folder is there again',
    'in sync, 2 entries',
    'in sync, 2 entries; skipped 3 sockets, pipes and devices',
    'comparing with the 1 entry of the replica',
    'the state was rebuilt',
    '2 entries changed at the destination; putting them right',
    'link lost; trying again in 200 ms',
    '1 entry not transferred',
    '2 entries vanished while being read',
    '3 deletes held',
  ];
  const piped = await push(t, events);
  const lines = piped.stderr
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line));
  t.same(
    lines.map(line => line.msg),
    sentences,
  );
  t.match(lines[2], { level: 'info', commit: 7, operations: 1, bytesSent: 417, ms: 12 });
  t.match(lines[0].time, /^\d{4}-\d\d-\d\dT/);
  const sent = await push(t, events, ['--log-format', 'pretty']);
  const plain = sent.stderr.trimEnd().split('\n');
  for (const [i, line] of plain.entries()) {
    t.match(line, /^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] (INFO|WARN): /);
    t.ok(line.endsWith(`: ${sentences[i]}`), line);
  }
  const quiet = await push(t, events, ['-q'], { isTerminal: true });
  const afterTime = (line: string): string => line.slice(line.indexOf('] '));
  t.same(
    quiet.stderr.trimEnd().split('\n').map(afterTime),
    plain.filter(line => line.includes('] WARN: ')).map(afterTime),
  );
  const terminal = await push(t, events, [], { isTerminal: true });
  const shown = stripVTControlCharacters(terminal.stderr)
    .split('\n')
    .filter(line => line !== '' && line !== 'connecting');
  for (const [i, line] of shown.entries()) {
    t.match(line, /^\[\d\d:\d\d:\d\d\] (INFO|WARN): /);
    t.ok(line.endsWith(`: ${sentences[i]}`), line);
  }
});

t.test('a receiver that is away is told of once, and then each minute', async t => {
  const away = (message: string): SenderEvent => ({
    ...{ kind: 'disconnected', error: new ReplicaError('ERR_SOCKET', message), retryInMs: 200 },
  });
  const events = [away('refused'), away('refused'), away('no way'), away('no way')];
  const connected: SenderEvent = { kind: 'connected', peer: 'p' };
  const synced: SenderEvent = { kind: 'synced', entries: 1, special: 0 };
  // One that is reached and then fails, as a full one does, is none that works.
  const full = [connected, away('full'), connected, away('full'), connected, away('full')];
  const all = [...events, ...full, synced, away('full'), connected, end()];
  const lines = (text: string): readonly string[] =>
    text.split('\n').flatMap(line => /WARN: (.*); trying again in 200 ms$/.exec(line)?.[1] ?? []);
  const { stderr } = await push(t, all, ['--log-format', 'pretty']);
  t.same(lines(stderr), ['refused', 'no way', 'full', 'full']);
  t.equal(stderr.match(/connected to p/g)?.length, 3);
  const verbose = await push(t, all, ['--log-format', 'pretty', '-v']);
  t.equal(verbose.stderr.match(/trying again/g)?.length, 8);
  t.equal(verbose.stderr.match(/connected to p/g)?.length, 4);

  const news = new FailureNews();
  const told = [0, 1000, 59_999, 60_000, 100_000, 120_000].map(ms => news.isNews(away('x'), ms));
  t.same(told, [true, false, false, true, false, true]);
  let nowMs = 0;
  const repeated = new RepeatedLines(() => nowMs);
  const said = [0, 59_999, 60_000].map(ms => {
    nowMs = ms;
    return repeated.isNews('y');
  });
  t.same([...said, repeated.isNews('z')], [true, false, true, true]);
});

t.test('--dry-run prints operations to stdout', async t => {
  const operations: SenderEvent[] = [
    { kind: 'operation', text: '+ a' },
    { kind: 'operation', text: '- b\x1b[2J' },
  ];
  const { stdout } = await push(t, [...operations, end()], ['--dry-run']);
  t.equal(stdout, '+ a\n- b [2J\n');
});

t.test('--log-file gets JSON lines too, with the failure that ended it', async t => {
  const outcome = { inSync: false, error: new ReplicaError('ERR_FENCED', 'a newer sender') };
  const events: SenderEvent[] = [{ kind: 'synced', entries: 2, special: 0 }, end(outcome)];
  const { code, home, stderr } = await push(t, events, ['--log-file', 'log'], {
    env: { REPLICA_VERBOSE: '1' },
  });
  t.equal(code, 12);
  t.match(stderr, /in sync/);
  const lines = readFileSync(join(home, 'log'), 'utf8').trimEnd().split('\n');
  t.equal(JSON.parse(lines[0] ?? '').msg, 'in sync, 2 entries');
  t.match(JSON.parse(lines[1] ?? ''), { level: 'error', error: { message: 'a newer sender' } });
});

t.test('own state and log inside the source are left out of the replica', async t => {
  const home = join(t.testdir({ home: { 'logs [1]': {} } }), 'home');
  const doubles = new Doubles([end()]);
  await runInProcess(['push', '.', '../dst', '--log-file', 'logs [1]/a*.log'], {
    home,
    programs: doubles.programs,
  });
  t.same(doubles.sender?.exclude, ['/.local/state/replica', '/logs \\[1\\]/a\\*.log']);
});

t.test('a bug is exit 70, with its stack only when asked', async t => {
  const broken = { ...new Doubles([]).programs };
  const home = t.testdir({ src: {} });
  const short = await runInProcess(['push', 'src', './dst'], { home, programs: broken });
  t.equal(short.code, 70);
  t.match(short.stderr, /^replica: a bug in replica: .*\(run again with --verbose for details/);
  t.equal(short.stderr.split('\n').length, 2);
  const long = await runInProcess(['push', '-v', 'src', './dst'], { home, programs: broken });
  t.equal(long.code, 70);
  t.match(long.stderr, /push-command/);
});

t.test('a system error that nobody named is file I/O: exit 11 in one line', async t => {
  const home = t.testdir({ src: {} });
  const doubles = new Doubles([end()]);
  const programs: Programs = {
    ...doubles.programs,
    openSender: async () => {
      mkdirSync(join(home, 'src'));
      throw new Error('unreachable');
    },
  };
  const { code, stderr } = await runInProcess(['push', 'src', './dst'], { home, programs });
  t.equal(code, 11);
  t.match(stderr, /^replica: EEXIST: .*\n$/);
  t.same(doubles.closed, ['receiver']);
  t.same(readdirSync(join(home, 'dst')), []);
});

t.test('after a key that wore out the next connection has one that does not', async t => {
  const asked: (boolean | undefined)[] = [];
  const doubles = new Doubles([end()]);
  const { programs } = doubles;
  const [connection] = memoryPair();
  const worn = Object.create(connection, { isWorn: { get: () => asked.length === 2 } });
  await runInProcess(['push', 'src', '127.0.0.1:1', '--insecure'], {
    home: t.testdir({ src: {} }),
    programs: {
      ...programs,
      dial: async ({ isEndless }) => {
        asked.push(isEndless);
        return worn;
      },
    },
  });
  const signal = new AbortController().signal;
  for (let i = 0; i < 4; i++) await doubles.sender?.connect(signal);
  t.strictSame(asked, [false, false, true, true]);
  await connection.close();
});
