import { join } from 'node:path';
import t from 'tap';
import { NodePlaces } from '../../src/sender/node-places.ts';
import { type Entry, noStamp } from '../../src/snapshot/entry.ts';
import type { Known } from '../../src/snapshot/listing.ts';
import { toName } from '../../src/snapshot/name.ts';
import { inodePlacesMax, SnapshotStore } from '../../src/store/snapshot-store.ts';
import { nodeId } from '../support/messages.ts';

type T = Parameters<Parameters<typeof t.test>[0]>[0];

const stamp = { ...noStamp, ino: 7n, birthtimeNs: 8n };
const entry: Entry = {
  ...{ kind: 'file', id: nodeId(5), mode: 0o644, size: 0, mtimeNs: 0n, stamp, version: 1 },
  target: '',
};
const folder = nodeId(3);
const named = (text: string, nlink = 2): Known => ({ name: toName(text), entry, nlink });

function open(t: T) {
  const store = SnapshotStore.open(join(t.testdir(), 'state'));
  t.teardown(() => store.close());
  const places = new NodePlaces(store);
  const names = (): string[] => store.placesOfInode(7n, 8n).map(place => place.name);
  const twin = (text: string) => places.twinOf(folder, toName(text), entry)?.name;
  return { store, places, names, twin };
}

t.test('whichever name goes, the others lead to the file', async t => {
  const { store, places, names, twin } = open(t);
  store.transaction(() => {
    for (const text of ['a', 'b', 'c']) places.set(folder, named(text));
    t.strictSame(names(), ['c', 'b', 'a'], 'newest first');
    places.set(folder, named('a'));
    t.strictSame(names(), ['a', 'c', 'b']);
    places.set(folder, named('b'), { isNewest: false });
    t.strictSame(names(), ['a', 'c', 'b'], 'one that lags behind comes last');
    t.equal(twin('a'), toName('c'), 'a name is not its own twin');
    t.equal(twin('x'), toName('a'));
    places.drop(folder, named('a'), undefined);
    t.strictSame(names(), ['c', 'b']);
    places.drop(folder, named('c'), named('c'));
    t.strictSame(names(), ['c', 'b'], 'a name that stays with its inode');
    places.drop(folder, named('x'), undefined);
    places.drop(folder, named('c'), undefined);
    places.drop(folder, named('b'), undefined);
    t.strictSame(names(), []);
    t.equal(twin('x'), undefined);
  });
});

t.test('a file of one name has one place', async t => {
  const { store, places, names } = open(t);
  store.transaction(() => {
    for (const text of ['a', 'b']) places.set(folder, named(text));
    places.set(folder, named('c', 1));
    t.strictSame(names(), ['c'], 'who has one link has no other names');
    places.set(nodeId(4), named('c'));
    t.equal(names().length, 2, 'the same name in another folder is another');
  });
});

t.test('of very many names some are remembered', async t => {
  const { store, places, names } = open(t);
  store.transaction(() => {
    for (let i = 0; i < 100; i++) places.set(folder, named(`n${i}`, 100));
  });
  const newest = Array.from({ length: inodePlacesMax }, (_, i) => `n${99 - i}`);
  t.strictSame(names(), newest);
});
