import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { rootId } from '../../src/snapshot/entry.ts';
import { toName } from '../../src/snapshot/name.ts';
import { ModelReceiver } from '../support/model.ts';
import { readModelTree } from '../support/model-tree.ts';
import { fillTree, mutate } from '../support/mutate.ts';
import { seededRandom } from '../support/random.ts';
import {
  openScanner,
  operationOf,
  operationsOf,
  receiverState,
  sortedTree,
  sweep,
  type TestContext,
  transfer,
} from '../support/scanning.ts';

t.test('a model fed with the changes of random programs equals the tree', async t => {
  const seeds = Number(process.env.SEEDS ?? 12);
  for (let seed = 1; seed <= seeds; seed++) {
    await t.test(`seed ${seed}`, async t => {
      const random = seededRandom(seed);
      const { root, scanner } = openScanner(t, `${seed}`);
      fillTree(root, random, 30);
      const model = new ModelReceiver();
      for (let round = 0; round < 12; round++) {
        const { changes } = sweep(scanner);
        transfer(scanner, model, changes, random() < 0.5 ? 7 : 1000);
        const count = Math.floor(random() * 12);
        for (let i = 0; i < count; i++) mutate(root, random);
      }
      let quiet = 0;
      for (let i = 0; i < 8 && quiet < 2; i++) {
        const { changes } = sweep(scanner);
        quiet = operationsOf(changes).length === 0 ? quiet + 1 : 0;
        transfer(scanner, model, changes, 1000);
      }
      t.equal(quiet, 2, 'falls quiet');
      t.strictSame(sortedTree(model.tree()), sortedTree(readModelTree(root)));
      t.equal(scanner.confirmed.entryCount, model.tree().size, 'entry count');
      t.ok(
        scanner.confirmed.finish(scanner.confirmed.digest),
        'the digest kept step by step is the digest of all',
      );
    });
  }
});

/** A source with `old` in sync, changed by `change`; what the next sweep hands out. */
function changesAfter(
  t: TestContext,
  name: string,
  change: (path: (name: string) => string) => void,
  before: (path: (name: string) => string) => void = () => {},
): string[] {
  const { root, scanner } = openScanner(t, name);
  const path = (name: string): string => join(root, name);
  fs.mkdirSync(root);
  fs.writeFileSync(path('old'), 'content of old');
  before(path);
  transfer(scanner, new ModelReceiver(), sweep(scanner).changes, 1000);
  change(path);
  return sweep(scanner)
    .changes.filter(change => change.kind !== 'attributes' && change.path !== '')
    .filter(change => !(change.kind === 'file' && change.purpose === 'trust'))
    .map(change => `${change.kind} ${change.path}`);
}

/** Whichever of the two the sweep comes to first. */
for (const other of ['a-copy', 'z-copy']) {
  t.test(`a name that something else takes at once never goes missing (${other})`, async t => {
    const changes = changesAfter(t, other, path => {
      fs.renameSync(path('old'), path(other));
      fs.writeFileSync(path('old'), 'a newcomer');
    });
    t.notOk(
      changes.some(change => change.startsWith('rename') || change.startsWith('remove')),
      changes.join(', '),
    );
    t.ok(changes.includes('file old'), 'the newcomer');
    t.ok(changes.includes(`hardlink ${other}`) || changes.includes(`file ${other}`));
  });

  t.test(`nor does one whose file had another name already (${other})`, async t => {
    const changes = changesAfter(
      t,
      `linked-${other}`,
      path => {
        fs.renameSync(path('../outside'), path(other));
        fs.writeFileSync(path('newcomer~'), 'a newcomer');
        fs.renameSync(path('newcomer~'), path('old'));
      },
      path => fs.linkSync(path('old'), path('../outside')),
    );
    t.strictSame([...changes].sort(), ['file old', `hardlink ${other}`]);
  });

  t.test(`what was half written is not shown under its last name (${other})`, async t => {
    const changes = changesAfter(t, other, path => {
      fs.appendFileSync(path('old'), ' and the rest');
      fs.renameSync(path('old'), path(other));
    });
    t.strictSame([...changes].sort(), [`file ${other}`, 'remove old']);
  });
}

t.test('a rename alone is one operation', async t => {
  const changes = changesAfter(t, 'plain', path => fs.renameSync(path('old'), path('new')));
  t.strictSame(changes, ['rename new']);
});

t.test('a version number is used once, whatever became of the name that had it', async t => {
  const { root, scanner } = openScanner(t, 'versions');
  fs.mkdirSync(root);
  fs.writeFileSync(join(root, 'a'), 'one');
  fs.linkSync(join(root, 'a'), join(root, 'b'));
  const model = new ModelReceiver();
  transfer(scanner, model, sweep(scanner).changes, 100);
  fs.writeFileSync(join(root, 'a'), 'another');
  // There is room for one of the two names.
  const first = operationsOf(sweep(scanner, { room: 1 }).changes);
  transfer(scanner, model, first, 100);
  fs.rmSync(join(root, 'a'));
  const second = operationsOf(sweep(scanner).changes);
  const versions = [...first, ...second]
    .filter(change => change.kind === 'file')
    .map(({ path, entry }) => [path, entry.version]);
  t.strictSame(versions, [
    ['a', 2],
    ['b', 3],
  ]);
});

for (const budgetMs of [Number.POSITIVE_INFINITY, 0]) {
  const kind = budgetMs === 0 ? 'a look at parts' : 'a sweep';
  t.test(`what is taken back in the middle of ${kind} is not in sync at its end`, async t => {
    const { root, scanner } = openScanner(t, `taken-back-${budgetMs}`);
    for (const name of ['a', 'b', 'c', 'd']) fs.mkdirSync(join(root, name), { recursive: true });
    const model = new ModelReceiver();
    for (let i = 0; i < 4; i++) transfer(scanner, model, sweep(scanner).changes, 100);
    fs.writeFileSync(join(root, 'a', 'file'), 'the receiver lacks its blocks');
    let found = sweep(scanner, { budgetMs }).changes;
    const isFile = ({ kind }: { kind: string }): boolean => kind === 'file';
    transfer(
      scanner,
      model,
      found.filter(change => !isFile(change)),
      100,
    );
    // Before each step of a tick, once.
    let step = 0;
    for (let cut = 1; ; cut++) {
      const reversals = found
        .filter(isFile)
        .map(({ token }) => ({ token, reason: 'superseded' as const }));
      t.equal(reversals.length, 1, 'it is found again');
      found = [];
      let slice = scanner.next(1000, 0, budgetMs);
      for (step = 1; slice.summary === undefined; step++) {
        if (step === cut) scanner.observed.revert(reversals);
        slice = scanner.next(1000, 0, budgetMs);
        found.push(...slice.changes);
      }
      if (step <= cut) break;
      t.ok(slice.summary.deferred > 0 || found.length > 0, `before step ${cut}: not in sync`);
      found.push(...sweep(scanner, { budgetMs }).changes);
    }
    t.ok(step > 2, `a tick of ${step} steps`);
  });
}

t.test('content that was on its way when a connection broke is looked at again', async t => {
  const { root, scanner } = openScanner(t, 'unconfirmed');
  fs.mkdirSync(root);
  fs.writeFileSync(join(root, 'old'), 'confirmed');
  const model = new ModelReceiver();
  transfer(scanner, model, sweep(scanner).changes, 100);
  for (const { id } of scanner.confirmed.recent(10)) scanner.observed.trust(id);
  fs.writeFileSync(join(root, 'new'), 'on its way');
  const { changes } = sweep(scanner);
  model.commit(changes.map(operationOf)); // Durable, but its sender never hears of it.

  scanner.reset();
  const digest = Buffer.alloc(16, 1);
  t.equal(scanner.confirmed.connect({ ...receiverState, digest }), false);
  scanner.confirmed.beginAdopt([rootId]);
  const entries = [...(model.names.get(rootId) ?? [])]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, entry]) => ({ parent: rootId, name, entry }));
  scanner.confirmed.adopt(entries);
  scanner.confirmed.finish(digest);
  const looks = sweep(scanner).changes.filter(
    change => change.kind === 'file' && change.purpose === 'trust',
  );
  t.strictSame(
    looks.map(look => look.path),
    ['new'],
  );
});

/** What becomes of a file with several names; the names that the receiver heard of come first. */
const lags: Record<string, { change: (root: string) => void; heard: string; others: string[] }> = {
  'an edit in place': {
    change: root => fs.appendFileSync(join(root, 'a'), ', edited in place'),
    heard: 'file a',
    others: ['hardlink m', 'hardlink z'],
  },
  'one more name': {
    change: root => fs.linkSync(join(root, 'a'), join(root, '0')),
    heard: 'hardlink 0',
    others: ['hardlink a', 'hardlink m', 'hardlink z'],
  },
};

for (const [what, { change, heard, others }] of Object.entries(lags)) {
  t.test(`names that lagged behind ${what} when a connection broke are linked`, async t => {
    const { root, scanner } = openScanner(t, 'lagging');
    fs.mkdirSync(root);
    fs.writeFileSync(join(root, 'a'), 'one file');
    for (const name of ['m', 'z']) fs.linkSync(join(root, 'a'), join(root, name));
    const model = new ModelReceiver();
    for (let i = 0; i < 2; i++) transfer(scanner, model, sweep(scanner).changes, 100);
    change(root);
    const sent = operationsOf(sweep(scanner).changes);
    const got = sent.filter(({ kind, path }) => `${kind} ${path}` === heard);
    t.equal(got.length, 1);
    model.commit(got.map(operationOf)); // The others got lost.

    scanner.reset();
    const digest = Buffer.alloc(16, 1);
    scanner.confirmed.connect({ ...receiverState, digest });
    scanner.confirmed.beginAdopt([rootId]);
    const entries = [...(model.names.get(rootId) ?? [])]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, entry]) => ({ parent: rootId, name, entry }));
    scanner.confirmed.adopt(entries);
    scanner.confirmed.finish(digest);
    const found = operationsOf(sweep(scanner).changes).filter(({ path }) => path !== '');
    t.strictSame(
      found.map(({ kind, path }) => `${kind} ${path}`),
      others,
    );
  });
}

t.test('names that share a node for want of a swap are given no version twice', async t => {
  for (const lost of ['a', 'b']) {
    const { root, scanner } = openScanner(t, `half-a-swap-${lost}`);
    fs.mkdirSync(root);
    const at = (name: string): string => join(root, name);
    fs.writeFileSync(at('a'), 'one');
    fs.writeFileSync(at('b'), 'the other');
    const model = new ModelReceiver();
    for (let i = 0; i < 2; i++) transfer(scanner, model, sweep(scanner).changes, 100);
    fs.renameSync(at('a'), at('t'));
    fs.renameSync(at('b'), at('a'));
    fs.renameSync(at('t'), at('b'));
    const swap = operationsOf(sweep(scanner).changes).filter(({ path }) => path !== '');
    t.strictSame(
      swap.map(({ kind, path }) => `${kind} ${path}`),
      ['hardlink a', 'hardlink b'],
    );
    // The receiver carries out one half: both names lead to one node there.
    const done = swap.filter(({ path }) => path !== lost);
    t.strictSame(model.commit(done.map(operationOf)), []);
    scanner.observed.confirm(done.map(({ token }) => ({ token })));
    const rejected = swap.filter(({ path }) => path === lost);
    scanner.observed.revert(rejected.map(({ token }) => ({ token, reason: 'gone' as const })));

    const linked = toName(done[0]?.path ?? '');
    t.equal(scanner.confirmed.find(rootId, linked)?.nlink, 2, 'the records say so too');
    const given = new Map<string, string>();
    for (let i = 0; i < 6; i++) {
      const changes = sweep(scanner).changes;
      for (const change of operationsOf(changes)) {
        if (change.kind !== 'file') continue;
        const key = `${change.entry.id}.${change.entry.version}`;
        t.notOk(
          given.has(key),
          `${key} for ${change.path}, and for ${given.get(key) ?? 'no other'}`,
        );
        given.set(key, change.path);
      }
      transfer(scanner, model, changes, 100);
      const [a, b] = ['a', 'b'].map(name => model.names.get(rootId)?.get(toName(name))?.id);
      t.not(a, b, 'each has a node of its own');
      // Each saved anew in turn.
      fs.writeFileSync(at('t'), `saved ${i}`);
      fs.renameSync(at('t'), at(i % 2 === 0 ? 'b' : 'a'));
    }
    t.ok(given.size >= 6, `${given.size} versions`);
    for (let i = 0; i < 2; i++) transfer(scanner, model, sweep(scanner).changes, 100);
    t.same(sortedTree(model.tree()), sortedTree(readModelTree(root)));
  }
});

t.test('a name of a file that comes back in a new directory is linked', async t => {
  for (const [kept, lost] of [
    ['a', 'd'],
    ['z', 'd'],
  ] as const) {
    const { root, scanner } = openScanner(t, `new-directory-${kept}`);
    fs.mkdirSync(join(root, lost), { recursive: true });
    fs.writeFileSync(join(root, kept), 'one file');
    fs.linkSync(join(root, kept), join(root, lost, 'f'));
    const model = new ModelReceiver();
    for (let i = 0; i < 2; i++) transfer(scanner, model, sweep(scanner).changes, 100);
    const entry = model.names.get(rootId)?.get(toName(lost));
    t.equal(entry?.kind, 'directory');
    // The receiver found that it is gone: both names are as they were at the source.
    scanner.observed.lost([{ parent: rootId, name: toName(lost), id: entry?.id ?? rootId }]);
    const found = operationsOf(sweep(scanner).changes).map(({ kind, path }) => `${kind} ${path}`);
    t.strictSame(found, ['directory d', 'hardlink d/f'], `beside ${kept}`);
  }
});

t.test(
  'a directory that was on its way when a session ended may be replaced meanwhile',
  async t => {
    const { root, scanner } = openScanner(t, 'replaced');
    fs.mkdirSync(join(root, 'd', 'old'), { recursive: true });
    fs.mkdirSync(join(root, 'e', 'new'), { recursive: true });
    const { changes } = sweep(scanner);
    // All of it got through, and the session ended before that was known.
    const entries = operationsOf(changes).flatMap(change =>
      change.kind === 'directory'
        ? [{ parent: change.parent, name: change.name, entry: change.entry }]
        : [],
    );
    t.equal(entries.length, 4);
    scanner.reset();
    scanner.confirmed.connect(receiverState);
    scanner.confirmed.beginAdopt([rootId]);
    scanner.confirmed.adopt(entries);
    scanner.confirmed.finish(receiverState.digest);

    fs.rmSync(join(root, 'd'), { recursive: true });
    fs.renameSync(join(root, 'e'), join(root, 'd'));
    const { changes: found, summary } = sweep(scanner);
    t.equal(summary.problems, 0, 'it is not taken for an unmounted file system');
    t.match(operationsOf(found), [{ kind: 'attributes' }, { kind: 'rename', path: 'd' }]);
  },
);
