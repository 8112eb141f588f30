// Ticks that look at parts of the tree. The budget is next to nothing, so that a tick reaches a
// directory or two of the rolling sweep.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Change, SweepSummary } from '../../src/sender/change.ts';
import type { Scanner } from '../../src/sender/scanner.ts';
import { ModelReceiver } from '../support/model.ts';
import { readModelTree } from '../support/model-tree.ts';
import { fillTree, mutate } from '../support/mutate.ts';
import { seededRandom } from '../support/random.ts';
import { openScanner, operationsOf, sortedTree, sweep, transfer } from '../support/scanning.ts';

const budgetMs = 0;

function tick(scanner: Scanner): { changes: Change[]; summary: SweepSummary } {
  const { changes, summary } = sweep(scanner, { budgetMs });
  for (const change of changes) {
    if (change.kind !== 'file' || change.purpose !== 'trust') continue;
    const { entry, parent, name } = change;
    scanner.observed.looked(entry.id, true, { parent, name });
  }
  return { changes: operationsOf(changes), summary };
}

/** Ticks until the sweep came round twice without finding anything. */
function settle(scanner: Scanner, model: ModelReceiver, ticksMax = 3000): boolean {
  let quietTicks = 0;
  for (let i = 0; i < ticksMax; i++) {
    const { changes, summary } = tick(scanner);
    transfer(scanner, model, changes, 1000);
    const isQuiet = changes.length === 0 && summary.deferred === 0;
    quietTicks = isQuiet ? quietTicks + 1 : 0;
    if (quietTicks > 2 * summary.poll.directories + 4) return true;
  }
  return false;
}

t.test('a model fed by partial ticks equals the tree after quiet', async t => {
  const seeds = Number(process.env.SEEDS ?? 8);
  for (let seed = 1; seed <= seeds; seed++) {
    await t.test(`seed ${seed}`, async t => {
      const random = seededRandom(1000 + seed);
      const { root, scanner } = openScanner(t, `${seed}`);
      fillTree(root, random, 30);
      const model = new ModelReceiver();
      transfer(scanner, model, sweep(scanner).changes, 1000);
      let parts = 0;
      for (let round = 0; round < 40; round++) {
        const { changes, summary } = tick(scanner);
        if (!summary.isWhole) parts++;
        transfer(scanner, model, changes, random() < 0.5 ? 3 : 1000);
        const count = Math.floor(random() * 5);
        for (let i = 0; i < count; i++) mutate(root, random);
      }
      t.ok(parts > 20, `${parts} ticks looked at parts only`);
      t.ok(settle(scanner, model), 'falls quiet');
      t.strictSame(sortedTree(model.tree()), sortedTree(readModelTree(root)));
      const left = operationsOf(sweep(scanner).changes);
      t.strictSame(left, [], 'a sweep of the whole tree finds nothing more');
    });
  }
});

interface Story {
  readonly scanner: Scanner;
  readonly model: ModelReceiver;
  readonly path: (name: string) => string;
  /** What one tick hands out, committed at once. */
  readonly tick: () => string[];
}

/** A tree of `count` directories with three files each, in sync. */
function story(t: Parameters<typeof openScanner>[0], name: string, count = 40): Story {
  const { root, scanner } = openScanner(t, name);
  const path = (below: string): string => join(root, below);
  for (let i = 0; i < count; i++) {
    fs.mkdirSync(path(`d${i}`), { recursive: true });
    for (const file of ['a', 'b', 'c']) fs.writeFileSync(path(`d${i}/${file}`), `${i} ${file}`);
  }
  const model = new ModelReceiver();
  transfer(scanner, model, sweep(scanner).changes, 1000);
  if (!settle(scanner, model)) throw new Error('does not settle');
  return {
    scanner,
    model,
    path,
    tick: () => {
      const { changes } = tick(scanner);
      transfer(scanner, model, changes, 1000);
      return changes
        .filter(change => change.kind !== 'attributes')
        .map(change => `${change.kind} ${change.path}`);
    },
  };
}

t.test(
  'created, replaced and moved names are seen in the next tick, wherever they are',
  async t => {
    const { path, tick } = story(t, 'names');
    fs.writeFileSync(path('d30/new'), 'new');
    fs.renameSync(path('d7/a'), path('d31/moved'));
    fs.writeFileSync(path('d8/.b.tmp'), 'saved by rename');
    fs.renameSync(path('d8/.b.tmp'), path('d8/b'));
    t.strictSame(tick().sort(), ['file d30/new', 'file d8/b', 'rename d31/moved']);
  },
);

t.test('a move out of a directory that is looked at into one that is not is no delete', async t => {
  const { path, tick } = story(t, 'pass', 200);
  // The pass over directories' times takes several ticks: whichever side it comes to first.
  fs.renameSync(path('d3/a'), path('d190/moved'));
  fs.renameSync(path('d191/a'), path('d4/moved'));
  const seen: string[] = [];
  for (let i = 0; i < 12; i++) seen.push(...tick());
  t.strictSame(seen.sort(), ['rename d190/moved', 'rename d4/moved']);
});

t.test('a removed name is deleted once every directory was looked at', async t => {
  const { path, tick } = story(t, 'gone');
  fs.rmSync(path('d5/a'));
  fs.rmSync(path('d6'), { recursive: true });
  t.strictSame(tick(), [], 'it may have gone where this look did not reach');
  t.strictSame(tick().sort(), ['remove d5/a', 'remove d6']);
  t.strictSame(tick(), []);
});

t.test(
  'a file edited in place is seen by the sweep, and in the next tick once it is hot',
  async t => {
    const { path, tick, scanner } = story(t, 'hot');
    const edit = (text: string): void => fs.writeFileSync(path('d20/b'), text, { flag: 'r+' });
    edit('first');
    const seen: string[] = [];
    const { directories } = sweep(scanner, { budgetMs }).summary.poll;
    for (let i = 0; i < directories && seen.length === 0; i++) seen.push(...tick());
    t.strictSame(seen, ['file d20/b']);
    edit('again');
    t.strictSame(tick(), ['file d20/b']);
  },
);

t.test('new rules in a rule file hold for everything below at once', async t => {
  const { path, tick, scanner, model } = story(t, 'rules');
  fs.mkdirSync(path('d9/x/y'), { recursive: true });
  fs.writeFileSync(path('d9/x/y/log'), 'text');
  tick();
  settle(scanner, model);
  fs.writeFileSync(path('d9/.replicaignore'), 'more\n');
  tick();
  fs.writeFileSync(path('d9/x/y/more'), 'text');
  t.strictSame(tick(), []);
  fs.writeFileSync(path('d9/.replicaignore.new'), 'other\n');
  fs.renameSync(path('d9/.replicaignore.new'), path('d9/.replicaignore'));
  const seen = tick();
  t.ok(seen.includes('file d9/x/y/more'), seen.join(', '));
});

t.test('deletes that are held stay held, and are let go when the names are back', async t => {
  const { path, tick, scanner } = story(t, 'held', 400);
  fs.renameSync(path('d0'), path('kept'));
  tick();
  for (let i = 1; i < 300; i++) fs.renameSync(path(`d${i}`), path(`../away${i}`));
  const held = (): number | undefined => sweep(scanner, { budgetMs }).summary.held?.count;
  let count: number | undefined;
  for (let i = 0; i < 40 && count === undefined; i++) count = held();
  t.ok(count !== undefined && count > 600, `${count} deletes are held`);
  for (let i = 0; i < 20; i++) t.strictSame(tick(), [], 'nothing is deleted');
  for (let i = 1; i < 300; i++) fs.renameSync(path(`../away${i}`), path(`d${i}`));
  for (let i = 0; i < 40 && count !== undefined; i++) count = held();
  t.equal(count, undefined, 'let go');
});
