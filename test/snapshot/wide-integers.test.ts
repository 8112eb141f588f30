import t from 'tap';
import { readInt64, readUint64, writeInt64 } from '../../src/snapshot/wide-integers.ts';

const integers = [0n, 1n, 0x0102030405060708n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n];

t.test('the same bytes as of Buffer, in both directions', async t => {
  for (const integer of integers) {
    const plain = Buffer.alloc(12);
    plain.writeBigUInt64BE(integer, 3);
    const bytes = Buffer.alloc(12);
    writeInt64(bytes, 3, integer);
    t.strictSame(bytes, plain, `${integer}`);
    t.equal(readUint64(bytes, 3), integer);
    t.equal(readInt64(bytes, 3), BigInt.asIntN(64, integer));
    writeInt64(bytes, 3, BigInt.asIntN(64, integer));
    t.strictSame(bytes, plain, `${integer} with a sign`);
  }
});

t.test('nothing is read or written beyond the end', async t => {
  const bytes = Buffer.alloc(8);
  for (const at of [-1, 1, 8]) {
    t.throws(() => writeInt64(bytes, at, 1n), RangeError);
    t.throws(() => readUint64(bytes, at), RangeError);
    t.throws(() => readInt64(bytes, at), RangeError);
  }
  t.strictSame(bytes, Buffer.alloc(8));
});
