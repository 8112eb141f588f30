import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { blockId } from '../../src/blocks/block-id.ts';
import { BlockListBuilder } from '../../src/blocks/block-list.ts';
import { BlockSource } from '../../src/receiver/block-source.ts';
import { Folders } from '../../src/receiver/folders.ts';
import { rootId } from '../../src/snapshot/entry.ts';
import { type FileRecord, stampOf } from '../../src/store/receiver-records.ts';
import type { ReplicaStore } from '../../src/store/replica-store.ts';
import { ConfinedDirectory } from '../../src/tree/confined-directory.ts';
import { name, nodeId } from '../support/messages.ts';

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
