// The commands that ask a running push, as users type them. The push runs in this process.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { Bandwidth, readBandwidth } from '../../src/cli/bandwidth.ts';
import type { RunningSender } from '../../src/cli/programs.ts';
import { openControl } from '../../src/cli/push-control.ts';
import { controlProtocol } from '../../src/cli/running-pushes.ts';
import { ControlServer } from '../../src/control/control-server.ts';
import { makeDiskFolder } from '../support/folders.ts';
import { collectingLog } from '../support/receivers.ts';
import { type CliResult, runInProcess } from '../support/run-cli.ts';

type Test = Parameters<Parameters<typeof t.test>[0]>[0];

interface Desk {
  readonly home: string;
  /** Runs a command to its end. */
  run(...argv: string[]): Promise<CliResult>;
  /** A push that runs until the test is over, once it answers. */
  push(source: string, target: string, ...flags: string[]): Promise<void>;
  write(path: string, text: string): void;
}

function open(t: Test): Desk {
  const home = fs.realpathSync(makeDiskFolder(t));
  for (const name of ['site', 'other']) fs.mkdirSync(join(home, name));
  fs.writeFileSync(join(home, 'site/index.html'), 'hello');
  fs.writeFileSync(join(home, 'other/a'), '1');
  const run = (...argv: string[]) => runInProcess(argv, { home });
  return {
    home,
    run,
    push: async (source, target, ...flags) => {
      const stop = new AbortController();
      const argv = ['push', source, target, '--interval', '1h', ...flags];
      const ended = runInProcess(argv, { home, signal: stop.signal });
      t.teardown(async () => {
        stop.abort();
        const { code, stderr } = await ended;
        if (code !== 0) throw new Error(`the push ended with ${code}: ${stderr}`);
      });
      const state = flags.includes('--state') ? ['--state', 'st'] : [];
      while ((await run('flush', source, target, ...state)).code === 10) {
        await new Promise(resolve => setTimeout(resolve, 20));
      }
    },
    write: (path, text) => fs.writeFileSync(join(home, path), text),
  };
}

t.test('without a push each command says so, with code 10', async t => {
  const { run } = open(t);
  for (const command of ['status', 'list', 'flush', 'pause', 'resume', 'approve', 'reject']) {
    t.same(await run(command), {
      code: 10,
      stdout: '',
      stderr: "replica: no push is running: start 'replica push'\n",
    });
    t.same(await run(command, './site', './copy'), {
      code: 10,
      stdout: '',
      stderr: "replica: no push of ./site to ./copy is running: start 'replica push'\n",
    });
  }
  t.match(await run('explain', 'site/index.html'), { code: 10, stderr: /no push of site/ });
});

t.test('status, flush, list and explain, for people and for programs', async t => {
  const desk = open(t);
  const begunMs = Date.now() - 1000; // It is told in seconds.
  await desk.push('site', './copy');
  const { home, run } = desk;
  const head = `${home}/site -> file:${home}/copy (pid ${process.pid})`;
  const status = await run('status');
  t.equal(status.code, 0);
  t.match(status.stdout.split('\n'), [head, '  in sync; 1 entry', /^ {2}receiver: this process/]);
  t.match(JSON.parse((await run('status', '--json', 'site')).stdout), {
    source: join(home, 'site'),
    target: `file:${home}/copy`,
    state: 'in sync',
    inSync: true,
    lagMs: 0,
    entries: 1,
    outstanding: 0,
  });
  t.same(await run('list'), { code: 0, stdout: '', stderr: '' });
  desk.write('site/index.html', 'hello again');
  t.match(await run('flush'), { code: 0, stdout: /^1 entry durable after \d+ ms\n$/ });
  t.equal(fs.readFileSync(join(home, 'copy/index.html'), 'utf8'), 'hello again');
  t.match(JSON.parse((await run('flush', '--json')).stdout), { entries: 1, problems: 0, held: 0 });
  const inSync = await run('explain', 'site/index.html');
  t.equal(inSync.code, 0);
  const since = /^in sync: file, 11 bytes, version 2, since (\S+ \S+)\n$/.exec(inSync.stdout)?.[1];
  const sinceMs = Date.parse(since ?? '');
  t.ok(sinceMs >= begunMs && sinceMs <= Date.now(), inSync.stdout);
  const { since: exact, isSinceExact } = JSON.parse(
    (await run('explain', '--json', 'site/index.html')).stdout,
  );
  t.equal(Date.parse(exact) - (Date.parse(exact) % 1000), sinceMs);
  t.equal(isSinceExact, true);
  const explained = await run('explain', '--json', join(home, 'site', 'nothing'));
  t.match(JSON.parse(explained.stdout), { path: 'nothing', state: 'absent' });
  t.match(await run('explain', 'other/a'), { code: 10 });
});

t.test('what was in sync before the push began is so since then or before', async t => {
  const desk = open(t);
  const { run } = desk;
  t.match(await run('push', '--once', 'site', './copy'), { code: 0 });
  await desk.push('site', './copy');
  const { stdout } = await run('explain', 'site/index.html');
  t.match(stdout, /^in sync: file, 5 bytes, version 1, since \S+ \S+ or before\n$/);
  const { isSinceExact } = JSON.parse((await run('explain', '--json', 'site/index.html')).stdout);
  t.equal(isSinceExact, false);
});

t.test('a push with a state folder of its own is asked there', async t => {
  const desk = open(t);
  await desk.push('site', './copy', '--state', 'st');
  for (const command of ['status', 'list', 'flush', 'approve', 'reject', 'pause', 'resume']) {
    t.match(await desk.run(command, 'site', './copy', '--state', 'st'), { code: 0 }, command);
    t.match(await desk.run(command), { code: 10 }, command);
  }
  t.match(await desk.run('explain', 'site/index.html', '--state', 'st'), { code: 0 });
  t.match(await desk.run('bwlimit', '1M', '--state', 'st'), { code: 0 });
});

t.test('one of several pushes is named by its source and target', async t => {
  const desk = open(t);
  await desk.push('site', './copy');
  await desk.push('site', './second');
  await desk.push('other', './third');
  const { home, run } = desk;
  const all = (await run('status')).stdout.split('\n').filter(line => line.includes(' -> '));
  t.same(
    all.map(line => line.replaceAll(home, '').replace(/ \(.*/, '')),
    ['/other -> file:/third', '/site -> file:/copy', '/site -> file:/second'],
  );
  const several = await run('flush', 'site');
  t.equal(several.code, 1);
  t.match(several.stderr, /several pushes fit, name one by <src> <target>: .*copy.*second/);
  t.match(await run('flush', 'site', './second'), { code: 0 });
  t.match(await run('flush', './other'), { code: 0 });
  const explained = (await run('explain', 'site/index.html')).stdout.split('\n');
  t.match(explained, [/copy: in sync/, /second: in sync/]);
});

t.test('a state folder where nobody can be asked is named, and hides no other', async t => {
  const desk = open(t);
  await desk.push('site', './copy');
  const states = join(desk.home, '.local/state/replica');
  const folders = [join(states, 'aaaa'), join(states, 'zzzz')];
  for (const folder of folders) {
    fs.mkdirSync(folder);
    const server = net.createServer(socket => socket.destroy());
    server.listen(join(folder, 'control.sock'));
    await once(server, 'listening');
    t.teardown(() => server.close());
  }
  const status = await desk.run('status');
  t.match(status, { code: 0, stdout: /copy.*in sync/s }, status.stderr);
  for (const folder of folders) t.match(status.stderr, `"folder":"${folder}"`);
  t.match(await desk.run('flush'), { code: 0 });
});

t.test('pause, resume, and what flush says meanwhile', async t => {
  const desk = open(t);
  await desk.push('site', './copy');
  const { home, run } = desk;
  t.match(await run('pause'), { code: 0, stdout: `paused: ${home}/site -> file:${home}/copy\n` });
  t.match((await run('status')).stdout, /^ {2}paused; 1 entry$/m);
  t.same(await run('flush'), {
    code: 1,
    stdout: '',
    stderr: "replica: the push is paused: 'replica resume' first\n",
  });
  t.match(await run('resume', '--json'), { code: 0, stdout: '{"paused":false}\n' });
  t.match(await run('flush'), { code: 0 });
});

t.test('a limit of bandwidth is set, shown and changed while it runs', async t => {
  const desk = open(t);
  await desk.push('site', './copy', '--bwlimit', '512');
  const { home, run } = desk;
  t.match((await run('status')).stdout, /^ {2}limited by --bwlimit 512$/m);
  t.same(await run('bwlimit', '08:00,1M 19:00,off', 'site', './copy'), {
    code: 0,
    stdout: `limit 08:00,1M 19:00,off: ${home}/site -> file:${home}/copy\n`,
    stderr: '',
  });
  t.match(JSON.parse((await run('status', '--json')).stdout), { bwlimit: '08:00,1M 19:00,off' });
  t.match(await run('bwlimit', 'fast'), { code: 1, stderr: /'fast' is no rate such as 512/ });
  t.match(await run('bwlimit', 'off'), { code: 0 });
  t.notMatch((await run('status')).stdout, /limited/);
  t.match(await run('push', 'site', './other', '--bwlimit', '3'), { code: 1, stderr: /--bwlimit/ });
});

t.test('of a large file on its way, status tells how much has gone by', async t => {
  const desk = open(t);
  await desk.push('site', './copy', '--bwlimit', '1M', '--interval', '50');
  const { home, run } = desk;
  // Blocks that differ, and do not compress: all of it is sent, for as long as a minute.
  fs.writeFileSync(join(home, 'film'), randomBytes(64 * 1024 * 1024));
  fs.renameSync(join(home, 'film'), join(home, 'site/film'));
  const moved = / {2}([1-9]\d?)%: .* of 67.1 MB; [\d.]+ [kM]B\/s; [\d.]+ (?:s|min) left$/m;
  let status: CliResult;
  do status = await run('status');
  while (status.code === 0 && !moved.test(status.stdout));
  t.match(status.stdout, moved);
  t.match(status.stdout, /^ {2}film: \d+% of 67.1 MB$/m);
  const { content, outstanding } = JSON.parse((await run('status', '--json')).stdout);
  t.equal(outstanding, 1);
  const { file, bytesDone, bytesLeft, bytesPerSecond, isPartial } = content;
  t.match(file, { path: 'film', size: 67_108_864 });
  t.ok(file.bytesDone > 500_000 && file.bytesDone < file.size);
  t.equal(bytesDone, file.bytesDone);
  t.equal(bytesDone + bytesLeft, file.size);
  t.ok(bytesPerSecond > 0);
  t.equal(isPartial, false);
  t.equal((await run('bwlimit', 'off')).code, 0);
  t.equal((await run('flush')).code, 0);
  const after = JSON.parse((await run('status', '--json')).stdout).content;
  t.match(after, { bytesLeft: 0, file: undefined });
  t.notMatch((await run('status')).stdout, /%|MB;/);
});

t.test('of a source that is gone, status tells what brings it on', async t => {
  const desk = open(t);
  await desk.push('site', './copy', '--interval', '20');
  const { home, run } = desk;
  const status = async (line: RegExp): Promise<string> => {
    let text: string;
    do text = (await run('status')).stdout;
    while (!line.test(text));
    return text;
  };
  fs.renameSync(join(home, 'site'), join(home, 'away'));
  const gone = await status(/^ {2}source gone: it is not there;/m);
  t.match(gone, /^ {2}nothing is deleted, and it goes on by itself once it is back$/m);
  fs.mkdirSync(join(home, 'site'));
  const replaced = await status(/^ {2}source gone: another directory is in its place/m);
  t.match(
    replaced,
    /^ {2}nothing is deleted: mount it, or 'replica approve' if this is the source/m,
  );
  fs.rmdirSync(join(home, 'site'));
  fs.renameSync(join(home, 'away'), join(home, 'site'));
  t.notMatch(await status(/^ {2}in sync;/m), /nothing is deleted/);
});

t.test('status lists the folders that are remembered and not running', async t => {
  const desk = open(t);
  const { home, run } = desk;
  await run('add', 'site', './copy');
  await run('add', 'other', 'backup:1', '--exclude', '*.o', '--checksum');
  const rests = `${home}/other -> backup:1\n  not running: 'replica up' runs it, with --exclude --checksum\n`;
  t.same(await run('status'), {
    code: 10,
    stdout: `${home}/site -> ${home}/copy\n  not running: 'replica up' runs it\n${rests}`,
    stderr: "replica: no push is running: start 'replica push'\n",
  });
  await desk.push('site', './copy');
  const { code, stdout } = await run('status');
  t.equal(code, 0);
  t.match(stdout, new RegExp(`^${home}/site -> file:${home}/copy \\(pid`));
  t.ok(stdout.endsWith(`\n${rests}`), stdout);
  const lines = (await run('status', '--json')).stdout.trimEnd().split('\n');
  t.equal(lines.length, 2);
  t.same(JSON.parse(lines[1] ?? ''), {
    ...{ source: join(home, 'other'), target: 'backup:1', state: 'not running', inSync: false },
  });
  t.notMatch((await run('status', 'site')).stdout, /not running/);
});

t.test('held deletes are shown, and approved or rejected', async t => {
  for (const verdict of ['approve', 'reject']) {
    await t.test(verdict, async t => {
      const desk = open(t);
      const { home, run } = desk;
      for (const name of ['a', 'b', 'c']) desk.write(`site/${name}`, name);
      await desk.push('site', './copy', '--max-delete', '1');
      for (const name of ['a', 'b']) fs.rmSync(join(home, 'site', name));
      t.match(await run('flush'), { code: 25, stdout: /2 deletes held$/m });
      const { stdout } = await run('status');
      t.match(stdout, /deletes held: /);
      t.match(stdout, /^ {2}'replica approve' carries them out/m);
      t.match(await run(verdict), {
        code: 0,
        stdout: `2 deletes ${verdict}${verdict === 'approve' ? 'd' : 'ed'}\n`,
      });
      t.match(await run('flush'), { code: 0 });
      const left = verdict === 'approve' ? ['c', 'index.html'] : ['a', 'b', 'c', 'index.html'];
      const names = fs.readdirSync(join(home, 'copy')).filter(name => name !== '.replica');
      t.same(names.sort(), left);
      const undone = verdict === 'approve' ? 0 : 2;
      t.match(await run('reject', '--undo'), {
        code: 0,
        stdout: `${undone === 0 ? '0 names' : '2 names'} judged anew\n`,
      });
      t.match(await run('flush'), { code: undone === 0 ? 0 : 25 });
    });
  }
});

t.test('flush gives up after --timeout, with code 30', async t => {
  const { home } = open(t);
  const stop = new AbortController();
  const env = { REPLICA_KEY: `replica1:${'A'.repeat(43)}` };
  // Nobody listens there: the push keeps trying.
  const flags = ['--interval', '1h', '--insecure'];
  const ended = runInProcess(['push', 'site', '127.0.0.1:1', ...flags], {
    home,
    env,
    signal: stop.signal,
  });
  t.teardown(async () => {
    stop.abort();
    await ended;
  });
  let result: CliResult;
  do result = await runInProcess(['flush', '--timeout', '50'], { home });
  while (result.code === 10);
  t.match(result, { code: 30, stderr: /not everything was durable within 50 ms/ });
  // The first attempt may take longer than the flush was given.
  let status: CliResult;
  do status = await runInProcess(['status'], { home });
  while (/connecting; /.test(status.stdout));
  t.match(status.stdout, /connecting: cannot connect to 127\.0\.0\.1:1: nothing listens there/);
});

t.test('a dry run beside a push is refused, and leaves it alone', async t => {
  const desk = open(t);
  await desk.push('site', './copy');
  const { run } = desk;
  const dry = await run('push', 'site', './copy', '--dry-run');
  t.equal(dry.code, 1);
  t.match(dry.stderr, /is running, which a dry run would end: 'replica list' shows/);
  t.match(await run('flush'), { code: 0 });
  t.match(await run('push', 'other', './third', '-n'), { code: 0, stdout: /create +a/ });
});

t.test('a push of another version is named, and not misread', async t => {
  const { home, run } = open(t);
  const folder = join(home, '.local/state/replica/0123456789abcdef');
  fs.mkdirSync(folder, { recursive: true });
  const about = { source: join(home, 'site'), target: 'host:7375', pid: 4711, protocol: 999 };
  const server = await ControlServer.open(folder, { about: () => about, status: () => ({}) });
  t.teardown(() => server.close());
  t.same(await run('status'), {
    code: 1,
    stdout: '',
    stderr: 'replica: the push (pid 4711) is of another version of replica: start it again\n',
  });
});

t.test('a push whose socket cannot be made goes on without it', async t => {
  const { log, lines } = collectingLog();
  const identity = { source: '/src', target: 'host:1', pid: 1, protocol: controlProtocol };
  using bandwidth = new Bandwidth(readBandwidth(undefined));
  const sender = {} as RunningSender; // Nobody can ask it.
  const folder = join(t.testdir(), 'gone');
  const control = await openControl(folder, sender, { identity, bandwidth, log });
  await control.close();
  t.match(lines, [/^warn no 'replica status' for this push: no socket in .*gone \(ENOENT\)/]);
});

t.test('wrong values are refused', async t => {
  const { run } = open(t);
  t.match(await run('list', '--limit', 'many'), { code: 1, stderr: /--limit: 'many' is no count/ });
  t.match(await run('flush', '--timeout', 'soon'), { code: 1, stderr: /not a duration/ });
  t.match(await run('flush', 'a', 'b', 'c'), { code: 1 });
});
