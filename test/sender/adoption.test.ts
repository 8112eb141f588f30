import { join } from 'node:path';
import t from 'tap';
import { ConfirmedLayer } from '../../src/sender/confirmed.ts';
import { type Entry, noStamp, rootId } from '../../src/snapshot/entry.ts';
import { toName } from '../../src/snapshot/name.ts';
import { SnapshotStore } from '../../src/store/snapshot-store.ts';
import { nodeId } from '../support/messages.ts';
import { receiverState } from '../support/scanning.ts';

t.test('a name that is not taken over leads to no file any more', async t => {
  const store = SnapshotStore.open(join(t.testdir(), 'state'));
  t.teardown(() => store.close());
  const layer = new ConfirmedLayer(store);
  const digest = Buffer.alloc(16, 1);
  layer.connect({ ...receiverState, digest });
  const stamp = { ...noStamp, ino: 7n, birthtimeNs: 8n };
  const entry: Entry = {
    ...{ kind: 'file', id: nodeId(5), mode: 0o644, size: 0, mtimeNs: 0n, stamp, version: 1 },
    target: '',
  };
  const adopt = (...names: string[]): void => {
    layer.beginAdopt([rootId]);
    layer.adopt(names.map(name => ({ parent: rootId, name: toName(name), entry })));
    layer.finish(digest);
  };
  const found = (): string[] => layer.placesOfInode(7n, 8n).map(({ name }) => name);
  adopt('a', 'b', 'c');
  t.strictSame(found(), ['c', 'b', 'a']);
  t.strictSame(
    layer.listing(rootId).map(({ nlink }) => nlink),
    [2, 2, 2],
  );
  adopt('a', 'b');
  t.strictSame(found(), ['b', 'a']);
  adopt('b');
  t.strictSame(found(), ['b']);
  t.equal(layer.find(rootId, toName('b'))?.nlink, 1, 'it is alone, as far as the receiver knows');
});

t.test('an agreement that broke off in the middle is not believed by the next', async t => {
  const folder = join(t.testdir(), 'state');
  const entry: Entry = {
    ...{ kind: 'file', id: nodeId(5), mode: 0o644, size: 0, mtimeNs: 0n, stamp: noStamp },
    ...{ version: 1, target: '' },
  };
  const store = SnapshotStore.open(folder);
  const layer = new ConfirmedLayer(store);
  layer.connect({ ...receiverState, digest: Buffer.alloc(16, 1) });
  layer.beginAdopt([rootId]);
  layer.adopt([{ parent: rootId, name: toName('a'), entry }]);
  layer.finish(Buffer.alloc(16, 1));
  const { digest } = layer;
  t.equal(layer.connect({ ...receiverState, digest }), true, 'what it has is what there is');
  // Another agreement begins, and the connection breaks before the listings come.
  layer.beginAdopt([rootId]);
  t.strictSame(layer.listing(rootId), []);
  t.equal(layer.connect({ ...receiverState, digest }), false);
  await store.close();
  const again = SnapshotStore.open(folder);
  t.teardown(() => again.close());
  t.equal(new ConfirmedLayer(again).connect({ ...receiverState, digest }), false, 'restarted');
});
