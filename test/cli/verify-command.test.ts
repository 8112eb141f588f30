// `replica verify` as users run it: over TLS beside a push that is running, and for a folder.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { makeDiskFolder } from '../support/folders.ts';
import { LivePair } from '../support/live-pair.ts';
import { Home } from '../support/programs.ts';
import { runInProcess } from '../support/run-cli.ts';
import { compareTrees } from '../support/tree.ts';

/** Other bytes, the same size and times. */
function flip(path: string): void {
  const { atime, mtime } = fs.statSync(path);
  const fd = fs.openSync(path, 'r+');
  fs.writeSync(fd, '#', 1);
  fs.closeSync(fd);
  fs.utimesSync(path, atime, mtime);
}

t.test('beside a push that is running: finds, repairs through it, fences nobody', async t => {
  const pair = new LivePair({ folder: t.testdir() });
  t.teardown(() => pair.kill());
  for (const name of ['a', 'b']) fs.writeFileSync(join(pair.source, name), `content of ${name}`);
  await pair.start();
  await pair.push?.line(/in sync/);
  const verify = async (...flags: string[]) => {
    const program = pair.home.run(['verify', pair.source, pair.address, ...flags]);
    const { code } = await program.exit;
    return { code, lines: program.stdout };
  };
  t.strictSame(await verify(), { code: 0, lines: ['equal: 2 entries, 24 B read'] });
  flip(join(pair.target, 'a'));
  // Of the receiver's own sweep the first has been, and the next is a minute away.
  const found = await verify('--json');
  t.equal(found.code, 23);
  t.strictSame(
    found.lines.map(line => JSON.parse(line)),
    [
      { reason: 'content', path: 'a', kind: 'file' },
      { equal: false, differences: 1, entries: 2, bytes: 12 },
    ],
  );
  const repaired = await verify('--repair');
  t.strictSame(repaired, {
    code: 0,
    lines: ['content     a', 'repaired: equal: 2 entries, 24 B read'],
  });
  t.strictSame(compareTrees(pair.source, pair.target), []);
  t.equal(pair.push?.exited, undefined, 'the push goes on');
  fs.writeFileSync(join(pair.source, 'c'), 'c');
  await pair.equal();
});

t.test('for a folder on this machine', async t => {
  const folder = t.testdir({ source: { a: 'content' } });
  const home = new Home(join(folder, 'home'));
  const source = join(folder, 'source');
  const target = join(folder, 'target');
  const verify = async (...flags: string[]) => {
    const program = home.run(['verify', source, target, ...flags]);
    const { code } = await program.exit;
    return { code, lines: program.stdout };
  };
  t.strictSame(await verify(), { code: 3, lines: [] });
  t.notOk(fs.existsSync(target), 'nothing is made');
  fs.mkdirSync(target);
  t.strictSame(await verify(), { code: 3, lines: [] });
  t.strictSame(fs.readdirSync(target), []);
  await home.pushOnce(source, target);
  t.equal((await verify()).code, 0);
  flip(join(target, 'a'));
  const before = fs.statSync(join(target, 'a'), { bigint: true });
  t.strictSame(await verify(), {
    code: 23,
    lines: ['content     a', 'not equal: 1 of 1 entry, 0 B read'],
  });
  const after = fs.statSync(join(target, 'a'), { bigint: true });
  t.equal(after.ctimeNs, before.ctimeNs);
  t.equal((await verify('--repair')).code, 0);
  t.strictSame(compareTrees(source, target), []);
});

t.test('a part of the source, rules from a file, and the state that a repair uses', async t => {
  const home = fs.realpathSync(makeDiskFolder(t));
  for (const name of ['sub', 'other']) {
    fs.mkdirSync(join(home, 'source', name), { recursive: true });
    fs.writeFileSync(join(home, 'source', name, 'a.o'), 'content');
  }
  const run = (...argv: string[]) => runInProcess(argv, { home });
  t.equal((await run('push', '--once', 'source', './target', '--state', 'st')).code, 0);
  flip(join(home, 'target/sub/a.o'));
  fs.writeFileSync(join(home, 'rules'), '*.o');
  const verify = (...flags: string[]) => run('verify', 'source', './target', ...flags);
  t.match(await verify('--path', 'other'), { code: 0 });
  t.match(await verify('--path', 'sub'), { code: 23, stdout: /^content +sub\/a\.o$/m });
  t.match(await verify('--exclude-from', 'rules'), { code: 0 });
  t.match(await verify('--repair', '--state', 'st'), { code: 0 });
  t.same(fs.existsSync(join(home, '.local')), false, 'nothing is kept elsewhere');
});
