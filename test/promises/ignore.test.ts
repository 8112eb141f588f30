// Rules, deletes and their brakes, parts and dry runs: what stays, what goes, and what is said.
import fs from 'node:fs';
import { join } from 'node:path';
import type t from 'tap';
import { makeDiskFolder } from '../support/folders.ts';
import { inTurn } from '../support/in-turn.ts';
import { LocalPasses, type Way, ways } from '../support/local-pass.ts';
import { createTree, readTree, type TreeLiteral } from '../support/tree.ts';

/** In place of t.test. */
const each = inTurn(ways);

type TestContext = Parameters<Parameters<typeof t.test>[0]>[0];

async function replicated(
  t: TestContext,
  way: Way,
  tree: TreeLiteral,
  ...args: string[]
): Promise<LocalPasses> {
  const passes = new LocalPasses(makeDiskFolder(t), way);
  createTree(passes.source, tree);
  t.equal((await passes.pass(...args)).code, 0);
  return passes;
}

/** Every path of a tree but its root. */
const paths = (root: string): string[] => [...readTree(root).keys()].filter(path => path !== '');

const many = (count: number): TreeLiteral =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, `${i}`]));

each(
  'leaves out what --exclude, --exclude-from and nested .replicaignore files say',
  async (t, way) => {
    const passes = new LocalPasses(makeDiskFolder(t), way);
    createTree(passes.source, {
      'keep.txt': 'k',
      'debug.log': 'l',
      'important.log': 'i',
      cache: { x: 'x' },
      deep: {
        '.replicaignore': '# generated\n*.out\n!wanted.out\n/only-here\n',
        'a.out': 'a',
        'wanted.out': 'w',
        'only-here': 'o',
        below: { 'b.out': 'b', 'only-here': 'stays', 'c.txt': 'c' },
      },
      'top.out': 'no rule up here',
      'pa:tterns': 'cache/\n\n# comment\n',
    });
    const { code } = await passes.pass(
      '--exclude',
      '*.log',
      '--exclude',
      '!important.log',
      '--exclude-from',
      passes.at('pa:tterns'),
    );
    t.equal(code, 0);
    t.strictSame(paths(passes.target), [
      'deep',
      'deep/.replicaignore',
      'deep/below',
      'deep/below/c.txt',
      'deep/below/only-here',
      'deep/wanted.out',
      'important.log',
      'keep.txt',
      'pa:tterns',
      'top.out',
    ]);
  },
);

each('what becomes ignored stays, unless --delete-excluded', async (t, way) => {
  const passes = await replicated(t, way, {
    a: 'a',
    'b.tmp': 'b',
    d: { 'c.tmp': 'c', e: 'e' },
    out: { x: 'x' },
  });
  const rules = ['--exclude', '*.tmp', '--exclude', 'out/'];
  t.equal((await passes.pass(...rules)).operations, 0, 'newly ignored: left alone');
  t.strictSame(passes.there().sort(), ['a', 'b.tmp', 'd', 'out']);
  fs.rmSync(passes.at('b.tmp'));
  fs.rmSync(passes.at('out'), { recursive: true });
  t.equal((await passes.pass(...rules)).code, 0);
  t.ok(passes.there().includes('a'));

  t.equal((await passes.pass(...rules, '--delete-excluded')).code, 0);
  t.strictSame(paths(passes.target), ['a', 'd', 'd/e']);
  t.ok(fs.existsSync(passes.at('d', 'c.tmp')), 'the source is never touched');

  t.equal((await passes.pass()).code, 0);
  t.strictSame(passes.differences(), [], 'without rules everything comes');
});

each('moves between ignored and included names', async (t, way) => {
  const passes = await replicated(
    t,
    way,
    { a: 'one', skip: { b: 'two', d: { x: 'x' } }, dir: { y: 'y' } },
    '--exclude',
    'skip/',
  );
  t.strictSame(paths(passes.target), ['a', 'dir', 'dir/y']);
  fs.renameSync(passes.at('a'), passes.at('skip', 'a'));
  fs.renameSync(passes.at('skip', 'b'), passes.at('b'));
  fs.renameSync(passes.at('dir'), passes.at('skip', 'dir'));
  fs.renameSync(passes.at('skip', 'd'), passes.at('d'));
  t.equal((await passes.pass('--exclude', 'skip/')).code, 0);
  t.strictSame(paths(passes.target), ['b', 'd', 'd/x'], 'moved out of sight is gone');
});

each(
  '--max-delete holds more deletes than it says; --accept-deletes lets them go once',
  async (t, way) => {
    const passes = await replicated(t, way, { ...many(12), folder: many(5) });
    for (let i = 0; i < 4; i++) fs.rmSync(passes.at(`f${i}`));
    fs.writeFileSync(passes.at('new'), 'n');
    const held = await passes.pass('--max-delete', '3');
    t.equal(held.code, 25);
    t.ok(
      held.lines.some(line =>
        /4 deletes held: 4 entries would be deleted, --max-delete allows 3/.test(line),
      ),
    );
    t.ok(passes.there().includes('f0'), 'nothing is deleted');
    t.ok(passes.there().includes('new'), 'the rest goes on');
    t.equal((await passes.pass('--max-delete', '4')).code, 0, 'exactly as many are allowed');
    t.strictSame(passes.differences(), []);

    fs.rmSync(passes.at('folder'), { recursive: true });
    t.equal((await passes.pass('--max-delete', '5')).code, 25, 'a directory counts what is in it');
    t.equal((await passes.pass('--max-delete', '5', '--accept-deletes')).code, 0);
    t.strictSame(passes.differences(), []);
  },
);

each('the share of --max-delete counts above 1,000 entries, renames taken out', async (t, way) => {
  const folders = Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`d${i}`, many(100)]));
  const passes = await replicated(t, way, folders);
  for (let i = 0; i < 6; i++) fs.renameSync(passes.at(`d${i}`), passes.at(`e${i}`));
  t.equal((await passes.pass()).code, 0, 'renames delete nothing');
  for (let i = 0; i < 6; i++) fs.rmSync(passes.at(`e${i}`), { recursive: true });
  const held = await passes.pass();
  t.equal(held.code, 25);
  t.ok(
    held.lines.some(line =>
      /606 of 1111 entries would be deleted, --max-delete allows 50%/.test(line),
    ),
  );
  t.equal((await passes.pass('--max-delete', '60%')).code, 0);
  t.strictSame(passes.differences(), []);
});

each('--no-delete never deletes, and replaces nothing by another kind', async (t, way) => {
  const passes = await replicated(t, way, { a: 'a', b: 'b', d: { x: 'x' } });
  fs.rmSync(passes.at('a'));
  fs.rmSync(passes.at('d'), { recursive: true });
  fs.writeFileSync(passes.at('b'), 'changed');
  t.equal((await passes.pass('--no-delete')).code, 0);
  t.strictSame(paths(passes.target), ['a', 'b', 'd', 'd/x']);
  t.equal(fs.readFileSync(join(passes.target, 'b'), 'utf8'), 'changed');
  t.equal((await passes.pass()).code, 0);
  t.strictSame(passes.differences(), [], 'without the flag they go');
});

each('--path looks at parts of the source only', async (t, way) => {
  const passes = await replicated(t, way, {
    a: 'a',
    d: { x: 'x', e: { y: 'y', z: 'z' } },
    k: { l: 'l' },
  });
  fs.writeFileSync(passes.at('a'), 'changed');
  fs.writeFileSync(passes.at('d', 'e', 'y'), 'changed');
  fs.rmSync(passes.at('d', 'e', 'z'));
  fs.rmSync(passes.at('d', 'x'));
  fs.rmSync(passes.at('k'), { recursive: true });
  fs.writeFileSync(passes.at('d', 'e', 'new'), 'n');
  t.equal((await passes.pass('--path', 'd/e')).code, 0);
  t.strictSame(paths(passes.target), ['a', 'd', 'd/e', 'd/e/new', 'd/e/y', 'd/x', 'k', 'k/l']);
  t.equal(fs.readFileSync(join(passes.target, 'a'), 'utf8'), 'a', 'outside: as it was');
  t.equal(fs.readFileSync(join(passes.target, 'd/e/y'), 'utf8'), 'changed');
  t.equal((await passes.pass()).code, 0);
  t.strictSame(passes.differences(), []);
});

each('--dry-run prints the operations and changes nothing', async (t, way) => {
  const passes = await replicated(t, way, { a: 'a', b: 'b', c: 'c', d: { x: 'x' }, e: 'e' });
  fs.writeFileSync(passes.at('a'), 'longer');
  fs.rmSync(passes.at('b'));
  fs.renameSync(passes.at('c'), passes.at('d', 'c2'));
  fs.symlinkSync('a', passes.at('ln'));
  fs.mkdirSync(passes.at('new'));
  fs.writeFileSync(passes.at('new', 'odd\nname'), 'odd');
  fs.chmodSync(passes.at('e'), 0o600);
  const before = readTree(passes.target);
  const { lines, code } = await passes.pass('--dry-run');
  t.equal(code, 0);
  const printed = lines.filter(line => !line.startsWith('{'));
  for (const expected of [
    /^modify +a \(6 bytes\)/,
    /^delete +b$/,
    /^rename +c -> d\/c2/,
    /^create +ln -> a/,
    /^create +new\//,
    // Directories that are not there yet are not descended into.
  ]) {
    t.ok(
      printed.some(line => expected.test(line)),
      `${expected}`,
    );
  }
  t.notOk(
    printed.some(line => /\bd\/x\b/.test(line)),
    'nothing about what is the same',
  );
  t.strictSame([...readTree(passes.target)], [...before], 'nothing changes');
  t.equal((await passes.pass()).code, 0);
  t.strictSame(passes.differences(), [], 'and the next pass does it');
  const none = await passes.pass('--dry-run');
  t.strictSame(
    none.lines.filter(line => !line.startsWith('{')),
    [],
    'nothing left to do',
  );
});

each('a .replica folder at the root of the source is left out', async (t, way) => {
  const passes = await replicated(t, way, {
    '.replica': { state: 's' },
    a: 'a',
    d: { '.replica': { b: 'b' } },
  });
  t.strictSame(paths(passes.target), ['a', 'd', 'd/.replica', 'd/.replica/b']);
});
