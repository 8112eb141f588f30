// Targets at the other end of ssh: with a program in ssh's place that runs the command here, and
// through a real sshd.
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { dialSsh } from '../../src/cli/ssh.ts';
import { splitCommand, sshCommand, stdioBanner } from '../../src/cli/ssh-command.ts';
import { silentLog } from '../../src/log.ts';
import { fakeSsh, runIt } from '../support/fake-ssh.ts';
import { makeDiskFolder, makeFolder } from '../support/folders.ts';
import { untilEqual } from '../support/live-pair.ts';
import { Home } from '../support/programs.ts';
import { collectingLog } from '../support/receivers.ts';
import { ownShare } from '../support/seeds.ts';
import { noSshd, Sshd } from '../support/sshd.ts';
import { compareTrees } from '../support/tree.ts';
import { until } from '../support/until.ts';

type Test = Parameters<Parameters<typeof t.test>[0]>[0];

t.test('a command is split into its words', async t => {
  const rows: readonly (readonly [string, readonly string[]])[] = [
    ['ssh', ['ssh']],
    ['  ssh  -p 2222 ', ['ssh', '-p', '2222']],
    [`ssh -i '/my keys/a' -o "Proxy x"`, ['ssh', '-i', '/my keys/a', '-o', 'Proxy x']],
    [`a"b c"d''`, ['ab cd']],
  ];
  for (const [text, words] of rows) t.same(splitCommand(text, '--rsh'), words, text);
  t.throws(() => splitCommand(`ssh 'x`, '--rsh'), { code: 'ERR_USAGE' });
  t.throws(() => splitCommand(' ', '--rsh'), { code: 'ERR_USAGE' });
});

t.test('what the shell there reads is the path that was meant', async t => {
  const paths = ['/srv/a', '/srv/a b', "/it's", '/$HOME/`id`;x', '/-rf', '/~/x y', '/a\nb', '/"\\'];
  for (const path of paths) {
    const target = { kind: 'ssh', user: 'u', host: 'h', port: 22, path } as const;
    const how = { rsh: ['ssh', '-4'], replicaPath: 'printf', flags: ['--keep', '1h'] } as const;
    const command = sshCommand(target, how);
    t.same(command.slice(0, -1), ['ssh', '-4', '-p', '22', '-l', 'u', '--', 'h']);
    // printf takes the first word as its format: print the last one alone.
    const line = (command.at(-1) ?? '').replace(/^printf .* -- /s, 'printf %s ');
    const { stdout } = spawnSync('sh', ['-c', line], { env: { HOME: '/home/u' } });
    t.equal(stdout.toString(), path.replace(/^\/~/, '/home/u'), path);
  }
});

t.test('a path is read alike by every login shell', async t => {
  const path = String.raw`/a\b\\c!d 'e'$f*g\ `.trimEnd();
  const lineOf = (replicaPath: string) => {
    const target = { kind: 'ssh', user: undefined, host: 'h', port: undefined, path } as const;
    return sshCommand(target, { rsh: ['ssh'], replicaPath, flags: [] }).at(-1) ?? '';
  };
  // fish reads a backslash between quotes, and csh `!`: neither may be there.
  const between = [...lineOf('r').matchAll(/\\.|'([^']*)'/gs)].map(([, text = '']) => text);
  t.notMatch(between.join(''), /[\\!]/);
  for (const shell of ['sh', 'bash', 'zsh', 'ksh', 'mksh', 'fish', 'tcsh']) {
    if (spawnSync(shell, ['-c', 'true']).error !== undefined) continue;
    const { stdout } = spawnSync(shell, ['-c', lineOf('echo;printf %s@')], { encoding: 'utf8' });
    t.equal(stdout.split('@').at(-2), path, shell);
  }
});

interface Stage {
  readonly folder: string;
  readonly home: Home;
  readonly source: string;
  readonly target: string;
  /** Flags that reach the built command here through `script`, in place of ssh. */
  flags(script?: string): string[];
}

function stage(t: Test): Stage {
  const folder = fs.realpathSync(makeDiskFolder(t));
  const source = join(folder, 'source');
  fs.mkdirSync(join(source, 'sub'), { recursive: true });
  fs.writeFileSync(join(source, 'sub/a'), 'one');
  fs.writeFileSync(join(source, 'b'), Buffer.alloc(100_000, 'two'));
  return {
    folder,
    home: new Home(join(folder, 'home')),
    source,
    target: join(folder, 'target'),
    flags: script => fakeSsh(folder, script),
  };
}

t.test('push to ssh:// replicates, goes on after a cut, and verify compares', async t => {
  const { folder, home, source, target, flags } = stage(t);
  const pids = join(folder, 'pids');
  // What worked once and fails as if it were being upgraded, works again.
  const upgraded = `[ $(wc -l < '${pids}') = 2 ] && { echo 'sh: replica: not found' >&2; exit 127; }`;
  const flagged = flags(`echo $$ >> '${pids}'\n${upgraded}\n${runIt}`);
  const url = `ssh://somewhere${target}`;
  const push = home.push(source, url, [...flagged, '--interval', '50']);
  t.teardown(() => push.stop('SIGKILL'));
  await push.line(/in sync, 3 entries/);
  t.same(compareTrees(source, target), []);
  const [pid] = fs.readFileSync(pids, 'utf8').split('\n');
  process.kill(Number(pid), 'SIGKILL');
  await push.line(/is replica installed there\?.*trying again/);
  fs.writeFileSync(join(source, 'c'), 'three');
  await untilEqual(source, target, 20_000, () => push.lines);
  t.same(await push.stop(), { code: 0, signal: null });
  const verify = home.run(['verify', source, url, ...flagged]);
  t.equal((await verify.exit).code, 0);
  t.match(verify.stdout, [/^equal: 4 entries/]);
});

t.test('what a login shell prints is skipped, and named', async t => {
  const { home, source, target, flags } = stage(t);
  const noisy = flags(`echo 'Welcome to the machine'\n${runIt}`);
  const push = await home.pushOnce(source, `ssh://somewhere${target}`, noisy);
  t.equal(push.code, 0, push.lines.join('\n'));
  t.match(push.lines.join('\n'), /the login shell prints 'Welcome to the machine/);
  t.same(compareTrees(source, target), []);
});

t.test(
  'sentences are what the settings there want, but not of a receiver that ssh started',
  async t => {
    const { home, source, target, flags } = stage(t);
    const config = join(home.folder, 'config/replica');
    fs.mkdirSync(config, { recursive: true });
    fs.writeFileSync(join(config, 'config.json'), JSON.stringify({ 'log-format': 'pretty' }));
    const push = await home.pushOnce(source, `ssh://somewhere${target}`, flags());
    t.equal(push.code, 0, push.lines.join('\n'));
    t.match(push.lines.join('\n'), /^\[[-0-9]{10} [:0-9]{8}\] INFO: in sync/m);
    t.notMatch(push.lines.join('\n'), /INFO: .*INFO:|WARN: .*INFO:/);
  },
);

t.test("a listening receiver's metrics are not those of one that ssh started", async t => {
  const { home, source, target, flags } = stage(t);
  const server = net.createServer().listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // It listens on a port.
  const config = join(home.folder, 'config/replica');
  fs.mkdirSync(config, { recursive: true });
  const settings = { receive: { metrics: `127.0.0.1:${port}` } };
  fs.writeFileSync(join(config, 'config.json'), JSON.stringify(settings));
  const push = await home.pushOnce(source, `ssh://somewhere${target}`, flags());
  t.equal(push.code, 0, push.lines.join('\n'));
});

t.test('flags of the destination reach the receiver', async t => {
  const { home, source, target, flags } = stage(t);
  fs.mkdirSync(target);
  fs.writeFileSync(join(target, 'old'), 'old');
  const url = `ssh://somewhere${target}`;
  const refused = await home.pushOnce(source, url, flags());
  t.equal(refused.code, 3);
  t.match(refused.lines.at(-1), /is not empty: give an empty folder, or --adopt/);
  const adopted = await home.pushOnce(source, url, [...flags(), '--adopt', '--keep', '1h']);
  t.equal(adopted.code, 0, adopted.lines.join('\n'));
  t.same(compareTrees(source, target), []);
});

t.test('each way in which ssh fails has one line and a code', async t => {
  const { home, source, target, flags } = stage(t);
  const rows: readonly (readonly [string, number, RegExp])[] = [
    [
      `echo 'u@h: Permission denied (publickey).' >&2; exit 255`,
      5,
      /^replica: ssh:\/\/h\/.*: fake-ssh: u@h: Permission denied \(publickey\)\.$/,
    ],
    [
      `echo 'ssh: Could not resolve hostname h' >&2; exit 255`,
      30,
      /gave up after --timeout: ssh:\/\/h\/\S*: ssh: Could not resolve hostname h$/,
    ],
    [
      `echo 'sh: replica: not found' >&2; exit 127`,
      3,
      /is replica installed there\? --replica-path/,
    ],
    [
      `echo 'replica: Command not found.' >&2; exit 1`,
      3,
      /: replica: Command not found\. \(is replica installed there\? --replica-path/,
    ],
    [
      `printf 'fish: Unknown command: replica\\nfish: \\nreplica receive\\n^~~~^\\n' >&2; exit 127`,
      3,
      /: fish: Unknown command: replica \(is replica installed there\?/,
    ],
    [
      `echo '/usr/bin/replica: 6: exec: node: not found' >&2; exit 127`,
      3,
      /exec: node: not found \(its shell finds no Node\.js: see its PATH\)$/,
    ],
    [
      `printf 'a.js:5\\n^\\nSyntaxError: no such word\\n    at f (b.js:1:1)\\n\\nNode.js v18.1.0\\n' >&2; exit 1`,
      1,
      /: SyntaxError: no such word$/,
    ],
    [
      `printf 'Welcome\\r\\n\\000replica-stdio-1\\r\\n'; exec cat`,
      1,
      /: ssh gives a terminal, which alters what is sent: no -t, RequestTTY no$/,
    ],
    ['exec yes', 12, /no receiver answers, but something that prints 'y/],
    ['exec sleep 60', 30, /no answer from ssh:\/\/h\/.* within 0\.3 s/],
  ];
  for (const [script, code, line] of ownShare(rows)) {
    const timeout = ['--timeout', '300'];
    const push = await home.pushOnce(source, `ssh://h${target}`, [...flags(script), ...timeout]);
    t.equal(push.code, code, `${script}\n${push.lines.join('\n')}`);
    t.match(push.lines.at(-1), line, script);
  }
  const none = await home.pushOnce(source, `ssh://h${target}`, ['--rsh', '/no/ssh']);
  t.equal(none.code, 1);
  t.match(none.lines.at(-1), /cannot run '\/no\/ssh': there is no such command; see --rsh/);
  const key = await home.pushOnce(source, `ssh://h${target}`, ['--key-file', 'x']);
  t.match(key, { code: 1 });
  t.match(key.lines.at(-1), /--key-file: means nothing with ssh:/);
  const stdio = home.run(['receive', target, '--stdio', '--port', '1']);
  t.equal((await stdio.exit).code, 1);
});

t.test('what a receiver says before its banner is passed on, and nothing else', async t => {
  const folder = makeDiskFolder(t);
  const banner = join(folder, 'banner');
  const line = (level: string, msg: string) => JSON.stringify({ level, path: 'a', msg });
  const script = [
    "echo 'Warning: Permanently added' >&2",
    `echo '${line('warn', 'drift')}' >&2`,
    `echo '${line('info', 'last')}' >&2`,
    `until [ -e '${banner}' ]; do :; done`,
    `cat '${banner}' -`,
  ].join('\n');
  const { log, lines } = collectingLog();
  const { signal } = new AbortController();
  const options = { peer: 'there', timeoutMs: 20_000, log, signal };
  const dialled = dialSsh({ command: ['sh', '-c', script], ...options });
  await until(() => lines.some(one => one.includes('last')), 'the last line before the banner');
  fs.writeFileSync(join(folder, 'made'), stdioBanner);
  fs.renameSync(join(folder, 'made'), banner);
  await (await dialled).close();
  t.equal(lines.filter(one => /there: drift .*"path":"a"/.test(one)).length, 1);
  t.notMatch(lines.join('\n'), /Permanently/);
});

t.test('an attempt that is given up leaves no pipe behind', async t => {
  const pipes = () => process.getActiveResourcesInfo().filter(name => name === 'PipeWrap').length;
  const before = pipes();
  const pidFile = join(makeDiskFolder(t), 'pid');
  // The script is ended; what it waits for is not.
  const command = ['sh', '-c', `sleep 600 & echo $! > '${pidFile}'; wait`] as const;
  t.teardown(() => process.kill(Number(fs.readFileSync(pidFile, 'utf8'))));
  const { signal } = new AbortController();
  const dialled = dialSsh({ command, peer: 'there', timeoutMs: 500, log: silentLog, signal });
  await t.rejects(dialled, { code: 'ERR_TIMEOUT' });
  await until(() => pipes() <= before, 'the end of the pipes');
});

t.test('an ssh that is stopped is ended all the same', async t => {
  const folder = makeDiskFolder(t);
  const { signal } = new AbortController();
  for (const banner of [stdioBanner, '']) {
    const pidFile = join(folder, `pid${banner.length}`);
    const text = join(folder, 'banner');
    fs.writeFileSync(text, banner);
    const script = `cat '${text}'; echo $$ > '${pidFile}'; kill -STOP $$`;
    const options = { peer: 'there', timeoutMs: 1500, log: silentLog, signal };
    const dialled = dialSsh({ command: ['sh', '-c', script], ...options });
    if (banner === '') await t.rejects(dialled, { code: 'ERR_TIMEOUT' });
    else await (await dialled).close();
    const pid = Number(fs.readFileSync(pidFile, 'utf8'));
    await until(() => !fs.existsSync(`/proc/${pid}`), 'its end');
  }
});

t.test('without descriptors for pipes an attempt fails, and the next may not', async t => {
  const url = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);
  const script = `
    import fs from 'node:fs';
    const { dialSsh } = await import(${url('../../src/cli/ssh.js')});
    const { silentLog: log } = await import(${url('../../src/log.js')});
    const options = { command: ['true'], peer: 'p', timeoutMs: 20000, log, signal: new AbortController().signal };
    const attempt = () => dialSsh(options).catch(error => console.log(error.code, error.message));
    await attempt();
    const open = [];
    try { for (;;) open.push(fs.openSync('/dev/null')); } catch {}
    await attempt();
    for (const fd of open) fs.closeSync(fd);
    await attempt();`;
  const shell = 'ulimit -n 100; exec "$0" --input-type=module -e "$1"';
  const { stdout, stderr } = spawnSync('sh', ['-c', shell, process.execPath, script]);
  const ended = 'ERR_SOCKET p: ended with code 0';
  const refused = "ERR_SOCKET cannot run 'true': too many files are open";
  t.same(stdout.toString().trim().split('\n'), [ended, refused, ended], stderr.toString());
});

t.test('through a real sshd', { skip: noSshd() }, async t => {
  const { home, source, target, flags } = stage(t);
  const sshd = await Sshd.open(makeFolder(t, tmpdir()));
  t.teardown(() => sshd.close());
  const [, , ...replicaPath] = flags();
  const url = `ssh://${sshd.user}@127.0.0.1:${sshd.port}${target}`;
  const push = home.push(source, url, ['--rsh', sshd.rsh, ...replicaPath, '--interval', '50']);
  t.teardown(() => push.stop('SIGKILL'));
  await push.line(/in sync, 3 entries/);
  fs.appendFileSync(join(source, 'b'), 'more');
  fs.renameSync(join(source, 'sub'), join(source, 'moved'));
  await untilEqual(source, target, 20_000, () => push.lines);
  t.same(await push.stop(), { code: 0, signal: null });
  const wrong = url.replace(`${sshd.user}@`, 'nobody-here@');
  const refused = await home.pushOnce(source, wrong, ['--rsh', sshd.rsh, ...replicaPath]);
  t.equal(refused.code, 5, refused.lines.join('\n'));
});

t.test('a second push through ssh does not say that it takes over: it ends', async t => {
  const { home, source, target, flags } = stage(t);
  const url = `ssh://somewhere${target}`;
  const first = home.push(source, url, [...flags(), '--interval', '50']);
  t.teardown(() => first.stop('SIGKILL'));
  await first.line(/in sync/);
  const second = await home.pushOnce(source, url, flags());
  t.equal(second.code, 3);
  t.match(
    second.lines.at(-1),
    `replica: a push of this source to this target is running (pid ${first.child.pid}): stop it first`,
  );
  t.same(await first.stop(), { code: 0, signal: null });
  t.equal((await home.pushOnce(source, url, flags())).code, 0, 'now it may');
});

t.test('verify says what to do when there is no replica command there', async t => {
  const { home, source, target, flags } = stage(t);
  const [rsh = '', file = ''] = flags();
  const argv = ['verify', source, `ssh://here${target}`, rsh, file, '--replica-path', '/no/such'];
  const program = home.run(argv);
  t.equal((await program.exit).code, 3);
  t.match(program.lines.join('\n'), /is replica installed there\? --replica-path says where/);
});
