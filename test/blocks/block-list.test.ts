import t from 'tap';
import { BlockList, BlockListBuilder } from '../../src/blocks/block-list.ts';
import { ReplicaError } from '../../src/errors.ts';
import { noise } from '../support/content.ts';

function listOf(sizes: readonly number[], ids: (i: number) => Buffer): BlockList {
  const builder = new BlockListBuilder();
  sizes.forEach((size, i) => {
    builder.add(ids(i), size);
  });
  return builder.build();
}

t.test('golden layout: u16 BE (size - 1), then the id', t => {
  const list = listOf([1, 65536, 8192], i => Buffer.alloc(16, 0xa0 + i));
  t.equal(
    list.packed.toString('hex'),
    `0000${'a0'.repeat(16)}ffff${'a1'.repeat(16)}1fff${'a2'.repeat(16)}`,
  );
  t.end();
});

t.test('gives back what was put in', t => {
  const sizes = Array.from({ length: 1000 }, (_, i) => 1 + ((i * 7919) % 65536));
  const list = BlockList.from(listOf(sizes, i => noise(i, 16)).packed);
  t.equal(list.count, 1000);
  let offset = 0;
  sizes.forEach((size, i) => {
    if (list.sizeAt(i) !== size) t.fail(`size of ${i}`);
    if (list.offsetAt(i) !== offset) t.fail(`offset of ${i}`);
    if (!list.idAt(i).equals(noise(i, 16))) t.fail(`id of ${i}`);
    if (!list.isAt(i, noise(i, 16)) || list.isAt(i, noise(i + 1, 16))) t.fail(`isAt ${i}`);
    offset += size;
  });
  t.equal(list.byteCount, offset);
  t.equal(list.offsetAt(1000), offset);
  t.end();
});

t.test('offsets go beyond 2^32', t => {
  const list = listOf(
    Array.from({ length: 70_000 }, () => 65536),
    () => Buffer.alloc(16),
  );
  t.equal(list.byteCount, 70_000 * 65536);
  t.end();
});

t.test('the empty list', t => {
  t.equal(BlockList.empty.count, 0);
  t.equal(BlockList.empty.byteCount, 0);
  t.equal(BlockList.empty.indexOf(Buffer.alloc(16)), -1);
  t.equal(new BlockListBuilder().build(), BlockList.empty);
  t.equal(BlockList.from(Buffer.alloc(0)).count, 0);
  t.end();
});

t.test('a length that no list has is ERR_STATE', t => {
  for (const length of [1, 17, 19, 35]) {
    t.throws(() => BlockList.from(Buffer.alloc(length)), { code: 'ERR_STATE' });
  }
  t.throws(() => BlockList.from(Buffer.alloc(1)), ReplicaError);
  t.end();
});

t.test('indices, sizes and ids out of bounds are bugs', t => {
  const list = listOf([5], () => Buffer.alloc(16));
  t.throws(() => list.sizeAt(1));
  t.throws(() => list.sizeAt(-1));
  t.throws(() => list.idAt(1));
  t.throws(() => list.offsetAt(2));
  const builder = new BlockListBuilder();
  t.throws(() => builder.add(Buffer.alloc(16), 0));
  t.throws(() => builder.add(Buffer.alloc(16), 65537));
  t.throws(() => builder.add(Buffer.alloc(15), 1));
  t.throws(() => builder.addRun(list, { from: 0, count: 2 }));
  t.throws(() => builder.addRun(list, { from: -1, count: 1 }));
  t.end();
});

t.test('indexOf finds the first at or after near, else one before, else -1', t => {
  const list = listOf(
    Array.from({ length: 300 }, () => 1),
    i => noise(i % 100, 16),
  );
  for (let i = 0; i < 100; i++) {
    if (list.indexOf(noise(i, 16)) !== i) t.fail(`from the start: ${i}`);
    if (list.indexOf(noise(i, 16), i + 1) !== i + 100) t.fail(`after ${i}`);
    if (list.indexOf(noise(i, 16), i + 200) !== i + 200) t.fail(`exactly ${i + 200}`);
    const before = list.indexOf(noise(i, 16), i + 201);
    if (before < 0 || before % 100 !== i) t.fail(`before ${i + 201}: ${before}`);
  }
  t.equal(list.indexOf(noise(100, 16)), -1);
  t.end();
});

t.test('ids made to begin alike do not cost quadratic time', t => {
  const count = 100_000;
  const id = (i: number) => {
    const bytes = Buffer.alloc(16);
    bytes.writeUInt32BE(i, 12);
    return bytes;
  };
  const list = listOf(
    Array.from({ length: count }, () => 1),
    id,
  );
  for (let i = 0; i < count; i++) list.indexOf(id(i));
  t.equal(list.indexOf(id(0)), 0);
  t.end();
});

t.test('a builder starts anew after build and clear, and grows as needed', t => {
  const builder = new BlockListBuilder();
  for (let i = 0; i < 5000; i++) builder.add(noise(i, 16), 1 + i);
  const large = builder.build();
  builder.add(Buffer.alloc(16), 9);
  builder.clear();
  builder.addRun(large, { from: 10, count: 4000 });
  builder.addRun(large, { from: 0, count: 0 });
  builder.add(noise(1, 16), 3);
  const next = builder.build();
  t.equal(large.count, 5000);
  t.equal(next.count, 4001);
  t.ok(next.packed.subarray(0, 4000 * 18).equals(large.packed.subarray(180, 4010 * 18)));
  t.equal(next.sizeAt(4000), 3);
  t.end();
});
