// What does a commit of new files cost the receiver's records, and what does looking them up? The
// rival writes a commit for each file. Not flushed: that is the disk's time.
//
//   node dist/bench/store/commits.bench.js [--files 20000] [--place /dev/shm]
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { BlockListBuilder } from '../../src/blocks/block-list.ts';
import { type NodeId, rootId } from '../../src/snapshot/entry.ts';
import { toName } from '../../src/snapshot/name.ts';
import { Changes } from '../../src/store/changes.ts';
import { ReplicaStore } from '../../src/store/replica-store.ts';
import { measure, measureAsync } from '../support/measure.ts';
import { ownFolder } from '../support/owned.ts';

const { values } = parseArgs({
  options: {
    files: { type: 'string', default: '20000' },
    place: { type: 'string', default: '/dev/shm' },
  },
});

const perFolder = 50;
const fileSize = 3000;
const store = ReplicaStore.create({
  folder: join(ownFolder(values.place), 'state'),
  durable: false,
});
const firstId = 2;
let nextFile = 0;

const blockIdOf = (file: number): Buffer =>
  createHash('sha256').update(`${file}`).digest().subarray(0, 16);
/** Numbers of nodes as a sender gives them: each folder, then its files. */
const folderOf = (file: number): NodeId =>
  (firstId + Math.floor(file / perFolder) * (perFolder + 1)) as NodeId;
const idOf = (file: number): NodeId => (folderOf(file) + 1 + (file % perFolder)) as NodeId;
const nameOf = (file: number) => toName(`source-file-${file % perFolder}.ts`);

function add(changes: Changes, file: number): void {
  const [id, parent, name] = [idOf(file), folderOf(file), nameOf(file)];
  const common = { mode: 0o644, mtimeNs: 1_600_000_000_000_000_000n, target: '' };
  const stamp = { ctimeNs: 1n, ino: BigInt(id), birthtimeNs: 1n };
  if (file % perFolder === 0) {
    const folder = toName(`folder${file}`);
    changes.setDirectory(parent, { parent: rootId, name: folder, ino: 1n });
    const entry = { ...common, kind: 'directory', id: parent, size: 0, version: 0, stamp } as const;
    changes.setEntry(rootId, folder, entry);
  }
  const builder = new BlockListBuilder();
  builder.add(blockIdOf(file), fileSize);
  const list = builder.build();
  const local = { ino: BigInt(id), size: BigInt(fileSize), mtimeNs: 1n, ctimeNs: 1n };
  changes.setFile(id, 1, { links: 1, places: [{ parent, name }], stamp: local, list });
  changes.addHints(id, list, { from: 0, count: 1 });
  const entry = { ...common, kind: 'file', id, size: fileSize, version: 1, stamp } as const;
  changes.setEntry(parent, name, entry);
}

async function commit(count: number): Promise<void> {
  const changes = new Changes(store);
  for (let i = 0; i < count; i++) add(changes, nextFile++);
  await changes.write();
}

const bytesOf = (count: number): number => count * fileSize;
while (nextFile < Number(values.files)) await commit(2000);
const content = `${nextFile} files`;
for (const perCommit of [1, 100, 2000]) {
  const name = `commits: 2000 new files, ${perCommit} a commit`;
  await measureAsync({ name, content }, { bytes: bytesOf(2000), runs: 5 }, async () => {
    for (let i = 0; i < 2000; i += perCommit) await commit(perCommit);
  });
}
const looked = Array.from({ length: 5000 }, (_, i) => (i * 7919) % Number(values.files));
const lookups = { bytes: bytesOf(looked.length), runs: 9 };
measure({ name: 'commits: look up 5000 names', content }, lookups, () => {
  for (const file of looked) {
    if (store.entry(folderOf(file), nameOf(file))?.id !== idOf(file)) throw new Error('no entry');
  }
});
measure({ name: 'commits: look up 5000 block lists', content }, lookups, () => {
  for (const file of looked)
    if (store.file(idOf(file), 1)?.list.count !== 1) throw new Error('no list');
});
measure({ name: 'commits: look up 5000 blocks in the index', content }, lookups, () => {
  for (const file of looked) {
    if (store.hints(blockIdOf(file)).length === 0) throw new Error('not in the index');
  }
});
await store.close();
