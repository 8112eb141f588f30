// The built commands against each other: what a user sees from start to end.
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { hasFuse, mountFuse } from '../support/mounts.ts';
import { compareByDiff } from '../support/rsync.ts';
import { CliProcess, type CliResult, runSpawned } from '../support/run-cli.ts';

function place(t: Test): string {
  return t.testdir({
    home: {},
    other: {},
    src: { 'a.txt': 'first', sub: { 'b.txt': 'second' }, link: t.fixture('symlink', 'a.txt') },
  });
}

class Stage {
  readonly folder: string;
  readonly #t: Test;

  constructor(t: Test) {
    this.#t = t;
    this.folder = place(t);
  }

  at(...path: string[]): string {
    return join(this.folder, ...path);
  }

  run(...argv: string[]): Promise<CliResult> {
    return runSpawned(argv, { home: this.at('home'), cwd: this.folder });
  }

  start(...argv: string[]): CliProcess {
    const process = new CliProcess(argv, { home: this.at('home'), cwd: this.folder });
    this.#t.teardown(() => process.stop());
    return process;
  }

  receive(...flags: string[]): CliProcess {
    return this.start('receive', 'dst', '--host', '127.0.0.1', '--port', '0', ...flags);
  }

  difference(): Promise<string[]> {
    return compareByDiff(this.at('src'), this.at('dst'));
  }
}

/** JSON log lines of a process. */
function lines({ stderr }: { readonly stderr: string }): Record<string, unknown>[] {
  return stderr
    .split('\n')
    .filter(line => line.startsWith('{'))
    .map(line => JSON.parse(line));
}

t.test('receive and push replicate, report commits, and end with 0 when told to', async t => {
  const stage = new Stage(t);
  const receiver = stage.receive();
  const address = await receiver.listening();
  t.match(receiver.stdout, /^listening on 127\.0\.0\.1:\d+\n$/);
  const push = stage.start('push', 'src', address, '--interval', '50');
  await push.until(one => one.stderr.includes('in sync'));
  t.same(await stage.difference(), []);
  const commits = lines(push).filter(line => 'commit' in line);
  for (const commit of commits) {
    t.match(commit, { operations: Number, bytesSent: Number, bytesReused: 0, ms: Number });
  }
  // In one commit or, on a busy machine, two.
  t.equal(
    commits.reduce((sum, { bytesSent }) => sum + Number(bytesSent), 0),
    11,
  );

  writeFileSync(stage.at('src/a.txt'), 'changed');
  await push.until(() => readFileSync(stage.at('dst/a.txt'), 'utf8') === 'changed');
  t.equal(await push.stop(), 0);
  t.equal(await receiver.stop(), 0);
  t.equal(push.stdout, '');

  const again = stage.receive();
  const place = await again.listening();
  t.notMatch(again.stderr, /made a key/, 'the key is made once');
  const once = await stage.run('push', 'src', place, '--once');
  t.equal(once.code, 0);
  const more = await stage.run('push', 'src', place, '--once');
  t.equal(more.code, 0);
  t.same(
    lines(more).filter(line => 'commit' in line),
    [],
    'a second pass does nothing',
  );
});

t.test('a second push of the same source takes over, and both say so', async t => {
  const stage = new Stage(t);
  const receiver = stage.receive();
  const address = await receiver.listening();
  const first = stage.start('push', 'src', address);
  await first.until(one => one.stderr.includes('in sync'));
  const second = stage.start('push', 'src', address);
  const { code, stderr } = await first.result();
  t.equal(code, 12);
  const source = realpathSync(stage.at('src'));
  t.equal(
    stderr.trimEnd().split('\n').at(-1),
    `replica: another push of ${source} to ${address} took over (pid ${second.child.pid}): one is enough; stop that one before starting this one again`,
  );
  await second.until(one => one.stderr.includes('in sync'));
  t.match(lines(second)[0], {
    level: 'warn',
    msg: `a push of this source to this target is running (pid ${first.child.pid}): this one takes over`,
  });
  t.equal(await second.stop(), 0);
  t.match(
    lines(receiver).map(({ msg }) => msg),
    /a newer push of the same source took over from 127\.0\.0\.1:\d+/,
  );
});

t.test('a folder on this machine needs no second command', async t => {
  const stage = new Stage(t);
  for (const target of ['./dst', 'file:dst', `file://${stage.at('dst')}`]) {
    t.equal((await stage.run('push', 'src', target, '--once')).code, 0);
    t.same(await stage.difference(), []);
  }
  t.equal(readdirSync(stage.at('home/.local/state/replica')).length, 1, 'it is one target');
  t.notOk(existsSync(stage.at('home/.config')), 'no key is made');
});

t.test('--dry-run prints what it would do and does none of it', async t => {
  const stage = new Stage(t);
  const env = { TMPDIR: stage.at('tmp') };
  mkdirSync(env.TMPDIR);
  const dry = (...argv: string[]) =>
    runSpawned(['push', 'src', './dst', '-n', ...argv], {
      home: stage.at('home'),
      cwd: stage.folder,
      env,
    });
  for (const isThere of [false, true]) {
    if (isThere) mkdirSync(stage.at('dst'));
    const { code, stdout } = await dry();
    t.equal(code, 0);
    for (const name of ['a.txt', 'sub', 'sub/b.txt', 'link']) t.match(stdout, name);
    t.equal(existsSync(stage.at('dst')), isThere);
    if (isThere) t.same(readdirSync(stage.at('dst')), []);
    t.same(readdirSync(env.TMPDIR), [], 'nothing is left elsewhere either');
  }
  await stage.run('push', 'src', './dst', '--once');
  t.same(await stage.difference(), [], 'what the dry run noted is no reason to leave anything out');
  t.match(await dry(), { code: 0, stdout: '' });
  writeFileSync(stage.at('src/new'), '');
  t.match((await dry()).stdout, /create.* new/);
  t.notOk(existsSync(stage.at('dst/new')));
});

t.test('--once waits for what has to be read again, however long that takes', async t => {
  const stage = new Stage(t);
  // Takes longer to read than a run waits for files that keep changing.
  truncateSync(stage.at('src/a.txt'), 3 * 1024 ** 3);
  t.equal((await stage.run('push', 'src', './dst', '--once')).code, 0);
  t.match(await stage.run('push', 'src', './dst', '--once'), { code: 0 }, 'it had just changed');
  t.match(await stage.run('push', 'src', './dst', '--once', '--checksum'), { code: 0 });
});

t.test('--dry-run refuses what the run would refuse', async t => {
  const stage = new Stage(t);
  const nowhere = await stage.run('push', 'src', './none/dst', '-n');
  t.match(nowhere, {
    code: 3,
    stderr: /none\/dst cannot be made: its parent folder does not exist/,
  });
  mkdirSync(stage.at('full'));
  writeFileSync(stage.at('full/mine'), '');
  t.match(await stage.run('push', 'src', './full', '-n'), { code: 3, stderr: /--adopt/ });
  t.same(readdirSync(stage.at('full')), ['mine']);
});

t.test('a log file in the source does not keep replication busy', async t => {
  const stage = new Stage(t);
  const push = stage.start('push', 'src', './dst', '--log-file', 'src/log', '--interval', '20');
  await push.until(one => one.stderr.includes('in sync'));
  writeFileSync(stage.at('src/last'), '');
  await push.until(() => existsSync(stage.at('dst/last')));
  t.equal(await push.stop(), 0);
  const commits = lines(push).filter(line => 'commit' in line);
  t.ok(commits.length <= 4, `${commits.length} commits`);
  t.match(readFileSync(stage.at('src/log'), 'utf8'), /"msg":"in sync/);
  t.notOk(existsSync(stage.at('dst/log')));
});

t.test('another user is let in by pairing, and out by revoking', async t => {
  const stage = new Stage(t);
  const receiver = stage.receive();
  const address = await receiver.listening();
  const made = await stage.run('key', 'new', '--label', 'laptop');
  const id = made.stdout.split(':')[1] ?? '';
  const other = { home: stage.at('other'), cwd: stage.folder };
  const paired = await runSpawned(['pair', address], { ...other, stdin: made.stdout });
  t.match(paired, { code: 0, stdout: `paired with ${address}, key ${id}\n` });
  const push = new CliProcess(['push', 'src', address], other);
  t.teardown(() => push.stop());
  await push.until(one => one.stderr.includes('in sync'));
  t.equal((await stage.run('key', 'revoke', '--', id)).code, 0);
  const { code, stderr } = await push.result();
  t.equal(code, 5);
  t.match(stderr, /^replica: .*refused the key/m);
  const own = await stage.run('push', 'src', address, '--once');
  t.equal(own.code, 0, 'the other key still works');
});

t.test('a pairing string in REPLICA_KEY, or in an --env-file, is enough', async t => {
  const stage = new Stage(t);
  const address = await stage.receive().listening();
  const { stdout } = await stage.run('key', 'show');
  const other = { home: stage.at('other'), cwd: stage.folder };
  const env = { REPLICA_KEY: stdout.trim(), REPLICA_ONCE: '1' };
  t.equal((await runSpawned(['push', 'src', address], { ...other, env })).code, 0);
  writeFileSync(stage.at('e.env'), `REPLICA_KEY=${stdout.trim()}\nREPLICA_ONCE=yes\n`);
  t.equal((await runSpawned(['push', 'src', address, '--env-file', 'e.env'], other)).code, 0);
});

t.test(
  'the installed command tells of an --env-file that is not there, wherever it stands',
  async t => {
    const home = t.testdir();
    const root = fileURLToPath(new URL('../../../', import.meta.url));
    const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    // As an installation links it.
    const command = join(home, 'replica');
    symlinkSync(join(root, bin.replica), command);
    const env = { HOME: home, PATH: `${dirname(process.execPath)}:${process.env.PATH}` };
    for (const argv of [
      ['push', '--env-file', 'missing', 'a', './b'],
      ['push', 'a', './b', '--env-file=missing'],
      ['status', '--env-file', 'missing'],
    ]) {
      const { status, stdout, stderr } = spawnSync(command, argv, { cwd: home, env });
      t.match(
        { status, stdout: stdout.toString(), stderr: stderr.toString() },
        {
          status: 1,
          stdout: '',
          stderr: /^replica: --env-file: cannot read .*missing \(ENOENT\)\n$/,
        },
      );
    }
    t.equal(spawnSync(command, ['--version'], { env }).status, 0);
  },
);

t.test('an interrupted --once exits 20', async t => {
  const stage = new Stage(t);
  await stage.run('key', 'new');
  const push = stage.start('push', 'src', '127.0.0.1:1', '--once', '--timeout', '1h');
  await push.until(one => one.stderr.includes('trying again'));
  t.equal(await push.stop(), 20);
});

t.test('a --once that is interrupted within a large file exits 20', async t => {
  const stage = new Stage(t);
  // It takes a minute, and does not compress.
  writeFileSync(stage.at('src/film'), randomBytes(64 * 1024 * 1024));
  for (const target of ['./copy', await stage.receive().listening()]) {
    const push = stage.start('push', 'src', target, '--once', '--bwlimit', '1M');
    await push.until(one => one.stderr.includes('connected'));
    let status: string;
    do status = (await stage.run('status', '--json')).stdout;
    while (!/"file":\{"path":"film","size":67108864,"bytesDone":[1-9]/.test(status));
    t.equal(await push.stop(), 20, target);
  }
});

t.test('a signal that comes twice at once, as from timeout(1), is one', async t => {
  const stage = new Stage(t);
  const push = stage.start('push', 'src', './dst');
  await push.until(one => one.stderr.includes('in sync'));
  // Two of a kind might be merged before it hears of them.
  push.child.kill('SIGTERM');
  push.child.kill('SIGINT');
  t.equal((await push.result()).code, 0);
});

t.test('the end of a command does not wait for timers', async t => {
  const stage = new Stage(t);
  await stage.run('push', 'src', './dst', '--once');
  const push = stage.start('push', 'src', './dst', '--once');
  await push.until(one => one.stderr.includes('in sync'));
  const startedMs = performance.now();
  await push.result();
  t.ok(performance.now() - startedMs < 1500, 'it ends within the time of a closing store');
});

t.test(
  'a source that hangs is reported, deletes nothing, and does not hold up the end',
  { skip: !hasFuse() && 'needs root and fuse2fs' },
  async t => {
    const stage = new Stage(t);
    const { folder, hang } = await mountFuse(t);
    for (let i = 0; i < 20; i++) writeFileSync(join(folder, `file-${i}`), `${i}`);
    const push = stage.start('push', folder, './dst');
    await push.until(one => one.stderr.includes('in sync'));
    hang(true);
    await push.until(one => /the source is slow: no answer from the file system/.test(one.stderr));
    t.equal(readdirSync(stage.at('dst')).length, 21);
    const stoppedMs = performance.now();
    await push.stop();
    t.ok(performance.now() - stoppedMs < 8000);
    t.equal(push.child.signalCode, 'SIGKILL', 'the documented last resort');
    hang(false);
    t.equal((await stage.run('push', folder, './dst', '--once')).code, 0);
    t.same(await compareByDiff(folder, stage.at('dst')), []);
  },
);
