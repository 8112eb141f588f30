// What a push leaves out by size, file system and age: it is counted and explained, and what the
// replica had of it stays.
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { makeDiskFolder } from '../support/folders.ts';
import { command, isRoot } from '../support/mounts.ts';
import { type CliResult, runInProcess } from '../support/run-cli.ts';
import { compareTrees, createTree, type TreeLiteral } from '../support/tree.ts';

interface Pair {
  readonly source: string;
  readonly target: string;
  at(...names: string[]): string;
  there(path?: string): string[];
  run(...argv: string[]): Promise<CliResult>;
  /** `push --once`. */
  pass(...flags: string[]): Promise<CliResult>;
  /** A push that runs until the test is over, once it was in sync. */
  push(...flags: string[]): Promise<void>;
}

function open(t: Test, tree: TreeLiteral): Pair {
  const home = fs.realpathSync(makeDiskFolder(t));
  const [source, target] = [join(home, 'source'), join(home, 'target')];
  fs.mkdirSync(source);
  createTree(source, tree);
  const run = (...argv: string[]): Promise<CliResult> => runInProcess(argv, { home });
  return {
    ...{ source, target, run },
    at: (...names) => join(source, ...names),
    there: (path = '') =>
      fs
        .readdirSync(join(target, path))
        .filter(name => name !== '.replica')
        .sort(),
    pass: (...flags) => run('push', '--once', source, target, ...flags),
    push: async (...flags) => {
      const stop = new AbortController();
      const argv = ['push', source, target, '--interval', '50', ...flags];
      const ended = runInProcess(argv, { home, signal: stop.signal });
      t.teardown(async () => {
        stop.abort();
        await ended;
      });
      while (!/^ {2}(in sync|syncing;)/m.test((await run('status')).stdout)) {
        await new Promise(resolve => setImmediate(resolve));
      }
    },
  };
}

t.test('--max-size: larger files are skipped, and stay as they were at the replica', async t => {
  const pair = open(t, {
    small: 'x'.repeat(1000),
    grows: 'before',
    goes: 'y'.repeat(10),
    big: 'z'.repeat(1001),
    sub: { big: 'z'.repeat(5000), 'a.o': 'o' },
  });
  const flags = ['--max-size', '1000', '--exclude', '*.o'];
  const first = await pair.pass(...flags);
  t.equal(first.code, 0, first.stderr);
  t.match(first.stderr, /skipped 2 files beyond --max-size/);
  t.same(pair.there().sort(), ['goes', 'grows', 'small', 'sub']);
  t.same(pair.there('sub'), []);
  fs.writeFileSync(pair.at('grows'), 'w'.repeat(2000));
  fs.writeFileSync(pair.at('small'), 'smaller');
  fs.rmSync(pair.at('goes'));
  const second = await pair.pass(...flags, '--delete-excluded');
  t.equal(second.code, 0, second.stderr);
  t.same(pair.there().sort(), ['grows', 'small', 'sub']);
  t.equal(fs.readFileSync(join(pair.target, 'grows'), 'utf8'), 'before');
  t.equal(fs.readFileSync(join(pair.target, 'small'), 'utf8'), 'smaller');
  t.notMatch((await pair.pass(...flags)).stderr, /commit \d/, 'and nothing is done again');
  const verify = async (...more: string[]): Promise<number | null> =>
    (await pair.run('verify', pair.source, pair.target, ...more)).code;
  t.equal(await verify(...flags), 0);
  t.equal((await pair.pass()).code, 0);
  t.same(compareTrees(pair.source, pair.target), [], 'without the flag they are sent');
});

t.test('--max-size and --settle: explain and status say so', async t => {
  const pair = open(t, { big: '12345', 'a.log': '1', ok: '1' });
  await pair.push('--max-size', '4', '--settle', '*.log=24h');
  const ask = async (...argv: string[]): Promise<string> => {
    const { code, stdout } = await pair.run(...argv);
    t.equal(code, 0);
    return stdout.trimEnd();
  };
  while (!fs.existsSync(join(pair.target, 'ok'))) await ask('status');
  t.equal(await ask('explain', pair.at('big')), 'skipped: its 5 bytes are more than --max-size 4');
  t.match(await ask('explain', pair.at('a.log')), /^put off: --settle: to be left alone for/);
  t.match(await ask('status'), /1 file beyond --max-size skipped/);
  t.notOk(fs.existsSync(join(pair.target, 'a.log')));
  t.match(await ask('flush'), /2 entries durable/);
  t.equal(fs.readFileSync(join(pair.target, 'a.log'), 'utf8'), '1');
});

t.test(
  '--settle --once waits until files are left alone, and names those that are not',
  async t => {
    const pair = open(t, { a: '1', 'b.log': '1' });
    const first = await pair.pass('--settle', '1s');
    t.equal(first.code, 0, first.stderr);
    t.same(compareTrees(pair.source, pair.target), []);
    const writing = setInterval(() => fs.appendFileSync(pair.at('b.log'), 'x'), 10);
    t.teardown(() => clearInterval(writing));
    fs.writeFileSync(pair.at('a'), '2');
    const second = await pair.pass('--settle', '*.log=150ms');
    t.equal(second.code, 23);
    t.match(second.stderr, /b\.log: it keeps changing: never left alone/);
    t.equal(fs.readFileSync(join(pair.target, 'a'), 'utf8'), '2');
    t.equal(fs.readFileSync(join(pair.target, 'b.log'), 'utf8'), '1');
  },
);

t.test(
  '-x: nothing below a mount point, and what the replica has there stays',
  { skip: !isRoot && 'only root may mount' },
  async t => {
    const pair = open(t, { mnt: { before: 'b' }, here: 'h' });
    t.equal((await pair.pass('--one-file-system')).code, 0);
    const point = pair.at('mnt');
    command('mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', point);
    t.teardown(() => command('umount', '-l', point));
    fs.writeFileSync(join(point, 'inside'), 'i');
    fs.writeFileSync(pair.at('here'), 'other');
    const pass = await pair.pass('-x', '--delete-excluded');
    t.equal(pass.code, 0, pass.stderr);
    t.same(pair.there('mnt'), ['before']);
    t.equal(fs.readFileSync(join(pair.target, 'here'), 'utf8'), 'other');
    const verify = await pair.run('verify', '-x', pair.source, pair.target);
    t.equal(verify.code, 0, verify.stdout);
    await pair.push('-x');
    const explain = await pair.run('explain', join(point, 'inside'));
    t.match(explain.stdout, /^skipped: it is below 'mnt': another file system is mounted there/);
  },
);
