import t from 'tap';
import { diff } from '../../src/snapshot/diff.ts';
import type { Entry, NodeId } from '../../src/snapshot/entry.ts';
import {
  directoriesOf,
  hasMore,
  type Known,
  packPage,
  SeenWriter,
  seenBytes,
  seenOf,
  unpackPage,
} from '../../src/snapshot/listing.ts';
import { toName } from '../../src/snapshot/name.ts';
import { randomEntry, randomName } from '../support/messages.ts';
import { seededRandom } from '../support/random.ts';

function randomListing(random: () => number, count: number): Known[] {
  const known = new Map<string, Known>();
  for (let i = 0; i < count; i++) {
    const name = randomName(random);
    known.set(name, { name, entry: randomEntry(random), nlink: 1 + Math.floor(random() * 3) });
  }
  return [...known.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

t.test('a page unpacks to what was packed, and its seen bytes are what a scan writes', async t => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = seededRandom(seed);
    const listing = randomListing(random, Math.floor(random() * 40));
    const page = packPage(listing, seed % 2 === 0);
    t.strictSame(unpackPage(page), listing, `seed ${seed}`);
    t.equal(hasMore(page), seed % 2 === 0);
    const writer = new SeenWriter();
    for (const known of listing) writer.write(seenOf(known));
    t.ok(writer.bytes().equals(seenBytes(page)), `seen bytes, seed ${seed}`);
    const folders = listing.filter(known => known.entry.kind === 'directory');
    t.strictSame(directoriesOf(page), folders);
  }
});

t.test('one page of format 1 in bytes', async t => {
  const entry: Entry = {
    kind: 'link',
    id: 0x0102030405 as NodeId,
    mode: 0o777,
    size: 2,
    mtimeNs: -1n,
    stamp: { ctimeNs: 1n, ino: 2n, birthtimeNs: 3n },
    version: 0,
    target: 'to',
  };
  const page = packPage([{ name: toName('a'), entry, nlink: 1 }]);
  t.equal(
    page.toString('hex'),
    '00000001' +
      '0000002d' +
      '0161' +
      '02' +
      '01ff' +
      '0000000000000002' +
      'ffffffffffffffff' +
      '0000000000000001' +
      '0000000000000002' +
      '0000000000000003' +
      '000102030405' +
      '00000000' +
      '00000001' +
      '0002' +
      '746f',
  );
});

t.test('one page with an owner in bytes', async t => {
  const entry: Entry = {
    kind: 'directory',
    id: 0x0102030405 as NodeId,
    mode: 0o755,
    size: 0,
    mtimeNs: -1n,
    stamp: { ctimeNs: 1n, ino: 2n, birthtimeNs: 3n },
    version: 0,
    target: '',
    owner: { uid: 258, gid: 0xffff_ffff, user: 'ann', group: '' },
  };
  const page = packPage([{ name: toName('a'), entry, nlink: 1 }]);
  const seen =
    '0161 81 01ed 0000000000000000 ffffffffffffffff' +
    ' 0000000000000001 0000000000000002 0000000000000003 00000102 ffffffff';
  const known = '000102030405 00000000 00000001 0000 03 616e6e 00';
  t.equal(page.toString('hex'), `00000001 00000035 ${seen} ${known}`.replaceAll(' ', ''));
});

t.test('one page with extended attributes in bytes, behind an owner and without', async t => {
  const stamp = { ctimeNs: 1n, ino: 2n, birthtimeNs: 3n };
  const bare: Entry = {
    ...{ kind: 'directory', id: 0x0102030405 as NodeId, mode: 0o755, size: 0, mtimeNs: -1n },
    ...{ stamp, version: 0, target: '', xattrs: '' },
  };
  const owner = { uid: 258, gid: 0xffff_ffff, user: 'ann', group: '' };
  const entry: Entry = { ...bare, owner, xattrs: '\x01a\x00\x02\x00\xff' };
  const entries = [
    { name: toName('a'), entry, nlink: 1 },
    { name: toName('b'), entry: bare, nlink: 1 },
  ];
  const page = packPage(entries);
  const fields = '01ed 0000000000000000 ffffffffffffffff';
  const times = '0000000000000001 0000000000000002 0000000000000003';
  const seen = `0161 c1 ${fields} ${times} 00000102 ffffffff 0162 41 ${fields} ${times}`;
  const known = '000102030405 00000000 00000001 0000';
  const knowns = `${known} 03 616e6e 00 0006 0161000200ff ${known} 0000`;
  const hex = `00000002 00000062 ${seen} ${knowns}`.replaceAll(' ', '');
  t.equal(page.toString('hex'), hex);
  t.same(unpackPage(page), entries);
  t.same(directoriesOf(page), entries);
});

t.test('a scan tells whether attributes are kept, not which', async t => {
  const random = seededRandom(3);
  const [known] = randomListing(random, 1);
  if (!known) throw new RangeError('no entry');
  const kept = { ...known, entry: { ...known.entry, xattrs: '\x01a\0\0' } };
  const seen = { ...seenOf(kept), keepsXattrs: true };
  t.strictSame([...diff([kept], [seen])], []);
  t.strictSame([...diff([known], [{ ...seenOf(known), keepsXattrs: false }])], []);
  t.equal([...diff([known], [seen])][0]?.kind, 'changed', 'from now on');
  t.equal([...diff([kept], [{ ...seen, keepsXattrs: false }])][0]?.kind, 'changed', 'no more');
});

t.test('another owner is a change, another name of the same one is none', async t => {
  const random = seededRandom(3);
  const owner = { uid: 1, gid: 2, user: 'u', group: 'g' };
  const [known] = randomListing(random, 1);
  if (!known) throw new RangeError('no entry');
  const { entry, nlink, name } = known;
  const owned = { name, nlink, entry: { ...entry, owner } };
  const seen = seenOf(owned);
  t.strictSame([...diff([owned], [{ ...seen, owner: { uid: 1, gid: 2 } }])], []);
  for (const other of [{ uid: 3, gid: 2 }, { uid: 1, gid: 3 }, undefined]) {
    const [found] = diff([owned], [{ ...seen, owner: other }]);
    t.equal(found?.kind, 'changed');
  }
});

t.test('a damaged page is refused, never misread or crashed on', async t => {
  const random = seededRandom(7);
  const page = packPage(randomListing(random, 20));
  for (let size = 0; size < page.length; size += 7) {
    t.throws(() => unpackPage(page.subarray(0, size)), { code: 'ERR_STATE' }, `cut at ${size}`);
  }
});

t.test('applying a diff to the known listing gives the seen one', async t => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = seededRandom(seed);
    const known = randomListing(random, 20);
    const kept = known.filter(() => random() < 0.7);
    const fresh = randomListing(random, 8);
    const next = new Map([...kept, ...fresh].map(one => [one.name, seenOf(one)]));
    for (const [name, one] of next)
      if (random() < 0.2) next.set(name, { ...one, mode: one.mode ^ 1 });
    const seen = [...next.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    const result = new Map(known.map(one => [one.name, seenOf(one)]));
    for (const difference of diff(known, seen)) {
      if (difference.kind === 'gone') result.delete(difference.known.name);
      else result.set(difference.seen.name, difference.seen);
    }
    const plain = (one: (typeof seen)[number]): object => ({ ...one, nlink: 0 });
    const sorted = [...result.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    t.strictSame(sorted.map(plain), seen.map(plain), `seed ${seed}`);
    t.strictSame([...diff(known, known.map(seenOf))], [], 'no difference to itself');
  }
});
