// The comparisons themselves must notice what they are for.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { libuvCuts } from '../../src/tree/times.ts';
import { compareIndependently } from './rsync.ts';
import {
  compareTrees,
  createTree,
  directory,
  file,
  hardLink,
  link,
  readTree,
  setTime,
  type TreeLiteral,
} from './tree.ts';

const sample: TreeLiteral = {
  'a.txt': 'hello',
  'b.txt': hardLink('a.txt'),
  alone: file('hello', { mode: 0o640, mtimeNs: -1_500_001_000n }),
  sparse: file(['x', 100_000, 'y', 5000]),
  'caf\xe9': link('nowhere/\xff'),
  empty: {},
  d: directory({ 'x\ny': '', deep: { z: Buffer.alloc(3) } }, { mode: 0o700, mtimeNs: 5_000n }),
};

t.test('a tree that is made reads back as it was declared', async t => {
  const root = t.testdir();
  createTree(join(root, 'a'), sample);
  const tree = readTree(join(root, 'a'));
  t.same([...tree.keys()].sort(), [
    ...['', 'a.txt', 'alone', 'b.txt', 'caf\xe9'],
    ...['d', 'd/deep', 'd/deep/z', 'd/x\ny', 'empty', 'sparse'],
  ]);
  t.equal(tree.get('a.txt')?.hardLinks, 'a.txt b.txt');
  t.equal(tree.get('alone')?.mtimeUs, -1_500_001n);
  t.equal(tree.get('alone')?.mode, '640');
  t.equal(tree.get('caf\xe9')?.target, 'nowhere/\xff');
  t.equal(tree.get('sparse')?.size, 105_002n);
  t.equal(tree.get('d')?.mtimeUs, 5n);
  t.equal(tree.get('a.txt')?.mtimeUs, 1_600_000_001_000_000n);
  t.not(tree.get('a.txt')?.hash, tree.get('sparse')?.hash);
});

/** What rsync can still see (test/support/rsync.ts). */
const leastVisibleNs = libuvCuts() ? 1_000n : 1_000_000_000n;

const changes: Record<string, (root: string) => void> = {
  content: root => {
    fs.writeFileSync(join(root, 'alone'), 'hellO');
    setTime(join(root, 'alone'), -1_500_001_000n);
  },
  mode: root => fs.chmodSync(join(root, 'd'), 0o755),
  time: root => setTime(join(root, 'a.txt'), 1_600_000_001_000_000_000n + leastVisibleNs),
  'time of the root': root => setTime(root, 7_000n),
  'link target': root => {
    const path = Buffer.from(join(root, 'caf\xe9'), 'latin1');
    const { mtimeNs } = fs.lstatSync(path, { bigint: true });
    fs.unlinkSync(path);
    fs.symlinkSync('elsewhere', path);
    setTime(path, mtimeNs);
  },
  'hard link': root => {
    const { mtimeNs } = fs.statSync(join(root, 'b.txt'), { bigint: true });
    fs.copyFileSync(join(root, 'a.txt'), join(root, 'copy'));
    fs.renameSync(join(root, 'copy'), join(root, 'b.txt'));
    setTime(join(root, 'b.txt'), mtimeNs);
  },
  'a missing directory': root => fs.rmdirSync(join(root, 'empty')),
  'an extra name': root => fs.writeFileSync(join(root, 'd', 'new'), ''),
};

for (const [name, change] of Object.entries(changes)) {
  t.test(`both comparisons notice: ${name}`, async t => {
    const root = t.testdir();
    const [a, b] = [join(root, 'a'), join(root, 'b')];
    for (const path of [a, b]) createTree(path, sample);
    fs.mkdirSync(join(b, '.replica'));
    // The private folder moved the time of the root.
    setTime(b, fs.statSync(a, { bigint: true }).mtimeNs);
    t.same(compareTrees(a, b), []);
    t.same(await compareIndependently(a, b), []);
    change(b);
    t.not(compareTrees(a, b).length, 0);
    t.not((await compareIndependently(a, b)).length, 0);
  });
}
