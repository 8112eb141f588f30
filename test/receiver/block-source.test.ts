import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { blockId } from '../../src/blocks/block-id.ts';
import { BlockListBuilder } from '../../src/blocks/block-list.ts';
import { BlockFinder } from '../../src/receiver/block-finder.ts';
import { BlockSource } from '../../src/receiver/block-source.ts';
import { Folders } from '../../src/receiver/folders.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import { rootId } from '../../src/snapshot/entry.ts';
import { type FileRecord, stampOf } from '../../src/store/receiver-records.ts';
import type { ReplicaStore } from '../../src/store/replica-store.ts';
import { ConfinedDirectory } from '../../src/tree/confined-directory.ts';
import { ReadBuffer } from '../../src/tree/read-buffer.ts';
import { StagedFile } from '../../src/tree/staged-file.ts';
import { FakeSender } from '../support/fake-sender.ts';
import { name, nodeId } from '../support/messages.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { receiverDefaults } from '../support/receivers.ts';

const secret = Buffer.alloc(32, 7);
const block = Buffer.alloc(9000, 'block');

t.test('of files that are not as recorded the records are read once until a pause', async t => {
  const root = t.testdir({ there: block.toString() });
  const folders = Folders.open(ConfinedDirectory.openRoot(root));
  t.teardown(() => folders.close());
  const builder = new BlockListBuilder();
  const id = blockId(secret, block);
  builder.add(id, block.length);
  const list = builder.build();
  const stamp = stampOf(fs.statSync(join(root, 'there'), { bigint: true }));
  const record = (path: string): FileRecord => ({
    ...{ links: 1, places: [{ parent: rootId, name: name(path) }], stamp, list },
  });
  const files = new Map([
    [2, record('gone')],
    [3, record('there')],
  ]);
  const asked: number[] = [];
  const store = {
    secret,
    directory: () => undefined,
    hints: () => [...files.keys()].map(file => ({ id: nodeId(file), block: 0 })),
    versions: () => [1],
    file: (file: number) => {
      asked.push(file);
      return files.get(file);
    },
  };
  const source = new BlockSource({ store: store as unknown as ReplicaStore, folders });
  t.teardown(() => source.close());
  const read = (): void => {
    t.ok(source.read([{ id, size: block.length }])?.bytes.equals(block));
  };
  for (let i = 0; i < 100; i++) read();
  t.strictSame(asked, [2, 3]);
  source.pause();
  read();
  t.strictSame(asked, [2, 3, 2], 'it may be there now; what is open stays open');
});

t.test('what was found stays as it is while other tasks read, until it is written', async t => {
  const folder = t.testdir({ root: {}, noise: {} });
  const root = join(folder, 'root');
  const receiver = await Receiver.open({ ...receiverDefaults, root, fsync: 'off' });
  t.teardown(() => receiver.close());
  const sender = await FakeSender.open(receiver);
  t.teardown(() => sender.close());
  const blocks = [1, 2, 3].map(seed => randomBytes(seededRandom(seed), 8192));
  const [first = block, second = block] = blocks;
  await sender.commit([sender.file(rootId, 'first', first), sender.file(rootId, 'second', second)]);
  // Each read of the other's is between the first being found and being written.
  const original = BlockFinder.prototype.find;
  const other = new ReadBuffer();
  const fd = fs.openSync(join(root, 'second'), 'r');
  t.teardown(() => {
    BlockFinder.prototype.find = original;
    fs.closeSync(fd);
  });
  let found = 0;
  const noise = ConfinedDirectory.openRoot(join(folder, 'noise'));
  t.teardown(() => noise.release());
  BlockFinder.prototype.find = async function (...args) {
    const result = await original.apply(this, args);
    if (result !== undefined) found++;
    other.read(fd, 0, second.length);
    const staged = StagedFile.create(noise, name(`${found}`));
    staged.copyFrom(fd, 0, second.length);
    staged.close();
    return result;
  };
  const copy = sender.file(rootId, 'copy', Buffer.alloc(0));
  const entry = { ...copy.entry, size: first.length };
  const content = { kind: 'inline' as const, baseVersion: 0, pieces: [sender.block(first)] };
  await sender.commit([{ ...copy, entry, content } as typeof copy]);
  t.equal(found, 1);
  t.ok(fs.readFileSync(join(root, 'copy')).equals(first));
});
