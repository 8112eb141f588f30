import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { BlockList } from '../../src/blocks/block-list.ts';
import { ReplicaError } from '../../src/errors.ts';
import { ConfirmedLayer } from '../../src/sender/confirmed.ts';
import { type Entry, noStamp, rootId } from '../../src/snapshot/entry.ts';
import { toName } from '../../src/snapshot/name.ts';
import { SnapshotStore } from '../../src/store/snapshot-store.ts';
import { MessageType } from '../../src/wire/messages.ts';
import { connectTo, optionsFor, runOnce } from '../support/fake-push.ts';
import { FakeReceiver } from '../support/fake-receiver.ts';
import { makeDiskFolder } from '../support/folders.ts';
import { nodeId } from '../support/messages.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
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

/** What it holds now; the result puts it back there, as the snapshot of a disk does. */
function snapshot(receiver: FakeReceiver): () => void {
  const { model, files, blocks, watermark } = receiver;
  const names = [...model.names].map(([id, entries]) => [id, new Map(entries)] as const);
  const [root, allFiles, allBlocks] = [model.root, [...files], [...blocks]];
  return () => {
    model.names.clear();
    for (const [id, entries] of names) model.names.set(id, new Map(entries));
    model.root = root;
    files.clear();
    for (const [id, version] of allFiles) files.set(id, version);
    blocks.clear();
    for (const [id, bytes] of allBlocks) blocks.set(id, bytes);
    receiver.watermark = watermark;
  };
}

t.test('a receiver that went back counts versions anew: no block is that of another', async t => {
  const receiver = new FakeReceiver();
  let isDown = false;
  const connect = connectTo(receiver);
  const options = optionsFor(makeDiskFolder(t), {
    connect: () => {
      if (isDown) throw new ReplicaError('ERR_SOCKET', 'down');
      return connect();
    },
  });
  fs.mkdirSync(options.source);
  const path = join(options.source, 'f');
  const first = randomBytes(seededRandom(1), 400_000);
  const edited = (bytes: Buffer, at: number): Buffer => {
    const copy = Buffer.from(bytes);
    copy[at] = 255 - (copy[at] ?? 0);
    return copy;
  };
  const arrive = async (bytes: Buffer): Promise<void> => {
    fs.writeFileSync(path, bytes);
    t.match((await runOnce(options)).outcome, { inSync: true });
    const held = [...receiver.files.values()].map(({ blocks }) => Buffer.concat(blocks));
    t.strictSame(
      held.map(content => content.equals(bytes)),
      [true],
    );
  };
  await arrive(first);
  const goBack = snapshot(receiver);
  const second = edited(first, 100_000);
  await arrive(second);
  goBack();
  // Another second version, of which the sender never hears that it is durable.
  fs.writeFileSync(path, edited(first, 300_000));
  receiver.lie = message => {
    if (message.type !== MessageType.Durable) return [message];
    isDown = true;
    return [{ type: MessageType.Failure, code: 'shutdown', message: '' }];
  };
  t.match((await runOnce({ ...options, timeoutMs: 500 })).outcome, { inSync: false });
  isDown = false;
  receiver.lie = message => [message];
  await arrive(edited(second, 200_000));
});

t.test('blocks are forgotten only where an agreement brings other content', async t => {
  const store = SnapshotStore.open(join(t.testdir(), 'state'));
  t.teardown(() => store.close());
  const layer = new ConfirmedLayer(store);
  const digest = Buffer.alloc(16, 1);
  layer.connect({ ...receiverState, digest });
  const entry: Entry = {
    ...{ kind: 'file', id: nodeId(5), mode: 0o644, size: 0, mtimeNs: 0n, stamp: noStamp },
    ...{ version: 1, target: '' },
  };
  const adopt = (changes: Partial<Entry>): boolean => {
    layer.beginAdopt([rootId]);
    layer.adopt([{ parent: rootId, name: toName('a'), entry: { ...entry, ...changes } }]);
    layer.finish(digest);
    return store.basis(entry.id, 1) !== undefined;
  };
  const know = (): void => {
    adopt({});
    const basis = { list: BlockList.empty, checks: Buffer.alloc(0) };
    store.transaction(() => store.setBasis(entry.id, 1, basis));
  };
  know();
  t.equal(adopt({ mode: 0o600 }), true);
  t.equal(adopt({ mode: 0o600, size: 1 }), false);
  know();
  t.equal(adopt({ mtimeNs: 1n }), false);
  know();
  t.equal(adopt({ version: 2 }), false);
});
