import t from 'tap';
import { ReplicaError } from '../../src/errors.ts';
import { xattrsSizeMax } from '../../src/limits.ts';
import { type Entry, nodeIdMax, noStamp, rootId } from '../../src/snapshot/entry.ts';
import { decodeEntry, encodedEntrySizeMax, encodeEntry } from '../../src/snapshot/entry-codec.ts';
import { packXattrs } from '../../src/snapshot/xattrs.ts';
import { name, nodeId, randomEntry, randomName } from '../support/messages.ts';
import { randomBytes, randomInteger, seededRandom } from '../support/random.ts';

const file: Entry = {
  kind: 'file',
  id: nodeId(0x010203040506),
  mode: 0o4755,
  size: 0x1f_ffff_ffff_fffe,
  mtimeNs: -2n,
  stamp: { ctimeNs: 3n, ino: 2n ** 64n - 1n, birthtimeNs: 4n },
  version: 5,
  target: '',
};
const folder: Entry = { ...file, kind: 'directory', size: 0, version: 0, stamp: noStamp };
const link: Entry = { ...file, kind: 'link', mode: 0o777, size: 2, version: 0, target: '..' };

t.test('has a fixed layout', async t => {
  const rows: [string, Entry, string][] = [
    [
      'a\xff',
      file,
      '01 09ed 010203040506 001ffffffffffffe fffffffffffffffe' +
        ' 0000000000000003 ffffffffffffffff 0000000000000004 00000005 02 61ff 0000',
    ],
    [
      'd',
      folder,
      '02 09ed 010203040506 0000000000000000 fffffffffffffffe' +
        ' 0000000000000000 0000000000000000 0000000000000000 00000000 01 64 0000',
    ],
    [
      'l',
      link,
      '03 01ff 010203040506 0000000000000002 fffffffffffffffe' +
        ' 0000000000000003 ffffffffffffffff 0000000000000004 00000000 01 6c 0002 2e2e',
    ],
  ];
  const owner = { uid: 258, gid: 0xffff_ffff, user: 'ann', group: '' };
  rows.push([
    'o',
    { ...folder, owner },
    '82 09ed 010203040506 0000000000000000 fffffffffffffffe' +
      ' 0000000000000000 0000000000000000 0000000000000000 00000000 01 6f 0000' +
      ' 00000102 ffffffff 03 616e6e 00',
  ]);
  const xattrs = '\x01a\x00\x02\x00\xff\x02bc\x00\x00';
  rows.push([
    'x',
    { ...folder, owner, xattrs },
    'c2 09ed 010203040506 0000000000000000 fffffffffffffffe' +
      ' 0000000000000000 0000000000000000 0000000000000000 00000000 01 78 0000' +
      ' 00000102 ffffffff 03 616e6e 00 000b 01 61 0002 00ff 02 6263 0000',
  ]);
  rows.push([
    'y',
    { ...file, xattrs: '' },
    '41 09ed 010203040506 001ffffffffffffe fffffffffffffffe' +
      ' 0000000000000003 ffffffffffffffff 0000000000000004 00000005 01 79 0000 0000',
  ]);
  for (const [text, entry, hex] of rows) {
    const bytes = encodeEntry(name(text), entry);
    t.equal(bytes.toString('hex'), hex.replaceAll(' ', ''));
    t.same(decodeEntry(bytes), { name: text, entry });
  }
});

t.test('the root has no name, and nothing else has none', async t => {
  const root: Entry = { ...folder, id: rootId };
  const bytes = encodeEntry('', root);
  t.same(decodeEntry(bytes, { root: true }), { name: '', entry: root });
  t.throws(() => decodeEntry(bytes), { code: 'ERR_PROTOCOL' });
  t.throws(() => encodeEntry('', folder), /has no name/);
  t.throws(() => encodeEntry(name('a'), root), /has the root id/);
});

t.test('decode(encode(entry)) = entry, byte for byte', async t => {
  for (let seed = 1; seed <= 2000; seed++) {
    const random = seededRandom(seed);
    const [text, entry] = [randomName(random), randomEntry(random)];
    const bytes = encodeEntry(text, entry);
    const decoded = decodeEntry(bytes);
    if (!encodeEntry(decoded.name, decoded.entry).equals(bytes)) t.fail(`bytes, seed ${seed}`);
    if (!t.same(decoded, { name: text, entry }, `seed ${seed}`)) break;
  }
});

t.test('the largest entry', async t => {
  const target = '\xfe'.repeat(4095);
  const account = '\xfc'.repeat(255);
  const owner = { uid: 0xffff_fffe, gid: 0, user: account, group: account };
  const entry = { ...link, id: nodeId(nodeIdMax), size: 4095, target, owner };
  const longest = name('\xfd'.repeat(255));
  const bytes = encodeEntry(longest, entry);
  t.same(decodeEntry(bytes).entry, entry);
  // A link has no extended attributes, and nothing else a target.
  const xattrs = packXattrs([{ name: 'n', value: Buffer.alloc(xattrsSizeMax - 4, 7) }]) ?? '';
  const attributed = { ...folder, owner, xattrs };
  const others = encodeEntry(longest, attributed);
  t.same(decodeEntry(others).entry, attributed);
  t.equal(bytes.length + 2 + xattrs.length, encodedEntrySizeMax);
  t.equal(others.length + target.length, encodedEntrySizeMax);
});

t.test('refuses what cannot be, by the name of the field', async t => {
  const good = encodeEntry(name('ab'), file);
  const goodLink = encodeEntry(name('ab'), link);
  const goodFolder = encodeEntry(name('ab'), folder);
  const owner = { uid: 1, gid: 2, user: 'u', group: 'g' };
  const owned = encodeEntry(name('ab'), { ...folder, owner });
  const attributed = encodeEntry(name('ab'), { ...folder, xattrs: '\x01a\0\x01A\x01b\0\0' });
  const rows: [string, Buffer, number, string, RegExp][] = [
    ['kind 0', good, 0, '00', /kind/],
    ['kind 4', good, 0, '04', /kind/],
    ['mode over 7777', good, 1, '1000', /mode/],
    ['id 0', good, 3, '000000000000', /id/],
    ['id 1 with a name', good, 3, '000000000001', /root/],
    ['id of 2^47', good, 3, '800000000000', /id/],
    ['size of 2^53', good, 9, '0020000000000000', /size/],
    ['file of version 0', good, 49, '00000000', /version/],
    ['no name', Buffer.concat([good.subarray(0, 53), Buffer.alloc(3)]), 53, '00', /name/],
    ['name with a slash', good, 54, '2f', /name/],
    ['name with a NUL', good, 54, '00', /name/],
    ['name ..', good, 54, '2e2e', /name/],
    ['file with a target', good, 56, '0001', /target/],
    ['target over 4095', goodLink, 56, '1000', /target/],
    ['link without target', goodLink.subarray(0, 58), 56, '0000', /size|target/],
    ['link with another size', goodLink, 9, '0000000000000003', /size/],
    ['link with a version', goodLink, 49, '00000001', /version/],
    ['link with a mode', goodLink, 1, '01a4', /mode/],
    ['NUL in a target', goodLink, 58, '00', /target/],
    ['directory with a size', goodFolder, 9, '0000000000000001', /size/],
    ['directory with a version', goodFolder, 49, '00000001', /version/],
    ['an owner of no kind', owned, 0, '80', /kind/],
    ['attributes of no kind', attributed, 0, '40', /kind/],
    ['a flag that means nothing', owned, 0, 'a2', /kind/],
    ['attributes that are not there', owned, 0, 'c2', /xattrs/],
    ['attributes of a link', Buffer.concat([goodLink, Buffer.alloc(2)]), 0, '43', /link has/],
    ['more attributes than may be', attributed, 58, '4001', /xattrs length/],
    ['an attribute without a name', attributed, 60, '000006', /usable name/],
    ['a NUL in the name of an attribute', attributed, 61, '00', /usable name/],
    ['the name of an attribute no UTF-8', attributed, 61, 'ff', /usable name/],
    ['a value that is cut short', attributed, 62, '0002', /cut short/],
    ['attributes out of order', attributed, 61, '62', /out of order/],
    ['an attribute twice', attributed, 66, '61', /out of order/],
    ['an owner that says nothing', owned.subarray(0, 68), 58, 'ffffffffffffffff0000', /owner/],
    ['the name of a user that is not kept', owned, 58, 'ffffffff', /owner/],
    ['the name of a group that is not kept', owned, 62, 'ffffffff', /owner/],
    ['a user with a colon', owned, 67, '3a', /owner/],
    ['a group with a line end', owned, 69, '0a', /owner/],
  ];
  for (const [what, bytes, at, hex, field] of rows) {
    const bad = Buffer.from(bytes);
    bad.write(hex, at, 'hex');
    t.throws(() => decodeEntry(bad), { code: 'ERR_PROTOCOL', message: field }, what);
  }
  t.throws(() => decodeEntry(Buffer.concat([good, Buffer.alloc(1)])), /too many/);
});

t.test('is cut short at every byte', async t => {
  const owner = { uid: 1, gid: 2, user: 'u', group: 'g' };
  const xattrs = '\x01a\0\x01A\x01b\0\0';
  const bytes = encodeEntry(name('ab'), { ...folder, owner, xattrs });
  for (let end = 0; end < bytes.length; end++) {
    t.throws(() => decodeEntry(bytes.subarray(0, end)), { code: 'ERR_PROTOCOL' }, `${end}`);
  }
});

t.test(
  'damaged bytes give an entry or ERR_PROTOCOL, and what they give encodes to them',
  async t => {
    for (let seed = 1; seed <= 20_000; seed++) {
      const random = seededRandom(seed);
      const bytes =
        random() < 0.2
          ? randomBytes(random, randomInteger(random, 120))
          : encodeEntry(randomName(random), randomEntry(random));
      bytes[randomInteger(random, bytes.length)] = randomInteger(random, 256);
      try {
        const { name: text, entry } = decodeEntry(bytes, { root: true });
        if (encodeEntry(text, entry).equals(bytes)) continue;
      } catch (error) {
        if (error instanceof ReplicaError && error.code === 'ERR_PROTOCOL') continue;
      }
      t.fail(`seed ${seed}`);
      break;
    }
    t.pass();
  },
);

t.test('what it would refuse to read it does not write', async t => {
  t.throws(() => encodeEntry(name('a'), { ...file, version: 0 }), /version/);
  t.throws(() => encodeEntry(name('a'), { ...file, mode: 0o100644 }), /mode/);
  t.throws(() => encodeEntry(name('a'), { ...file, size: 1.5 }), /size/);
  t.throws(() => encodeEntry(name('a'), { ...file, id: nodeId(0) }), /id/);
  t.throws(() => encodeEntry(name('a'), { ...link, target: '\u0100x' }), /target/);
  t.throws(() => encodeEntry(name('a'), { ...link, size: 0, target: '' }), /target/);
  const long = 'x'.repeat(4096);
  t.throws(() => encodeEntry(name('a'), { ...link, size: 4096, target: long }), /target/);
});
