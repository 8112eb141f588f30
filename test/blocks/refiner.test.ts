import t from 'tap';
import { blockId } from '../../src/blocks/block-id.ts';
import { GrainCache } from '../../src/blocks/grain-cache.ts';
import { GrainKernels, grainSizeOf } from '../../src/blocks/grain-kernels.ts';
import { grainsOf } from '../../src/blocks/grains-plain.ts';
import { edit, noise, sampleContent } from '../support/content.ts';
import { randomInteger, seededRandom } from '../support/random.ts';
import { cost, factor, made, read, secret, usual } from '../support/refined.ts';

t.test('kernel and oracle have the same grains', async t => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = seededRandom(seed);
    const block = sampleContent(random, 1 + randomInteger(random, 3000));
    usual.data.set(block, 7);
    for (const size of [64, 256]) {
      const grains = usual.digest(7, 7 + block.length, size);
      t.same(grains, grainsOf(block, size, factor), `seed ${seed}`);
    }
  }
});

t.test(
  'also of the largest bytes, and under factors whose powers carry in every digit',
  async t => {
    const block = Buffer.alloc(256 + 64 + 16 + 1, 0xff);
    for (const hex of [
      '0000000000000001',
      '0000000000007fff',
      '0000000000008001',
      '7fff7fff7fff7fff',
      '8000800080008001',
      'ffffffffffffffff',
    ]) {
      const one = BigInt(`0x${hex}`);
      const kernels = new GrainKernels(one);
      kernels.data.set(block, 0);
      for (const size of [64, 256]) {
        t.same(kernels.digest(0, block.length, size), grainsOf(block, size, one), hex);
      }
    }
  },
);

t.test('patches make the new version of the old one, whatever was edited', async t => {
  let refined = 0;
  for (let seed = 1; seed <= 1500; seed++) {
    const random = seededRandom(seed);
    const size = 1 + randomInteger(random, seed % 10 === 0 ? 100_000 : 3000);
    const old = sampleContent(random, size);
    let content = old;
    for (let i = 0; i <= randomInteger(random, 4); i++) content = edit(random, content);
    const cache = new GrainCache(0);
    const basis = read(old, { cache });
    const { pieces } = read(content, { cache, basis });
    if (pieces.some(piece => piece.kind === 'new' && piece.patch)) refined++;
    if (made(old, basis, pieces).equals(content)) continue;
    t.fail(`seed ${seed}`);
    break;
  }
  t.ok(refined > 100, `${refined} with patches`);
});

t.test('an edit costs about a grain', async t => {
  const old = noise(5, 200_000);
  const cache = new GrainCache(0);
  const basis = read(old, { cache });
  const byte = Buffer.from(old);
  byte[100_000] = (byte[100_000] ?? 0) ^ 1;
  const inserted = Buffer.concat([old.subarray(0, 100_000), noise(6, 100), old.subarray(100_000)]);
  const moved = Buffer.concat([old.subarray(150_000), old.subarray(0, 150_000)]);
  const rows: [string, Buffer, number][] = [
    ['a byte', byte, 90],
    ['100 bytes more', inserted, 200],
    ['200 bytes less', Buffer.concat([old.subarray(0, 100_000), old.subarray(100_200)]), 160],
    ['all of it moved', moved, 400],
  ];
  for (const [what, content, max] of rows) {
    const { pieces } = read(content, { cache, basis });
    t.ok(cost(pieces) <= max, `${what}: ${cost(pieces)} bytes`);
    t.ok(made(old, basis, pieces).equals(content), what);
  }
});

t.test('a large version has large grains, and is looked through where the gap is', async t => {
  const old = noise(7, 17 * 1024 * 1024);
  t.equal(grainSizeOf(old.length), 256);
  const cache = new GrainCache(4 * 1024 * 1024);
  const basis = read(old, { cache });
  const content = Buffer.from(old);
  for (let at = 5000; at < content.length; at += 1_000_000) content.write('edit', at);
  const { pieces } = read(content, { cache, basis });
  t.ok(cost(pieces) < 17 * 300, `${cost(pieces)} bytes`);
  t.ok(made(old, basis, pieces).equals(content));
});

t.test('repetitive content takes no longer than other', async t => {
  const old = Buffer.alloc(2_000_000, 'ab');
  const cache = new GrainCache(4 * 1024 * 1024);
  const basis = read(old, { cache });
  const content = Buffer.concat([Buffer.from('x'), old, Buffer.from('y')]);
  const { pieces } = read(content, { cache, basis });
  t.ok(made(old, basis, pieces).equals(content));
});

t.test('without grains blocks are whole', async t => {
  const old = noise(8, 50_000);
  const basis = read(old, { cache: new GrainCache(0) });
  const content = Buffer.concat([old.subarray(0, 100), old]);
  const { pieces } = read(content, { cache: new GrainCache(0), basis });
  t.notOk(pieces.some(piece => piece.kind === 'new' && piece.patch));
});

t.test('the cache forgets the oldest and stays within its bound', async t => {
  const cache = new GrainCache(2 * 1024 * 1024);
  const idOf = (i: number) => Buffer.alloc(16, String(i).padStart(16));
  const hashes = (i: number) => Buffer.alloc(4096, i & 0xff);
  for (let i = 0; i < 2000; i++) cache.put(idOf(i), { size: 64, hashes: hashes(i) });
  const kept = Array.from({ length: 2000 }, (_, i) => i).filter(i => cache.has(idOf(i)));
  t.ok(kept.length >= 240 && kept.length <= 511, `${kept.length}`);
  t.equal(kept.at(0), 2000 - kept.length, 'the newest');
  const wrong = kept.filter(i => !cache.get(idOf(i))?.hashes.equals(hashes(i)));
  t.strictSame(wrong, []);
  for (let i = 0; i < 40_000; i++)
    cache.put(idOf(i), { size: 64, hashes: hashes(i).subarray(0, 4) });
  const tiny = Array.from({ length: 40_000 }, (_, i) => i).filter(i => cache.has(idOf(i)));
  t.ok(tiny.length < (2 * 1024 * 1024) / 128, `${tiny.length}: the index counts`);
});

t.test('grains come back in their order from what was packed', async t => {
  const cache = new GrainCache(2 * 1024 * 1024);
  const idOf = (i: number) => Buffer.alloc(16, String(i).padStart(16));
  for (let i = 0; i < 700; i++) cache.put(idOf(i), { size: 64, hashes: noise(i, 4 * (i % 900)) });
  const again = new GrainCache(2 * 1024 * 1024);
  for (const part of cache.pack()) again.restore(part);
  const wrong = Array.from({ length: 700 }, (_, i) => i).filter(i => {
    const [one, other] = [cache.get(idOf(i)), again.get(idOf(i))];
    return one && !other?.hashes.equals(one.hashes);
  });
  t.strictSame(wrong, []);
  t.equal(again.byteCount, cache.byteCount);
  const torn = new GrainCache(0);
  for (const part of cache.pack()) torn.restore(part.subarray(0, part.length - 1));
  torn.restore(Buffer.alloc(1000));
  t.ok(torn.byteCount > 0 && torn.byteCount < cache.byteCount);
});

t.test('content that is all new is not looked through to its end', async t => {
  const old = noise(12, 6_000_000);
  const cache = new GrainCache(1024 * 1024);
  const basis = read(old, { cache });
  // The end of the old version, in the middle of blocks: found in a small file.
  const tail = old.subarray(3_000_100, 3_004_000);
  const short = Buffer.concat([noise(13, 10_000), tail]);
  t.ok(read(short, { cache, basis }).pieces.some(piece => piece.kind === 'new' && piece.patch));
  const long = Buffer.concat([noise(14, 5_000_000), tail]);
  const { pieces } = read(long, { cache, basis });
  t.notOk(pieces.some(piece => piece.kind === 'new' && piece.patch));
});

t.test('grains that are the same by chance give another block, never a longer one', async t => {
  // With this factor the upper half of every hash is 0.
  const blind = new GrainKernels(1n);
  const old = noise(10, 100_000);
  const cache = new GrainCache(0);
  const basis = read(old, { cache, kernels: blind });
  const { pieces } = read(noise(11, 100_000), { cache, kernels: blind, basis });
  let refused = 0;
  for (const piece of pieces) {
    if (piece.kind !== 'new' || piece.patch === undefined) continue;
    const block = made(old, basis, [piece]);
    t.equal(block.length, piece.bytes.length);
    if (!blockId(secret, block).equals(piece.id)) refused++;
  }
  t.ok(refused > 0, `${refused} blocks`);
});
