import { spawnSync } from 'node:child_process';
import { mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { mainFile, runInProcess } from '../support/run-cli.ts';

const hasAnalyze = spawnSync('systemd-analyze', ['--version']).status === 0;
const me = userInfo().username;

/** What systemd reads: the values of each key, by section, in order. systemd.syntax(7). */
function parseUnit(text: string): ReadonlyMap<string, readonly string[]> {
  const values = new Map<string, string[]>();
  let section = '';
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const head = /^\[(Unit|Service|Install)\]$/.exec(line);
    const [, key = '', value = ''] = /^([A-Z][A-Za-z]+)=(.*)$/.exec(line) ?? [];
    if (head) section = head[1] ?? '';
    else if (section === '' || key === '') throw new Error(`not a line of a unit: ${line}`);
    else values.set(`${section}.${key}`, [...(values.get(`${section}.${key}`) ?? []), value]);
  }
  return values;
}

/** The words of a command line, with variables as systemd expands them. */
function words(line = ''): string[] {
  return paths(line).map(text => {
    if (/(?<!\$)(?:\$\$)*\$(?!\$)/.test(text)) throw new Error(`a variable: ${line}`);
    return text.replaceAll('$$', () => '$');
  });
}

/** The words of a line, unquoted, with specifiers as systemd expands them. */
function paths(line = ''): string[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, plain = '']) => {
    const text = quoted === undefined ? plain : quoted.replace(/\\x(..)|\\(.)/g, unescaped);
    if (/(?<!%)(?:%%)*%(?!%)/.test(text)) throw new Error(`a specifier: ${line}`);
    return text.replaceAll('%%', '%');
  });
}

function unescaped(_: string, hex: string | undefined, char = ''): string {
  return hex === undefined ? char : String.fromCharCode(Number.parseInt(hex, 16));
}

/** By systemd itself, where it is. */
function verify(t: Test, text: string): void {
  if (!hasAnalyze) return;
  const file = join(t.testdir(), 'replica-test.service');
  writeFileSync(file, text);
  const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', file], {
    encoding: 'utf8',
  });
  t.equal(status, 0, `systemd-analyze: ${stdout}${stderr}`);
  // systemd warns of the user nobody, as whom these tests may run.
  t.equal(`${stdout}${stderr}`.replace(/^.*Special user.*\n/gm, ''), '');
}

t.test(
  'service push prints a unit that runs just that, and may write to its state only',
  async t => {
    const home = realpathSync(t.testdir());
    const source = join(home, 'a "b" 100% $HOME\\');
    mkdirSync(source);
    const flags = ['--exclude', 'x\ty', '--exclude=*.o', '--log-file', '/var/log/r/x.log', '-z'];
    const argv = ['service', 'push', source, 'backup.example.org', ...flags];
    const { code, stdout, stderr } = await runInProcess(argv, { home });
    t.equal(stderr, '');
    t.equal(code, 0);
    const unit = parseUnit(stdout);
    const command = words(unit.get('Service.ExecStart')?.[0]);
    t.same(command, [
      ...[process.execPath, '--', mainFile],
      ...['push', source, 'backup.example.org', ...flags],
    ]);
    t.same(paths(unit.get('Unit.RequiresMountsFor')?.[0]), [source]);
    t.same(paths(unit.get('Service.ReadWritePaths')?.[0]), [
      join(home, '.local/state/replica'),
      '/var/log/r',
    ]);
    t.same(unit.get('Service.User'), [me]);
    t.same(unit.get('Unit.After'), ['network-online.target']);
    for (const [key, value] of [
      ['ProtectSystem', 'strict'],
      ['NoNewPrivileges', 'yes'],
      ['SystemCallFilter', '@system-service'],
      ['RestrictSUIDSGID', 'yes'],
      ['Restart', 'on-failure'],
    ] as const) {
      t.same(unit.get(`Service.${key}`), [value]);
    }
    t.match(
      stdout,
      /^# \/etc\/systemd\/system\/(replica-push-[a-z0-9-]+)\.service\n(?:#.*\n)*#.*enable --now \1\n/,
    );
    verify(t, stdout);
  },
);

t.test('service receive may write to the replica and the keys', async t => {
  const home = realpathSync(t.testdir());
  const argv = ['service', 'receive', '/srv/copy', '--port', '7400', '--special-bits'];
  const { code, stdout } = await runInProcess(argv, { home });
  t.equal(code, 0);
  const unit = parseUnit(stdout);
  const command = words(unit.get('Service.ExecStart')?.[0]);
  t.same(command.slice(3), ['receive', '/srv/copy', '--port', '7400', '--special-bits']);
  const writable = ['/srv/copy', join(home, '.config/replica')];
  t.same(paths(unit.get('Service.ReadWritePaths')?.[0]), writable);
  t.notOk(unit.has('Service.RestrictSUIDSGID'), 'or the bits could not be set');
  verify(t, stdout);
});

t.test('a folder below /tmp is not hidden by a /tmp of its own', async t => {
  const home = t.testdir({ src: {} });
  const key = 'Service.PrivateTmp';
  const run = async (dst: string) =>
    (await runInProcess(['service', 'receive', '--run-as', 'daemon', dst], { home })).stdout;
  t.notOk(parseUnit(await run('/tmp/x')).has(key));
  t.notOk(parseUnit(await run('/var/tmp/x')).has(key));
  t.same(parseUnit(await run('/srv/tmp/x')).get(key), ['yes']);
});

t.test('--run-as takes that user, their folders and fewer rights than root', async t => {
  const home = t.testdir();
  const argv = ['service', 'receive', '--run-as', 'daemon', '/srv/copy'];
  const { code, stdout } = await runInProcess(argv, { home, env: { XDG_CONFIG_HOME: '/mine' } });
  t.equal(code, 0);
  const unit = parseUnit(stdout);
  t.same(unit.get('Service.User'), ['daemon']);
  t.same(unit.get('Service.CapabilityBoundingSet'), ['']);
  t.match(paths(unit.get('Service.ReadWritePaths')?.[0])[1], /^\/.*\/\.config\/replica$/);
  verify(t, stdout);
});

t.test('service up may write to every local target of the config file', async t => {
  const home = realpathSync(t.testdir({ '.config': { replica: { 'config.json': '{}' } } }));
  const none = await runInProcess(['service', 'up'], { home });
  t.equal(none.code, 1);
  t.match(none.stderr, /config\.json: it has no folders; 'replica add/);
  const folders = [
    { source: '/srv/a', target: '/mnt/a' },
    { source: '/srv/b', target: 'backup.example.org' },
  ];
  writeFileSync(join(home, '.config/replica/config.json'), JSON.stringify({ folders }));
  const { code, stdout } = await runInProcess(['service', 'up', '-v'], { home });
  t.equal(code, 0);
  const unit = parseUnit(stdout);
  t.same(words(unit.get('Service.ExecStart')?.[0]).slice(3), ['up', '-v']);
  t.same(paths(unit.get('Unit.RequiresMountsFor')?.[0]), ['/srv/a', '/srv/b', '/mnt/a']);
  const state = join(home, '.local/state/replica');
  t.same(paths(unit.get('Service.ReadWritePaths')?.[0]), [state, '/mnt/a']);
  t.ok(unit.has('Unit.Wants'), 'one of them needs the network');
  verify(t, stdout);
});

t.test('--user prints a unit of the user manager', async t => {
  const home = t.testdir({ src: {}, dst: {} });
  const argv = ['service', 'push', '--user', 'src', './dst'];
  const { stdout } = await runInProcess(argv, { home });
  const unit = parseUnit(stdout);
  t.same(unit.get('Install.WantedBy'), ['default.target']);
  t.notOk(unit.has('Service.User'));
  t.notOk(unit.has('Service.ProtectSystem'), 'a user manager may not be allowed to');
  const own = realpathSync(home);
  const pushed = words(unit.get('Service.ExecStart')?.[0]).slice(4);
  t.same(pushed, [join(own, 'src'), join(home, 'dst')], 'whole paths');
});

t.test('what the program would refuse is refused before it is installed', async t => {
  const home = t.testdir({ src: {} });
  const rows: [string[], number, string][] = [
    [
      ['push', 'src', 'host', '--bogus'],
      1,
      "there is no flag --bogus for push; see 'replica push --help'",
    ],
    [['push', 'src', 'host', '--once'], 1, '--once: a service runs until it is stopped'],
    [
      ['push', 'src', 'host', '--key-file=x'],
      1,
      "--key-file: 'x' must be a whole path, as a service starts elsewhere",
    ],
    [
      ['receive', '--run-as', 'no body', '/srv'],
      1,
      "--run-as: there is no user 'no body' in /etc/passwd; run this as that user",
    ],
    [
      ['receive', '--user', '--run-as', 'x', '/srv'],
      1,
      '--run-as: contradicts --user: such a unit runs as the user who installs it',
    ],
    [['push', 'nope', 'host'], 3, `source ${join(home, 'nope')} does not exist`],
  ];
  for (const [argv, code, message] of rows) {
    const result = await runInProcess(['service', ...argv], { home });
    t.strictSame(result, { code, stdout: '', stderr: `replica: ${message}\n` }, argv.join(' '));
  }
});
