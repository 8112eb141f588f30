// Every flag of every command is used by a test: with a command line that a test types, in a file
// that types that command too.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { runInProcess } from '../support/run-cli.ts';

/** Tests that list flags and try none. */
const lists = new Set(['flags.test.ts', 'document-commands.test.ts', 'settings.test.ts']);

const texts = fs
  .readdirSync('test', { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.ts') && !lists.has(name.split('/').at(-1) ?? ''))
  .map(name => fs.readFileSync(join('test', name), 'utf8'));

/** As a word of a command line: in quotes, or between spaces in a longer text. */
function isTyped(text: string, word: string): boolean {
  return new RegExp(`(?<=['"\`\\s])${word}(?=['"\`\\s=,\\]])`).test(text);
}

interface CommandFlags {
  readonly words: readonly string[];
  /** The names of each: '-n' and '--dry-run'. */
  readonly flags: readonly (readonly string[])[];
}

async function commandsAndFlags(home: string): Promise<readonly CommandFlags[]> {
  const help = async (...argv: string[]): Promise<string> =>
    (await runInProcess([...argv, '--help'], { home })).stdout;
  const commands: CommandFlags[] = [];
  for (const [, path = ''] of (await help()).matchAll(/^ {2}replica ((?:[a-z]+ ?)+)/gm)) {
    const words = path.trim().split(' ');
    const labels = (await help(...words)).matchAll(/^ {2}(-[^\s,]+(?:, --\S+)?)/gm);
    commands.push({ words, flags: [...labels].map(([, label = '']) => label.split(', ')) });
  }
  return commands;
}

/** Below, every command is tried with these. */
const common = new Set(['--env-file', '-v', '-q', '--log-format']);

t.test('every flag of every command is typed by a test', async t => {
  const commands = await commandsAndFlags(t.testdir());
  t.ok(commands.length >= 24, `${commands.length} commands`);
  const untried = commands.flatMap(({ words, flags }) => {
    // Its flags are those of push, and below all of them are added.
    if (words[0] === 'add') return [];
    const files = texts.filter(text => words.every(word => isTyped(text, word)));
    return flags
      .filter(([first = '']) => !common.has(first))
      .filter(names => !files.some(text => names.some(name => isTyped(text, name))))
      .map(names => `${words.join(' ')} ${names.join(', ')}`);
  });
  t.same(untried, []);
});

/** What a command cannot do without, before it looks at its settings. */
const needed: ReadonlyMap<string, readonly string[]> = new Map([
  ['push', ['a', './b']],
  ['verify', ['a', './b']],
  ['add', ['a', './b']],
  ['remove', ['a']],
  ['receive', ['a']],
  ['log', ['a']],
  ['explain', ['a']],
  ['bwlimit', ['1M']],
  ['pair', ['a']],
  ['key revoke', ['a']],
  ['completion', ['bash']],
  ['service push', ['a', './b']],
  ['service receive', ['a']],
]);

t.test('every command reads its --env-file, and takes -v, -q and --log-format', async t => {
  const home = t.testdir({ bad: 'REPLICA_NO_SUCH=1', a: {} });
  for (const { words } of await commandsAndFlags(home)) {
    const path = words.join(' ');
    // What follows is for the command that the unit runs.
    if (path === 'service up') continue;
    const logging = ['-v', '-q', '--log-format', 'pretty'];
    const argv = [...words, ...logging, '--env-file', 'bad', ...(needed.get(path) ?? [])];
    t.match(
      await runInProcess(argv, { home }),
      { code: 1, stderr: /\bbad: there is no setting REPLICA_NO_SUCH/ },
      path,
    );
  }
});

/** By flag of push: the words that add it, and what the config file then has. */
const settings: Readonly<Record<string, readonly [string, unknown] | true>> = {
  '--interval': ['2s', '2s'],
  '--exclude': ['*.o', ['*.o']],
  '--exclude-from': ['rules', ['/home/rules']],
  '--delete-excluded': true,
  '--max-size': ['2G', '2G'],
  '-x': true,
  '--settle': ['*.log=5s', ['*.log=5s']],
  '--chmod': ['D755', 'D755'],
  '-o': true,
  '-g': true,
  '-X': true,
  '--numeric-ids': true,
  '--scan-jobs': ['8', '8'],
  '--max-delete': ['10%', '10%'],
  '-c': true,
  '--compress': ['zstd', 'zstd'],
  '--compress-level': ['3', '3'],
  '--optimize': ['bytes', 'bytes'],
  '--bwlimit': ['1M', '1M'],
  '--cpu-limit': ['5%', '5%'],
  '--timeout': ['9s', '9s'],
  '-e': ['ssh -4', 'ssh -4'],
  '--replica-path': ['/opt/replica', '/opt/replica'],
  '--key-file': ['key', '/home/key'],
  '--state': ['st', '/home/st'],
  '--special-bits': true,
  '--take-over': true,
  '--adopt': true,
  '--fsync': ['off', 'off'],
  '--keep': ['1h', '1h'],
  '--log-file': ['log', '/home/log'],
  '--metrics': ['9464', '9464'],
  '--no-delete': true,
  '--insecure': true,
  '-z': true,
};

t.test('add remembers every flag of push but those for one run', async t => {
  const home = fs.realpathSync(t.testdir({ a: {}, rules: '' }));
  const commands = await commandsAndFlags(home);
  const flags = commands.find(({ words }) => words[0] === 'add')?.flags ?? [];
  const forOneRun = new Set(['--once', '-n', '--path', '--accept-deletes', ...common]);
  t.ok(flags.length > 25);
  let count = 0;
  for (const names of flags) {
    const [first = ''] = names;
    if (forOneRun.has(first)) continue;
    const known = settings[first];
    if (known === undefined) {
      t.fail(`no value for ${first}`);
      continue;
    }
    const words = known === true ? [first] : [first, known[0]];
    const target = first === '--insecure' ? '127.0.0.1:1' : `./b${count++}`;
    const { code, stderr } = await runInProcess(['add', 'a', target, ...words], { home });
    t.equal(code, 0, `${first} ${stderr}`);
    const { folders } = JSON.parse(
      fs.readFileSync(join(home, '.config/replica/config.json'), 'utf8').replaceAll(home, '/home'),
    );
    const { source: _, target: __, ...values } = folders.at(-1);
    const name = first === '-z' ? '--compress' : (names.at(-1) ?? '');
    const value = first === '-z' ? 'on' : known === true ? true : known[1];
    t.same(values, { [name.slice(2)]: value }, first);
  }
});

t.test('the help of add does not tell of flags that add refuses', async t => {
  const home = t.testdir({ a: {} });
  const flags = (await commandsAndFlags(home)).find(({ words }) => words[0] === 'add')?.flags;
  for (const argv of [['--once'], ['-n'], ['--accept-deletes'], ['--path', 'x']] as const) {
    t.match(await runInProcess(['add', 'a', './b', ...argv], { home }), {
      code: 1,
      stderr: /is for one run; give it to push$/m,
    });
    t.notOk(
      flags?.some(names => names.some(name => name === argv[0])),
      argv[0],
    );
  }
});

t.test('a flag that no test types is noticed', async t => {
  t.ok(isTyped("run('push', '--once')", '--once'));
  t.ok(isTyped('`push --once src`', '--once'));
  t.notOk(isTyped("run('push', '--once-more')", '--once'));
  t.notOk(isTyped("run('push', '--no---once')", '--once'));
});
