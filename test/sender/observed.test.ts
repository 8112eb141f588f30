import t from 'tap';
import { ConfirmedLayer } from '../../src/sender/confirmed.ts';
import { Observed } from '../../src/sender/observed.ts';
import { type NodeId, rootId } from '../../src/snapshot/entry.ts';
import type { Known } from '../../src/snapshot/listing.ts';
import type { Name } from '../../src/snapshot/name.ts';
import { SnapshotStore } from '../../src/store/snapshot-store.ts';

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
