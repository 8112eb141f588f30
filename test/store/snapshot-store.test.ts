import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { BlockList } from '../../src/blocks/block-list.ts';
import type { NodeId } from '../../src/snapshot/entry.ts';
import { type Known, pageEntriesMax } from '../../src/snapshot/listing.ts';
import { type Name, toName } from '../../src/snapshot/name.ts';
import { SnapshotStore } from '../../src/store/snapshot-store.ts';
import { nodeId, randomEntry, randomName } from '../support/messages.ts';
import { seededRandom } from '../support/random.ts';

type TestContext = Parameters<Parameters<typeof t.test>[0]>[0];
const opened = (t: TestContext): SnapshotStore => {
  const store = SnapshotStore.open(join(t.testdir(), 'state'));
  t.teardown(() => store.close());
  return store;
};

t.test('a directory of any size reads back in order, through splits and removals', async t => {
  for (let seed = 1; seed <= 6; seed++) {
    const random = seededRandom(seed);
    const store = opened(t);
    const directory = nodeId(5 + seed);
    const neighbour = nodeId(6 + seed);
    const oracle = new Map<Name, Known>();
    const other: Known = { name: toName('other'), entry: randomEntry(random), nlink: 1 };
    store.transaction(() => store.update(neighbour, new Map([[other.name, other]])));
    for (let round = 0; round < 12; round++) {
      const changes = new Map<Name, Known | undefined>();
      const count = Math.floor(random() * pageEntriesMax);
      for (let i = 0; i < count; i++) {
        const name =
          random() < 0.2 ? randomName(random) : toName(`n${Math.floor(random() * 5000)}`);
        changes.set(
          name,
          random() < 0.3 ? undefined : { name, entry: randomEntry(random), nlink: 1 },
        );
      }
      const before = store.transaction(() => store.update(directory, changes));
      for (const [name, known] of changes) {
        t.strictSame(before.get(name), oracle.get(name), 'what the name was before');
        if (known === undefined) oracle.delete(name);
        else oracle.set(name, known);
      }
      const sorted = [...oracle.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
      assert.deepEqual(store.listing(directory), sorted, `seed ${seed} round ${round}`);
      const probe = [...oracle.keys()][0] ?? toName('none');
      t.strictSame(store.find(directory, probe), oracle.get(probe));
    }
    t.ok(store.pages(directory).length > 1, 'has several pages');
    t.strictSame([...store.directories()], [directory, neighbour]);
    store.transaction(() => store.dropListing(directory));
    t.strictSame(store.listing(directory), []);
    t.strictSame(store.listing(neighbour), [other], 'the neighbour stays');
  }
});

t.test('a basis is given out for its own version only', async t => {
  const store = opened(t);
  const id: NodeId = nodeId(9);
  const list = BlockList.from(Buffer.alloc(36, 1));
  store.transaction(() => store.setBasis(id, 3, { list, checks: Buffer.alloc(32, 2) }));
  t.equal(store.basis(id, 2), undefined);
  t.ok(store.basis(id, 3)?.list.packed.equals(list.packed));
  t.equal(store.basis(id, 3)?.checks.length, 32);
});

t.test('a damaged or foreign database is refused with ERR_STATE', async t => {
  const folder = join(t.testdir(), 'state');
  const store = SnapshotStore.open(folder);
  store.transaction(() => store.writeMeta('x', Buffer.alloc(100_000)));
  await store.close();
  const path = join(folder, 'data.mdb');
  const whole = fs.readFileSync(path);
  for (const bytes of [
    whole.subarray(0, 5000),
    Buffer.alloc(whole.length, 7),
    whole.subarray(0, 100),
  ]) {
    fs.writeFileSync(path, bytes);
    t.throws(() => SnapshotStore.open(folder), { code: 'ERR_STATE' }, `${bytes.length} bytes`);
  }
});
