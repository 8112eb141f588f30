// The folders of the config file: their settings, `add` and `up`.
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { StartCommand } from '../../src/cli/child-command.ts';
import { type Programs, realPrograms } from '../../src/cli/programs.ts';
import { ReplicaError } from '../../src/errors.ts';
import type { SenderOptions } from '../../src/sender/sender-options.ts';
import { CliProcess, runInProcess, runSpawned, TextSink } from '../support/run-cli.ts';
import { until } from '../support/until.ts';

/** A home with two sources, and its config file. */
class Home {
  readonly path: string;
  readonly configFile: string;

  constructor(t: Test, config?: unknown) {
    this.path = realpathSync(
      t.testdir({ a: { f: '1' }, b: { f: '2' }, 'x.env': 'REPLICA_INTERVAL=3s' }),
    );
    this.configFile = join(this.path, '.config/replica/config.json');
    if (config !== undefined) this.write(config);
  }

  at(...path: string[]): string {
    return join(this.path, ...path);
  }

  write(config: unknown): void {
    mkdirSync(join(this.configFile, '..'), { recursive: true });
    writeFileSync(this.configFile, JSON.stringify(config));
  }

  config(): { folders: unknown[] } {
    return JSON.parse(readFileSync(this.configFile, 'utf8'));
  }

  run(argv: readonly string[], programs?: Programs, env: Record<string, string> = {}) {
    return runInProcess(argv, { home: this.path, env, ...(programs ? { programs } : {}) });
  }
}

/** Nothing starts: what the sender would be opened with is kept. */
function fakePush(opened: SenderOptions[]): Programs {
  return {
    ...realPrograms,
    openReceiver: async () => ({ serve: async () => {}, close: async () => {} }),
    openSender: async options => {
      opened.push(options);
      throw new ReplicaError('ERR_FENCED', 'seen enough');
    },
  };
}

t.test('flag > environment > --env-file > folder > section > top > default', async t => {
  const home = new Home(t);
  const folder = { source: home.at('a'), target: home.at('dst') };
  const steps: [unknown, string[], Record<string, string>, number][] = [
    [{}, [], {}, 500],
    [{ interval: '6s' }, [], {}, 6000],
    [{ interval: '6s', push: { interval: '5s' } }, [], {}, 5000],
    [
      { interval: '6s', push: { interval: '5s' }, folders: [{ ...folder, interval: '4s' }] },
      [],
      {},
      4000,
    ],
    [{ folders: [{ ...folder, interval: '4s' }] }, ['--env-file', 'x.env'], {}, 3000],
    [
      { folders: [{ ...folder, interval: '4s' }] },
      ['--env-file', 'x.env'],
      { REPLICA_INTERVAL: '2s' },
      2000,
    ],
    [
      { folders: [{ ...folder, interval: '4s' }] },
      ['--env-file', 'x.env', '--interval', '1s'],
      { REPLICA_INTERVAL: '2s' },
      1000,
    ],
    [{ folders: [{ ...folder, source: home.at('b'), interval: '4s' }] }, [], {}, 500],
    [{ folders: [{ ...folder, target: home.at('other'), interval: '4s' }] }, [], {}, 500],
    [{ folders: [{ source: '~/a/', target: '~/dst', interval: '4s' }] }, [], {}, 4000],
  ];
  for (const [config, flags, env, intervalMs] of steps) {
    home.write(config);
    const opened: SenderOptions[] = [];
    const { code, stderr } = await home.run(
      ['push', 'a', './dst', ...flags],
      fakePush(opened),
      env,
    );
    t.equal(code, 12, stderr);
    t.equal(opened[0]?.intervalMs, intervalMs, JSON.stringify([config, flags, env]));
  }
});

t.test('an error in the config file names the folder', async t => {
  const home = new Home(t);
  const good = { source: '/a', target: 'host' };
  const rows: [unknown, RegExp][] = [
    [{}, /'folders' must be a list/],
    [[7], /'folders\[0\]' must be an object with source and target/],
    [[good, { source: '/a' }], /'folders\[1\]' needs a source and a target/],
    [[{ ...good, source: 'a' }], /'folders\[0\]' has the source 'a': give a whole path/],
    [[{ ...good, target: './x' }], /'folders\[0\]' has the target '\.\/x': give a whole path/],
    [[{ ...good, target: 'a@b' }], /'folders\[0\]' unusable target 'a@b': there are no user names/],
    [[{ ...good, bogus: 1 }], /there is no setting 'folders\[0\]\.bogus'/],
    [[{ ...good, once: null }], /'folders\[0\]\.once' must be/],
    [
      [good, { source: '/a/', target: 'HOST:7375' }],
      /'folders\[1\]' has the source and target of an/,
    ],
  ];
  for (const [folders, message] of rows) {
    home.write({ folders });
    const { code, stderr } = await home.run(['up']);
    t.equal(code, 1);
    t.match(stderr, message);
    t.equal(stderr.split('\n').length, 2, 'one line');
  }
  home.write({ folders: [{ source: home.at('a'), target: home.at('dst'), interval: 'never' }] });
  const { code, stderr } = await home.run(['push', 'a', './dst'], fakePush([]));
  t.equal(code, 1);
  t.match(stderr, /^replica: folders\[0\]\.interval in .*config\.json: 'never' is not a duration/);
});

t.test('add appends a folder with its flags, as push understands them', async t => {
  const home = new Home(t, { interval: '6s', receive: { port: 1 } });
  const flags = ['--exclude', '*.o', '--exclude', 'tmp/', '-z', '--max-delete=10%', '--adopt'];
  const added = await home.run(['add', 'a', './dst', ...flags, '--exclude-from', 'x.env']);
  t.strictSame(added, {
    code: 0,
    stderr: '',
    stdout: `added ${home.at('a')} to ${home.at('dst')}; 'replica up' replicates it\n`,
  });
  const again = await home.run(['add', 'b', 'HOST.example', '--key-file', 'k', '--no-delete']);
  t.equal(again.code, 0);
  t.match(again.stderr, /there is no key file .*\/k/, 'said now, not at night');
  t.strictSame(home.config(), {
    interval: '6s',
    receive: { port: 1 },
    folders: [
      {
        source: home.at('a'),
        target: home.at('dst'),
        exclude: ['*.o', 'tmp/'],
        'exclude-from': [home.at('x.env')],
        'max-delete': '10%',
        compress: 'on',
        adopt: true,
      },
      {
        source: home.at('b'),
        target: 'HOST.example:7375',
        'no-delete': true,
        'key-file': home.at('k'),
      },
    ],
  });
  t.equal(statSync(home.configFile).mode & 0o777, 0o600);
  t.same(readdirSync(home.at('.config/replica')), ['config.json'], 'nothing is left over');
  const opened: SenderOptions[] = [];
  await home.run(['push', 'a', './dst'], fakePush(opened));
  t.match(opened[0], {
    exclude: ['REPLICA_INTERVAL=3s', '*.o', 'tmp/'],
    maxDelete: { kind: 'percent', value: 10 },
    intervalMs: 6000,
  });
});

t.test(
  'add refuses what push would refuse, and what is there, and changes nothing then',
  async t => {
    const home = new Home(t);
    t.equal((await home.run(['add', 'a', './dst'])).code, 0);
    const before = readFileSync(home.configFile, 'utf8');
    const rows: [string[], number, RegExp][] = [
      [['a/', './dst'], 1, /'folders\[0\]' replicates .*\/a to .*\/dst already; edit it there$/],
      [['nope', './dst'], 3, /source .*\/nope does not exist$/],
      [['a', './a/in'], 3, /is inside the source/],
      [['a', 'user@host'], 1, /there are no user names here/],
      [['a', './new', '--interval', 'never'], 1, /--interval: 'never' is not a duration/],
      [['a', './new', '--keep', 'never'], 1, /--keep: 'never' is not a duration/],
      [['a', './new', '--compress', 'gzip'], 1, /--compress: 'gzip' is none of/],
      [['a', './new', '--bogus'], 1, /there is no flag --bogus for add; see 'replica add --help'/],
      [['a', 'host', '--adopt'], 1, /--adopt: is for a folder on this machine/],
      [['a', 'host', '--once'], 1, /--once: is for one run; give it to push/],
      [['a', 'host', '--dry-run'], 1, /--dry-run: is for one run/],
    ];
    for (const [argv, code, message] of rows) {
      const result = await home.run(['add', ...argv]);
      t.equal(result.code, code, argv.join(' '));
      t.match(result.stderr.trimEnd(), message);
      t.equal(result.stderr.split('\n').length, 2, 'one line');
    }
    t.equal(readFileSync(home.configFile, 'utf8'), before);
    writeFileSync(home.configFile, '{"a":');
    const broken = await home.run(['add', 'b', './dst']);
    t.equal(broken.code, 1);
    t.match(broken.stderr, /not valid JSON/);
    t.equal(readFileSync(home.configFile, 'utf8'), '{"a":', 'what cannot be read is not replaced');
  },
);

t.test('remove forgets one folder, and nothing else', async t => {
  const home = new Home(t, {
    interval: '6s',
    folders: [
      { source: '~/a', target: 'HOST.example', exclude: ['*.o'] },
      { source: '~/b', target: '~/dst' },
      { source: '~/a', target: '~/dst' },
      { source: '/is/gone', target: '~/other' },
    ],
  });
  const before = home.config().folders;
  const rows: [string[], RegExp][] = [
    [['nope'], /it does not have .*\/nope; it has .*\/a to HOST\.example, .*\/b to/],
    [['a', './x'], /it does not have .*\/a to \.\/x; it has/],
    [['a'], /it has .*\/a to HOST\.example and .*\/a to .*\/dst: say which target$/],
    [['a', 'user@host'], /there are no user names here/],
  ];
  for (const [argv, message] of rows) {
    const { code, stderr } = await home.run(['remove', ...argv]);
    t.equal(code, 1);
    t.match(stderr.trimEnd(), message);
    t.equal(stderr.split('\n').length, 2, 'one line');
  }
  t.strictSame(home.config().folders, before);
  const removed = await home.run(['remove', './a/', 'host.example:7375']);
  t.strictSame(removed, {
    code: 0,
    stderr: '',
    stdout: `removed ${home.at('a')} to HOST.example; what was copied stays\n`,
  });
  t.strictSame(home.config(), { interval: '6s', folders: before.slice(1) });
  t.equal((await home.run(['remove', '/is/gone'])).code, 0);
  t.equal((await home.run(['remove', 'b'])).code, 0);
  t.equal((await home.run(['remove', 'a'])).code, 0, 'it has one target by now');
  t.strictSame(home.config(), { interval: '6s', folders: [] });
  const none = await home.run(['remove', 'a']);
  t.match(none.stderr, /it does not have \S*; it has no folders\n$/);
});

t.test('folders that are added at the same time are all there', async t => {
  const home = new Home(t);
  const targets = Array.from({ length: 6 }, (_, i) => home.at(`to${i}`));
  const added = targets.map(target =>
    runSpawned(['add', home.at('a'), target], { home: home.path }),
  );
  for (const { code, stderr } of await Promise.all(added)) t.equal(code, 0, stderr);
  const found = home.config().folders.map(one => (one as { target: string }).target);
  t.same(found.sort(), targets);
});

t.test('a config file that is a link stays one', async t => {
  const home = new Home(t);
  mkdirSync(home.at('dotfiles'));
  mkdirSync(home.at('.config/replica'), { recursive: true });
  writeFileSync(home.at('dotfiles/replica.json'), '{}');
  symlinkSync(home.at('dotfiles/replica.json'), home.configFile);
  t.equal((await home.run(['add', 'a', './dst'])).code, 0);
  t.ok(lstatSync(home.configFile).isSymbolicLink());
  t.equal(JSON.parse(readFileSync(home.at('dotfiles/replica.json'), 'utf8')).folders.length, 1);
});

interface FakeRun {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly end: (code: number | undefined) => void;
}

/** Commands that say one thing and end when they are stopped, or told to. */
function fakeCommands(runs: FakeRun[], says: string): StartCommand {
  return (argv, { env }) => {
    let end: FakeRun['end'] = () => {};
    const ended = new Promise<number | undefined>(resolve => {
      end = resolve;
    });
    runs.push({ argv, env, end });
    async function* lines() {
      yield says;
      await ended;
    }
    return { lines: lines(), ended, stop: () => end(0) };
  };
}

/** `up` of two folders with made-up pushes, of which the second ends with `code`. */
async function upWith(t: Test, code: number | undefined, flags: readonly string[] = []) {
  const home = new Home(t);
  const [a, b] = ['a', 'b'].map(name => ({ source: home.at(name), target: home.at('to', name) }));
  home.write({ folders: [a, b] });
  const runs: FakeRun[] = [];
  const line = JSON.stringify({ level: 'warn', time: 'x', pid: 7, count: 3, msg: 'so it is\x1b' });
  const stop = new AbortController();
  const stderr = new TextSink();
  const running = runInProcess(['up', ...flags], {
    home: home.path,
    env: { REPLICA_LOG_FILE: home.at('log'), REPLICA_INTERVAL: '2s' },
    programs: { ...realPrograms, startCommand: fakeCommands(runs, line) },
    signal: stop.signal,
    stderr,
  });
  await until(() => runs.length === 2, 'two pushes');
  runs[1]?.end(code);
  await until(() => stderr.text.includes(`${home.at('b')}: ended`), 'the end of one');
  stop.abort();
  return { ...(await running), runs, home };
}

t.test(
  'up starts a push for each folder; one that fails ends alone; the worst code counts',
  async t => {
    const { code, stderr, runs, home } = await upWith(t, 11, ['--once', '-v', '-v']);
    t.equal(code, 11);
    const [a, b] = [home.at('a'), home.at('b')];
    const flags = ['push', '--once', '-v', '-v', '--log-format', 'json', '--'];
    t.same(
      runs.map(run => run.argv),
      [
        [...flags, a, home.at('to/a')],
        [...flags, b, home.at('to/b')],
      ],
    );
    t.match(runs[0]?.env, { REPLICA_INTERVAL: '2s', REPLICA_LOG_FILE: undefined });
    const lines = stderr
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line));
    t.match(lines[0], { level: 'warn', source: a, childPid: 7, count: 3, msg: `${a}: so it is` });
    const ends = lines.filter(line => 'code' in line);
    t.match(ends, [
      { level: 'error', source: b, code: 11, msg: /ended with exit code 11; the others go on$/ },
      { level: 'info', source: a, code: 0, msg: /ended$/ },
    ]);
    t.equal(readFileSync(home.at('log'), 'utf8'), stderr, 'the log file has each line once');
  },
);

t.test('up gives each folder a port of its own for --metrics', async t => {
  const home = new Home(t);
  const folders = ['a', 'b', 'c', 'd'].map(name => ({
    source: home.at(name),
    target: home.at('to', name),
  }));
  const own = folders.map((folder, i) => (i === 2 ? { ...folder, metrics: '9465' } : folder));
  const ports = async (config: object, flags: readonly string[], env = {}): Promise<unknown[]> => {
    home.write(config);
    const runs: FakeRun[] = [];
    const stop = new AbortController();
    const running = runInProcess(['up', ...flags], {
      home: home.path,
      env,
      programs: { ...realPrograms, startCommand: fakeCommands(runs, '') },
      signal: stop.signal,
    });
    await until(() => runs.length === 4, 'four pushes');
    stop.abort();
    t.equal((await running).code, 0);
    return runs.map(({ argv }) => argv[argv.indexOf('--metrics') + 1]);
  };
  // Without the flag the word before it is the command: its own entry counts.
  const own9465 = 'push';
  const spread = ['127.0.0.1:9464', '127.0.0.1:9466', own9465, '127.0.0.1:9467'];
  t.same(await ports({ push: { metrics: '9464' }, folders: own }, []), spread);
  t.same(await ports({ metrics: 9464, folders: own }, []), spread);
  t.same(await ports({ folders }, ['--metrics', '10.0.0.5:9464']), [
    ...['10.0.0.5:9464', '10.0.0.5:9465', '10.0.0.5:9466', '10.0.0.5:9467'],
  ]);
  const any = Array(4).fill('127.0.0.1:0');
  t.same(await ports({ folders }, [], { REPLICA_METRICS: '0' }), any);
  home.write({ folders });
  const { code, stderr } = await home.run(['up', '--metrics', '65534']);
  t.equal(code, 1);
  t.match(stderr, /^replica: --metrics: there is no port above 65534 for each folder/);
});

t.test('up: a push that was killed is a failure, one that a stop ends is none', async t => {
  t.equal((await upWith(t, undefined)).code, 11);
  t.equal((await upWith(t, 0)).code, 0);
  t.equal((await upWith(t, 70)).code, 70);
});

t.test('up tells two targets of one source apart in its log', async t => {
  const home = new Home(t);
  const [source, one, two] = [home.at('a'), home.at('one'), home.at('two')];
  const folders = [one, two].map(target => ({ source, target }));
  home.write({ folders: [...folders, { source: home.at('b'), target: one }] });
  const runs: FakeRun[] = [];
  const signal = AbortSignal.abort();
  const { stderr } = await runInProcess(['up'], {
    home: home.path,
    programs: { ...realPrograms, startCommand: fakeCommands(runs, '{"level":"info","msg":"x"}') },
    signal,
  });
  const said = stderr.split('\n').filter(line => line.includes(': x"'));
  t.same(
    said.map(line => JSON.parse(line).msg).sort(),
    [`${source} to ${one}: x`, `${source} to ${two}: x`, `${home.at('b')}: x`].sort(),
  );
});

t.test('up without folders says how to add one', async t => {
  const home = new Home(t);
  const { code, stderr } = await home.run(['up']);
  t.equal(code, 1);
  t.match(stderr, /config\.json: it has no folders; 'replica add <src> <target>' adds one\n$/);
});

t.test('up with real processes: they replicate, and end with it, however it ends', async t => {
  const home = new Home(t, {
    interval: '50',
    folders: [
      { source: '~/a', target: '~/to-a' },
      { source: '~/nope', target: '~/to-nope' },
      { source: '~/b', target: '~/to-b' },
    ],
  });
  const start = (): CliProcess => {
    const up = new CliProcess(['up'], { home: home.path });
    t.teardown(() => up.stop());
    return up;
  };
  const first = start();
  const syncs = () => first.stderr.split('in sync').length - 1;
  await first.until(one => syncs() >= 2 && one.stderr.includes('exit code 3'));
  t.equal(readFileSync(home.at('to-a/f'), 'utf8'), '1');
  writeFileSync(home.at('b/f'), 'more');
  await until(() => readFileSync(home.at('to-b/f'), 'utf8') === 'more', 'the change');
  t.equal(await first.stop(), 3, 'the code of the one that failed');
  t.same(childPids(first).filter(isAlive), []);
  const ends = first.stderr.split('\n').filter(line => line.includes('"code":'));
  t.same(
    ends.map(line => JSON.parse(line).code).sort(),
    [0, 0, 3],
    'the others finished what they were at',
  );

  home.write({ folders: [{ source: '~/a', target: '~/to-a' }] });
  const second = start();
  await second.until(one => one.stderr.includes('in sync'));
  second.child.kill('SIGKILL');
  const [pid = 0] = childPids(second);
  await until(() => !isAlive(pid), 'the end of the push');
});

function childPids({ stderr }: CliProcess): readonly number[] {
  const pids = [...stderr.matchAll(/"childPid":(\d+)/g)].map(one => Number(one[1]));
  t.not(pids.length, 0);
  return [...new Set(pids)];
}

/** One that nobody has waited for yet is over too: proc(5). */
function isAlive(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}
