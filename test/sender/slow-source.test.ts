import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { SourceThreads } from '../../src/tree/source-threads.ts';
import { ModelReceiver } from '../support/model.ts';
import { readModelTree } from '../support/model-tree.ts';
import { fillTree, mutate } from '../support/mutate.ts';
import { seededRandom } from '../support/random.ts';
import { openScanner, operationsOf, sortedTree, sweep, transfer } from '../support/scanning.ts';

const module = new URL('../support/slow-source-worker.js', import.meta.url);

t.test('a folder that hangs is reported, and only its own changes wait', t => {
  let threads: SourceThreads | undefined;
  const { root, scanner } = openScanner(t, 'hang', {}, root => {
    threads = new SourceThreads({ root, jobs: 2, hangMs: 100, module });
    return threads;
  });
  t.teardown(() => threads?.close());
  for (const folder of ['a', 'b', 'c']) {
    fs.mkdirSync(join(root, folder), { recursive: true });
    for (const file of ['x', 'y', 'z']) fs.writeFileSync(join(root, folder, file), folder);
  }
  const model = new ModelReceiver();
  for (let i = 0; i < 3; i++) transfer(scanner, model, sweep(scanner).changes, 1000);
  t.same(sortedTree(model.tree()), sortedTree(readModelTree(root)));

  fs.writeFileSync(`${root}.hang`, 'b');
  fs.rmSync(join(root, 'b', 'x'));
  fs.rmSync(join(root, 'c', 'y'));
  fs.writeFileSync(join(root, 'a', 'new'), 'new');
  const during = sweep(scanner);
  t.equal(during.summary.problems, 1, 'one folder is reported');
  t.same(during.summary.root, { kind: 'ok' });
  const found = operationsOf(during.changes).map(({ kind, path }) => `${kind} ${path}`);
  t.ok(found.includes('file a/new'), 'what is new elsewhere is found');
  t.notOk(
    found.some(change => /^remove b/.test(change)),
    'nothing below it is deleted',
  );
  transfer(scanner, model, during.changes, 1000);
  transfer(scanner, model, sweep(scanner).changes, 1000);
  t.same([model.tree().has('b/x'), model.tree().has('c/y')], [true, false]);

  fs.rmSync(`${root}.hang`);
  let rounds = 0;
  for (; rounds < 1000 && model.tree().has('b/x'); rounds++) {
    transfer(scanner, model, sweep(scanner).changes, 1000);
  }
  t.same(sortedTree(model.tree()), sortedTree(readModelTree(root)), 'and it is caught up with');
  t.end();
});

t.test('a model fed through threads equals the tree', t => {
  const random = seededRandom(7);
  let threads: SourceThreads | undefined;
  const { root, scanner } = openScanner(t, 'threads', {}, root => {
    threads = new SourceThreads({ root, jobs: 3 });
    return threads;
  });
  t.teardown(() => threads?.close());
  fillTree(root, random, 60);
  const model = new ModelReceiver();
  for (let round = 0; round < 20; round++) {
    transfer(scanner, model, sweep(scanner, { budgetMs: round % 2 ? 0 : 1e6 }).changes, 7);
    for (let i = 0; i < 5; i++) mutate(root, random);
  }
  for (let i = 0; i < 8; i++) transfer(scanner, model, sweep(scanner).changes, 1000);
  t.same(sortedTree(model.tree()), sortedTree(readModelTree(root)));
  t.end();
});
