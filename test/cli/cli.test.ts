import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { exitCodeMeanings } from '../../src/cli/exit-code.ts';
import { runInProcess } from '../support/run-cli.ts';

t.test('--help is complete, short and on stdout', async t => {
  const home = t.testdir();
  for (const argv of [[], ['--help'], ['-h'], ['help'], ['push', '--help'], ['help', 'push']]) {
    const { code, stdout, stderr } = await runInProcess(argv, { home });
    t.equal(code, 0, argv.join(' '));
    t.equal(stderr, '');
    for (const [number] of exitCodeMeanings) t.match(stdout, new RegExp(`^ *${number}  `, 'm'));
    const longest = Math.max(...stdout.split('\n').map(line => line.length));
    t.ok(longest <= 80, `${longest} columns`);
  }
  const push = await runInProcess(['push', 'a', '--help'], { home });
  for (const flag of [
    '--interval',
    '--once',
    '-n, --dry-run',
    '--max-delete N\\|P%',
    '-v, --verbose',
  ]) {
    t.match(push.stdout, new RegExp(`^  ${flag} `, 'm'));
  }
  const key = await runInProcess(['key', '--help'], { home });
  t.match(key.stdout, /replica key revoke <id>/);
  const revoke = await runInProcess(['key', 'revoke', '--help'], { home });
  t.notMatch(revoke.stdout, /replica key new/);
});

t.test('each command has an example in its help, and no flag without a word', async t => {
  const home = t.testdir();
  const { stdout } = await runInProcess(['--help'], { home });
  const commands = [...stdout.matchAll(/^ {2}replica ((?:[a-z]+ ?)+)/gm)].map(one => one[1] ?? '');
  t.ok(commands.length >= 8);
  for (const command of commands) {
    const argv = [...command.trim().split(' '), '--help'];
    const help = (await runInProcess(argv, { home })).stdout;
    t.match(help, /^Examples:\n {2}\S.*:\n {6}.*\breplica [a-z]/m, command);
    const longest = Math.max(...help.split('\n').map(line => line.length));
    t.ok(longest <= 80, `${command}: ${longest} columns`);
    t.notMatch(help, /^ {2}--?[a-z-]+(?: [A-Z]+)?\s*$/m, 'each flag is explained');
    t.notMatch(help, /#0|VALUE/, 'each value has a name');
  }
});

t.test('--version prints the version', async t => {
  const home = t.testdir();
  for (const flag of ['--version', '-v']) {
    const { code, stdout } = await runInProcess([flag], { home });
    t.equal(code, 0);
    t.match(stdout, /^replica \d+\.\d+\.\d+/);
  }
});

t.test(
  'wrong arguments: one line on stderr with the remedy, nothing on stdout, exit 1',
  async t => {
    const home = t.testdir({ src: {}, file: '' });
    const rows: [string[], string][] = [
      [['frob'], "there is no command 'frob'; see 'replica --help'"],
      [
        ['version'],
        "there is no command 'version' (did you mean '--version'?); see 'replica --help'",
      ],
      [['psuh'], "there is no command 'psuh' (did you mean 'push'?); see 'replica --help'"],
      [
        ['recieve'],
        "there is no command 'recieve' (did you mean 'receive'?); see 'replica --help'",
      ],
      [
        ['help', 'statsu'],
        "there is no command 'statsu' (did you mean 'status'?); see 'replica --help'",
      ],
      [['frob', '--help'], "there is no command 'frob'; see 'replica --help'"],
      [['--bogus'], "there is no flag --bogus; see 'replica --help'"],
      [['-V'], "there is no flag -V; see 'replica --help'"],
      [['key'], "say which: key show, key new, key list, key revoke; see 'replica key --help'"],
      [
        ['key', 'sho'],
        "say which: key show, key new, key list, key revoke; see 'replica key --help'",
      ],
      [
        ['push'],
        "<src> and <target> are missing: replica push <src> <target>; see 'replica push --help'",
      ],
      [
        ['push', '--once', 'src', '-v'],
        "<target> is missing: replica push <src> <target>; see 'replica push --help'",
      ],
      [['receive'], "<dst> is missing: replica receive <dst> ...; see 'replica receive --help'"],
      [['key', 'revoke'], "<id> is missing: replica key revoke <id>; see 'replica key --help'"],
      [
        ['push', 'src', 'host', 'more'],
        "'more' is one argument too many: replica push <src> <target>; see 'replica push --help'",
      ],
      [
        ['status', 'a', 'b', 'c'],
        "these are not the arguments of status: replica status [src] [target]; see 'replica status --help'",
      ],
      [
        ['push', 'src', 'host', '--interval'],
        "--interval needs a value: --interval TIME; see 'replica push --help'",
      ],
      [
        ['push', 'src', 'host', '--once=yes'],
        "--once takes no value, it is on or off; see 'replica push --help'",
      ],
      [
        ['push', 'src', 'host', '--exlude', 'x'],
        "there is no flag --exlude for push (did you mean '--exclude'?); see 'replica push --help'",
      ],
      [['push', 'src', 'host', '-Z'], "there is no flag -Z for push; see 'replica push --help'"],
      [
        ['push', 'src', 'host', '--bogus'],
        "there is no flag --bogus for push; see 'replica push --help'",
      ],
      [
        ['push', 'src', 'host', '--interval', 'abc'],
        "--interval: 'abc' is not a duration such as 500, 2s or 24h",
      ],
      [['push', 'src', 'host', '--interval=0'], '--interval: 0 is not from 10 ms to 24 h'],
      [['push', 'src', 'host', '--timeout', '1'], '--timeout: 1 is not from 100 ms to 24 h'],
      [
        ['push', 'src', 'host', '--cpu-limit', '0%'],
        "--cpu-limit: '0%' is no share of a core, such as 10%",
      ],
      [
        ['push', 'src', 'host', '--max-delete', '101%'],
        "--max-delete: '101%' is neither a count nor a share up to 100%",
      ],
      [
        ['push', 'src', 'host', '--path', '../x'],
        "--path: '../x' must be a path below the source, such as docs/api",
      ],
      [['push', 'src', 'host', '--insecure'], '--insecure: only to a loopback address, not host'],
      [
        ['push', 'src', 'host', '--adopt'],
        "--adopt: is for a folder on this machine; give it to 'replica receive'",
      ],
      [
        ['push', 'src', 'host', '--no-delete', '--delete-excluded'],
        '--delete-excluded: contradicts --no-delete; give one of them',
      ],
      [
        ['push', 'src', 'host', '--compress', 'gzip'],
        "--compress: 'gzip' is none of auto, on, off, brotli, zstd",
      ],
      [
        ['push', 'src', 'host', '-z', '--compress', 'off'],
        '-z: contradicts --compress off; give one of them',
      ],
      [
        ['push', 'src', 'host', '--compress-level', '20'],
        "--compress-level: '20' is no level from 1 to 19 (brotli ends at 11)",
      ],
      [
        ['push', 'src', 'host', '--optimize', 'speed'],
        "--optimize: 'speed' is not one of auto, bytes, time",
      ],
      [['push', 'src', 'ssh://h/'], "unusable target 'ssh://h/': a folder must follow the host"],
      [['receive', 'dst', '--port', '70000'], "--port: '70000' is not a port from 0 to 65535"],
      [['receive', 'dst', '--fsync', 'maybe'], "--fsync: 'maybe' is not one of batch, off"],
      [
        ['receive', 'dst', '--keep', 'long'],
        "--keep: 'long' is not a duration such as 500, 2s or 24h",
      ],
      [
        ['receive', 'dst', '--insecure', '--host', '::'],
        '--host: --insecure needs a loopback address, such as 127.0.0.1',
      ],
      [
        ['pair', 'user@host'],
        "unusable target 'user@host': there are no user names here; give host:port",
      ],
    ];
    for (const [argv, message] of rows) {
      const result = await runInProcess(argv, { home });
      t.strictSame(
        result,
        { code: 1, stdout: '', stderr: `replica: ${message}\n` },
        argv.join(' '),
      );
    }
  },
);

t.test('a word that is no host may be meant as a folder: how to write it is said', async t => {
  const home = t.testdir({ src: {}, 'no-such-host-1': {} });
  // No key is needed to find out.
  t.strictSame(await runInProcess(['push', 'src', 'no-such-host-1'], { home }), {
    code: 10,
    stdout: '',
    stderr:
      'replica: there is no host no-such-host-1; for the folder no-such-host-1 write ./no-such-host-1\n',
  });
  t.match(await runInProcess(['push', 'src', 'no-such-host-2'], { home }), {
    code: 10,
    stderr:
      /there is no host no-such-host-2; for a folder of that name write \.\/no-such-host-2\n$/,
  });
  // With a port, or a dot, it is no folder; what is a host needs a key.
  for (const [host, code, text] of [
    ['no-such-host-2:7376', 10, /there is no host no-such-host-2\n$|no key for/],
    ['no.such.host.invalid', 10, /there is no host no.such.host.invalid\n$|no key for/],
    ['10.255.255.1', 5, /no key for/],
  ] as const) {
    const { code: found, stderr } = await runInProcess(['push', 'src', host], { home });
    t.match(stderr, text);
    // Without a resolver nobody knows.
    if (!stderr.includes('no key for')) t.equal(found, code);
    t.notMatch(stderr, /folder/);
  }
  t.match(
    await runInProcess(['push', 'src', 'no-such-host-1'], { home, env: { REPLICA_KEY: 'x' } }),
    { code: 5, stderr: /REPLICA_KEY: not a pairing string/ },
  );
  await runInProcess(['key', 'new'], { home });
  const { stdout } = await runInProcess(['key', 'show'], { home });
  const env = { REPLICA_KEY: stdout.trim() };
  const argv = ['push', '--once', '--timeout', '100', 'src', 'no-such-host-1'];
  t.match(await runInProcess(argv, { home, env }), {
    code: 30,
    stderr: /cannot connect to no-such-host-1:7375: .*; for the folder no-such-host-1 write \.\//,
  });
  t.match(await runInProcess(['add', 'src', 'no-such-host-1'], { home }), {
    code: 0,
    stderr: /no key for .*; for the folder no-such-host-1 write \.\/no-such-host-1"/,
  });
  t.match(await runInProcess(['doctor', 'src', 'no-such-host-1'], { home }), {
    code: 10,
    stdout: /^bad {3}name .*; for the folder no-such-host-1 write \.\/no-such-host-1$/m,
  });
});

t.test('unsuitable paths: exit 3 before anything starts', async t => {
  const home = t.testdir({ src: { sub: {} }, file: '', link: t.fixture('symlink', 'src') });
  const at = (path: string): string => join(home, path);
  const rows: [string[], string][] = [
    [['push', 'nope', 'host'], `source ${at('nope')} does not exist`],
    [
      ['push', 'file', 'host'],
      `source ${at('file')} is not a directory; to replicate parts of one, use --path`,
    ],
    [['push', 'src', './src'], `source and destination are the same folder, ${at('src')}`],
    [
      ['push', 'src', './src/sub'],
      `destination ${at('src/sub')} is inside the source ${at('src')}; choose another place`,
    ],
    [
      ['push', 'src', './link/new'],
      `destination ${at('src/new')} is inside the source ${at('src')}; choose another place`,
    ],
    [
      ['push', 'src/sub', './src'],
      `source ${at('src/sub')} is inside the destination ${at('src')}; choose another place`,
    ],
    [['push', 'src', './file'], `destination ${at('file')} is not a directory`],
    [
      ['push', 'src', './no/dst'],
      `destination ${at('no/dst')} cannot be made: its parent folder does not exist`,
    ],
    [
      ['push', 'src', 'host', '--exclude-from', 'no'],
      `cannot read --exclude-from ${at('no')} (ENOENT)`,
    ],
    [
      ['push', 'src', 'host', '--log-file', 'no/log'],
      `cannot open the log file ${at('no/log')} (ENOENT)`,
    ],
    [['receive', 'file'], `destination ${at('file')} is not a directory`],
    [
      ['receive', 'no/dst'],
      `destination ${at('no/dst')} cannot be made: its parent folder does not exist`,
    ],
  ];
  for (const [argv, message] of rows) {
    const result = await runInProcess(argv, { home });
    t.strictSame(result, { code: 3, stdout: '', stderr: `replica: ${message}\n` }, argv.join(' '));
  }
});

t.test('settings come from the config file, and wrong ones name it', async t => {
  const home = t.testdir({ src: {} });
  const folder = join(home, '.config/replica');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), '{"push": {"interval": "never"}}');
  const result = await runInProcess(['push', 'src', 'host'], { home });
  t.equal(result.code, 1);
  t.match(result.stderr, /^replica: push\.interval in .*config\.json: 'never' is not a duration/);
  const given = await runInProcess(['push', 'src', '10.0.0.1', '--interval', '1s'], { home });
  t.equal(given.code, 5, 'the flag wins; then the key is missing');
});

t.test('a control character in an argument does not reach the terminal', async t => {
  const { code, stderr } = await runInProcess(['push', 'a\x1b[31m\nb', 'host'], {
    home: t.testdir(),
  });
  t.equal(code, 3);
  t.notMatch(stderr, /\x1b/);
  t.equal(stderr.split('\n').length, 2);
});
