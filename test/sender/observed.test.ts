import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Change } from '../../src/sender/change.ts';
import { ConfirmedLayer } from '../../src/sender/confirmed.ts';
import { Observed } from '../../src/sender/observed.ts';
import { type NodeId, rootId } from '../../src/snapshot/entry.ts';
import type { Known } from '../../src/snapshot/listing.ts';
import type { Name } from '../../src/snapshot/name.ts';
import { SnapshotStore } from '../../src/store/snapshot-store.ts';
import { ModelReceiver } from '../support/model.ts';
import { openScanner, operationOf, sweep } from '../support/scanning.ts';

function linked(name: string, id: number, ino: bigint): Known {
  return {
    name: name as Name,
    nlink: 2,
    entry: {
      kind: 'file',
      id: id as NodeId,
      mode: 0o644,
      size: 3,
      mtimeNs: 5n,
      stamp: { ctimeNs: 6n, ino, birthtimeNs: 7n },
      version: 1,
      target: '',
    },
  };
}

t.test('two names of one inode that got two nodes are noticed until they are one', async t => {
  const store = SnapshotStore.open(t.testdir());
  t.teardown(() => store.close());
  const observed = new Observed(new ConfirmedLayer(store));
  const queue = (known: Known): number =>
    observed.queue([{ parent: rootId, name: known.name, known }]);
  const tokens = [linked('a', 2, 40n), linked('b', 3, 40n), linked('c', 4, 41n)].map(queue);
  observed.confirm(tokens.map(token => ({ token })));
  t.match(observed.splits(), [{ place: { name: 'b' }, known: { name: 'a' } }]);
  t.equal(observed.splits().length, 1);

  const joined = queue(linked('b', 2, 40n));
  t.strictSame(observed.splits(), [], 'one node again');
  observed.confirm([{ token: joined }]);
  t.strictSame(observed.splits(), []);
});

t.test('a look that began before there was a doubt does not end it', async t => {
  for (const isSame of [true, undefined]) {
    for (const doubt of ['rename', 'flush']) {
      const store = SnapshotStore.open(t.testdir());
      t.teardown(() => store.close());
      const observed = new Observed(new ConfirmedLayer(store));
      const file = (name: string): Known => ({ ...linked(name, 2, 40n), nlink: 1 });
      const effect = (name: string, known: Known | undefined) => ({
        ...{ parent: rootId, name: name as Name, known },
      });
      const due = () => observed.dueForTrust(Number.MAX_SAFE_INTEGER, 10).map(({ place }) => place);
      observed.confirm([{ token: observed.queue([effect('a', file('a'))]) }]);
      const [before] = due();
      t.match(before, { name: 'a' });
      if (doubt === 'flush') observed.doubtRecent();
      else {
        const moves = [effect('a', undefined), effect('b', file('b'))];
        observed.confirm([{ token: observed.queue(moves, true) }]);
      }
      t.strictSame(due(), [], 'one look at a time');
      if (before) observed.looked(2 as NodeId, isSame, before);
      t.equal(observed.unprovenCount, 1, `${doubt}: what the look saw was before`);
      const [after] = due();
      t.match(after, { name: doubt === 'flush' ? 'a' : 'b' });
      if (after) observed.looked(2 as NodeId, true, after);
      t.equal(observed.unprovenCount, 0);
    }
  }
});

t.test('a look before its time ends a doubt, and does not make times trusted', async t => {
  const store = SnapshotStore.open(t.testdir());
  t.teardown(() => store.close());
  const observed = new Observed(new ConfirmedLayer(store));
  const known = { ...linked('a', 2, 40n), nlink: 1 };
  const token = observed.queue([{ parent: rootId, name: known.name, known }]);
  observed.confirm([{ token }]);
  const look = (nowMs: number): void => {
    const [due] = observed.dueForTrust(nowMs, 10);
    t.match(due, { id: 2 });
    if (due) observed.looked(due.id, true, due.place);
  };
  observed.doubtRecent();
  look(performance.now());
  t.equal(observed.unprovenCount, 0);
  t.equal(store.recent(10).length, 1, 'an edit within the same second is still to be found');
  look(Number.MAX_SAFE_INTEGER);
  t.equal(store.recent(10).length, 0);
});

t.test('files that are written to all the time leave others their second look', async t => {
  const store = SnapshotStore.open(t.testdir());
  t.teardown(() => store.close());
  const observed = new Observed(new ConfirmedLayer(store));
  const save = (id: number): number => {
    const known = { ...linked(`f${id}`, id, BigInt(id)), nlink: 1 };
    return observed.queue([{ parent: rootId, name: known.name, known }]);
  };
  const count = 1500;
  const tokens = Array.from({ length: count - 2 }, (_, i) => save(i + 2));
  observed.confirm(tokens.map(token => ({ token })));
  const nowMs = performance.now();
  const late = count as NodeId;
  store.transaction(() => store.setRecent(late, { parent: rootId, name: 'late' as Name }));
  const looked = new Set<NodeId>();
  for (let sweep = 0; sweep < 10; sweep++) {
    for (const { id, place } of observed.dueForTrust(nowMs, 64)) {
      looked.add(id);
      observed.looked(id, true, place);
    }
  }
  t.strictSame([...looked], [late]);
});

t.test('what was to be replaced first is removed, though its replacement never came', async t => {
  const { root, scanner } = openScanner(t, 'replaced', { acceptDeletes: true });
  const receiver = new ModelReceiver();
  fs.mkdirSync(root);
  fs.writeFileSync(join(root, 'other'), '');
  fs.symlinkSync('other', join(root, 'f'));
  const settle = (isRead: boolean): void => {
    for (let { changes } = sweep(scanner); changes.length > 0; { changes } = sweep(scanner)) {
      for (const change of changes) {
        if (change.kind === 'file' && !isRead) {
          // It waits to be read; meanwhile it goes, and that is found.
          fs.rmSync(join(root, 'f'));
          const { changes: later } = sweep(scanner);
          t.match(
            later.filter(one => one.kind === 'remove'),
            [{ name: 'f' }],
          );
          scanner.observed.revert([{ token: change.token, reason: 'superseded' }]);
          carryOut(later);
        } else carryOut([change]);
      }
    }
  };
  const carryOut = (changes: readonly Change[]): void => {
    t.strictSame(receiver.commit(changes.map(operationOf)), [], 'nothing is rejected');
    scanner.observed.confirm(changes.map(({ token }) => ({ token })));
  };
  settle(true);
  t.strictSame([...receiver.tree().keys()].sort(), ['f', 'other']);
  fs.rmSync(join(root, 'f'));
  fs.writeFileSync(join(root, 'f'), 'new');
  settle(false);
  t.strictSame([...receiver.tree().keys()], ['other']);
});

t.test('a change that is taken back uncovers the one before it that is under way', async t => {
  const { root, scanner } = openScanner(t, 'covered');
  fs.mkdirSync(root);
  const write = (text: string): Change | undefined => {
    fs.writeFileSync(join(root, 'f'), text);
    return sweep(scanner).changes.find(({ kind }) => kind === 'file');
  };
  const first = write('one');
  t.match(first, { entry: { version: 1 } });
  if (!first) return;
  scanner.observed.confirm([{ token: first.token }]);
  const second = write('second');
  const third = write('the third');
  t.match([second, third], [{ entry: { version: 2 } }, { entry: { version: 3 } }]);
  if (!second || !third) return;
  scanner.observed.revert([{ token: third.token, reason: 'superseded' }]);
  // The second is at the receiver by now: no other content may have its number.
  const fourth = write('what it is at last');
  t.match(fourth, { entry: { version: 3 }, baseVersion: 2 });
  if (!fourth) return;
  scanner.observed.confirm([{ token: second.token }]);
  t.match(scanner.observed.find(rootId, 'f' as Name), { entry: { version: 3 } });
  scanner.observed.revert([{ token: fourth.token, reason: 'superseded' }]);
  t.match(scanner.observed.find(rootId, 'f' as Name), { entry: { version: 2 } }, 'as confirmed');
});
