import t from 'tap';
import { xattrsSizeMax } from '../../src/limits.ts';
import { isXattrName, packXattrs, unpackXattrs, xattrsFault } from '../../src/snapshot/xattrs.ts';
import { randomBytes, randomInteger, seededRandom } from '../support/random.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');

t.test('has a fixed layout, in byte order of the names', async t => {
  const packed = packXattrs([
    { name: 'b', value: bytes('') },
    { name: 'Ab', value: bytes('00ff0a') },
  ]);
  t.equal(Buffer.from(packed ?? '', 'latin1').toString('hex'), '024162000300ff0a01620000');
  t.equal(packXattrs([]), '');
});

t.test('unpack(pack(attributes)) = attributes, in any order', async t => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = seededRandom(seed);
    const named = new Map<string, Buffer>();
    for (let i = randomInteger(random, 6); i > 0; i--) {
      const name = `n${randomBytes(random, randomInteger(random, 20)).toString('hex')}`;
      named.set(name, randomBytes(random, randomInteger(random, 400)));
    }
    const all = [...named].map(([name, value]) => ({ name, value }));
    const packed = packXattrs(all) ?? '';
    const sorted = [...all].sort((a, b) => (a.name < b.name ? -1 : 1));
    t.equal(packXattrs(all.toReversed()), packed, `seed ${seed}`);
    t.equal(xattrsFault(packed), undefined, `seed ${seed}`);
    if (!t.same(unpackXattrs(packed), sorted, `seed ${seed}`)) break;
  }
});

t.test('a bound for all of an entry', async t => {
  const one = (size: number) => [{ name: 'n', value: Buffer.alloc(size) }];
  const most = packXattrs(one(xattrsSizeMax - 4));
  t.equal(most?.length, xattrsSizeMax);
  t.equal(xattrsFault(most ?? '?'), undefined);
  t.equal(packXattrs(one(xattrsSizeMax - 3)), undefined);
  t.match(xattrsFault(`${most}\x01o\0\0`), /too many/);
});

t.test('names: 1 to 250 bytes of UTF-8 without NUL', async t => {
  const longest = 'n'.repeat(250);
  for (const name of ['a', 'org.example.tag', 'caf\xc3\xa9', longest])
    t.ok(isXattrName(name), name);
  for (const name of ['', `${longest}n`, 'a\0b', '\xff', 'caf\xe9', 'caf\u0139']) {
    t.notOk(isXattrName(name), name);
  }
});

t.test('damaged bytes are a fault, or attributes that pack to them', async t => {
  const whole = packXattrs([
    { name: 'a', value: bytes('0102') },
    { name: 'bc', value: bytes('') },
    { name: 'd', value: bytes('03') },
  ]);
  for (let end = 1; end < (whole ?? '').length; end++) {
    const part = whole?.slice(0, end) ?? '';
    if (xattrsFault(part) === undefined) t.equal(packXattrs(unpackXattrs(part)), part);
    else t.match(xattrsFault(part), /cut short/, `${end}`);
  }
  let faults = 0;
  for (let seed = 1; seed <= 5000; seed++) {
    const random = seededRandom(seed);
    const damaged = Buffer.from(whole ?? '', 'latin1');
    damaged[randomInteger(random, damaged.length)] = randomInteger(random, 256);
    const text = damaged.toString('latin1');
    if (xattrsFault(text) !== undefined) faults++;
    else if (packXattrs(unpackXattrs(text)) !== text) t.fail(`seed ${seed}`);
  }
  t.ok(faults > 1000, `${faults}`);
});
