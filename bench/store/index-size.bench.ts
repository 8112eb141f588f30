// What does the receiver's state take on disk: a block in the index and in a block list, and a file?
//
//   node dist/bench/store/index-size.bench.js [--blocks 4000000] [--files 1000000] [--tree 100000]
//
// Synthetic records go through the real store as commits put them there: 2,048 files at a time, or
// one file of `blocks` blocks. Then a real tree of `tree` small files is pushed into a receiver.
// Everything lies on tmpfs; sizes are those of data.mdb and of LMDB's own count of pages.
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { BlockListBuilder } from '../../src/blocks/block-list.ts';
import { type Entry, type NodeId, noStamp, rootId } from '../../src/snapshot/entry.ts';
import { toName } from '../../src/snapshot/name.ts';
import { Changes } from '../../src/store/changes.ts';
import { ReplicaStore, receiverTables } from '../../src/store/replica-store.ts';
import { pushOnce } from '../../test/support/push-once.ts';
import { openReceiver } from '../../test/support/receivers.ts';
import { makeSmallFiles } from '../support/trees.ts';

const { values } = parseArgs({
  options: {
    blocks: { type: 'string', default: '4000000' },
    files: { type: 'string', default: '1000000' },
    tree: { type: 'string', default: '100000' },
    place: { type: 'string', default: '/dev/shm' },
  },
});

const base = fs.mkdtempSync(join(values.place, 'replica-bench-'));
const filesPerCommit = 2048;
const perFolder = 50;

/** Ids as good as random, without keeping them. */
function* blockIds(): Generator<Buffer> {
  for (let i = 0; ; i++) {
    const bytes = createHash('sha512').update(`${i}`).digest();
    for (let at = 0; at < 64; at += 16) yield bytes.subarray(at, at + 16);
  }
}

function fileEntry(id: NodeId, size: number): Entry {
  const stamp = { ctimeNs: 1n, ino: BigInt(id), birthtimeNs: 1n };
  return { ...empty, id, size, stamp };
}

const empty: Omit<Entry, 'id' | 'stamp'> = {
  kind: 'file',
  mode: 0o644,
  size: 0,
  mtimeNs: 1_600_000_000_000_000_000n,
  version: 1,
  target: '',
};

/** `count` files of `blocksEach` blocks; bytes of each table. */
async function synthetic(name: string, count: number, blocksEach: number): Promise<void> {
  const folder = join(base, name);
  const store = ReplicaStore.create({ folder, durable: false });
  const ids = blockIds();
  const begunMs = performance.now();
  for (let from = 0; from < count; from += filesPerCommit) {
    const changes = new Changes(store);
    for (let i = from; i < Math.min(from + filesPerCommit, count); i++) {
      // Numbers of nodes of a tree: each folder, then its files.
      const parent = (2 + Math.floor(i / perFolder) * (perFolder + 1)) as NodeId;
      const id = (parent + 1 + (i % perFolder)) as NodeId;
      const place = { parent, name: toName(`source-file-${i % perFolder}.ts`) };
      if (i % perFolder === 0) {
        changes.setDirectory(parent, { parent: rootId, name: toName(`folder${i}`), ino: 1n });
        const entry = {
          ...empty,
          kind: 'directory',
          id: parent,
          version: 0,
          stamp: noStamp,
        } as const;
        changes.setEntry(rootId, toName(`folder${i}`), entry);
      }
      const builder = new BlockListBuilder();
      for (let block = 0; block < blocksEach; block++) builder.add(next(ids), 16_384);
      const list = builder.build();
      const stamp = { ino: 1n, size: 1n, mtimeNs: 1n, ctimeNs: 1n };
      changes.setFile(id, 1, { links: 1, places: [place], stamp, list });
      changes.addHints(id, list, { from: 0, count: list.count });
      changes.setEntry(place.parent, place.name, fileEntry(id, blocksEach * 16_384));
    }
    await changes.write();
  }
  const seconds = (performance.now() - begunMs) / 1000;
  report(name, store, { files: count, blocks: count * blocksEach, seconds });
  await store.close();
  fs.rmSync(folder, { recursive: true });
}

function next(ids: Generator<Buffer>): Buffer {
  const { value } = ids.next();
  return value;
}

function report(
  name: string,
  store: ReplicaStore,
  counts: { readonly files: number; readonly blocks: number; readonly seconds: number },
): void {
  const tables: Record<string, number> = {};
  for (const table of receiverTables) {
    // What mdb_stat says: the library's types leave it open.
    const stats = store.database.tables[table].getStats() as {
      readonly pageSize: number;
      readonly treeBranchPageCount: number;
      readonly treeLeafPageCount: number;
      readonly overflowPages: number;
    };
    const pages = stats.treeBranchPageCount + stats.treeLeafPageCount + stats.overflowPages;
    if (pages > 0) tables[table] = pages * stats.pageSize;
  }
  const { files, blocks, seconds } = counts;
  const total = Object.values(tables).reduce((sum, bytes) => sum + bytes, 0);
  console.log(
    JSON.stringify({
      name,
      files,
      blocks,
      tables,
      total,
      bytesPerBlockInIndex: round((tables.blocks ?? 0) / blocks),
      bytesPerBlock: round(((tables.blocks ?? 0) + (tables.files ?? 0)) / blocks),
      bytesPerFile: round(total / files),
      rssMib: Math.round(process.memoryUsage().rss / 2 ** 20),
      seconds: round(seconds),
    }),
  );
}

function round(value: number): number {
  return Number(value.toPrecision(3));
}

async function realTree(files: number): Promise<void> {
  const source = join(base, 'source');
  const root = join(base, 'target');
  fs.mkdirSync(root);
  makeSmallFiles(source, files, perFolder);
  const closers: (() => Promise<void>)[] = [];
  const test = { teardown: (act: () => Promise<void>) => void closers.push(act) };
  const receiver = await openReceiver(test, { root, fsync: 'off' });
  const begunMs = performance.now();
  const { outcome } = await pushOnce({ folder: base, source, receiver });
  if (!outcome.inSync) throw new Error('not in sync');
  const seconds = (performance.now() - begunMs) / 1000;
  for (const close of closers) await close();
  const folder = join(root, '.replica', 'state');
  const store = await ReplicaStore.open({ folder, durable: false });
  if (!store) throw new Error('no state');
  const { entryCount } = store.database.tables.blocks.getStats() as { readonly entryCount: number };
  report('tree of small files', store, { files, blocks: entryCount, seconds });
  await store.close();
  const fileSize = (path: string): number => fs.statSync(path).size;
  console.log(
    JSON.stringify({
      name: 'files of the databases',
      receiver: fileSize(join(folder, 'data.mdb')),
      sender: fileSize(join(base, 'sender-state', 'data.mdb')),
    }),
  );
}

try {
  const blocks = Number(values.blocks);
  await synthetic('one large file', 1, blocks);
  await synthetic('files of 64 blocks', Math.ceil(blocks / 64), 64);
  await synthetic('files of one block', Number(values.files), 1);
  await realTree(Number(values.tree));
} finally {
  fs.rmSync(base, { recursive: true, force: true });
}
