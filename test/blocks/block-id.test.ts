import { createHash } from 'node:crypto';
import t from 'tap';
import { blockId, entryDigest, zeroBlockId } from '../../src/blocks/block-id.ts';
import { noise } from '../support/content.ts';
import { naiveBlockId } from '../support/naive.ts';

const secret = noise(1, 32);

t.test('golden: what every index and snapshot holds', t => {
  const plain = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
  t.equal(
    blockId(plain, Buffer.from('replica')).toString('hex'),
    'e4927f410642b1c9a5e183baf00e9ec5',
  );
  t.equal(blockId(plain, Buffer.alloc(0)).toString('hex'), '630dcd2966c4336691125448bbb25b4f');
  t.equal(zeroBlockId(plain, 65536).toString('hex'), 'b4073dbf7ea2709a676dee67e5e5f708');
  t.equal(
    entryDigest(plain, 2 ** 40 + 5, Buffer.from('entry bytes')).toString('hex'),
    'e73b6a18fb9b7aeedb7d5dd2dfb0cf8c',
  );
  t.end();
});

t.test('is the first half of SHA-256(secret || bytes), at every size', t => {
  const bytes = noise(2, 70_000);
  for (const size of [0, 1, 31, 32, 33, 55, 56, 64, 1000, 8192, 65535, 65536, 65537, 70_000]) {
    const part = bytes.subarray(70_000 - size);
    t.ok(blockId(secret, part).equals(naiveBlockId(secret, part)), `${size} bytes`);
  }
  t.end();
});

t.test('depends on the secret, and a wrong one is a bug', t => {
  const bytes = Buffer.from('x');
  t.notOk(blockId(secret, bytes).equals(blockId(noise(3, 32), bytes)));
  t.throws(() => blockId(noise(3, 31), bytes));
  t.throws(() => entryDigest(noise(3, 33), 1, bytes));
  t.end();
});

t.test('results stay as they are when more is hashed', t => {
  const ids = Array.from({ length: 100 }, (_, i) => blockId(secret, noise(i, 100)));
  ids.forEach((id, i) => {
    if (!id.equals(naiveBlockId(secret, noise(i, 100)))) t.fail(`id ${i}`);
    if (id.length !== 16) t.fail(`length ${id.length}`);
  });
  t.end();
});

t.test('the id of zeroes is the id of zero bytes, for every size and secret', t => {
  const other = noise(4, 32);
  for (let size = 1; size <= 65536; size += size < 600 ? 1 : 4999) {
    const zeroes = Buffer.alloc(size);
    if (!zeroBlockId(secret, size).equals(naiveBlockId(secret, zeroes))) t.fail(`${size}`);
    if (!zeroBlockId(other, size).equals(naiveBlockId(other, zeroes))) t.fail(`${size}`);
  }
  t.equal(zeroBlockId(secret, 65536), zeroBlockId(secret, 65536), 'remembered');
  t.throws(() => zeroBlockId(secret, 0));
  t.throws(() => zeroBlockId(secret, 65537));
  t.end();
});

t.test('an entry digest covers secret, parent and every byte', t => {
  const entry = noise(5, 300);
  const naive = (parent: bigint) => {
    const id = Buffer.alloc(8);
    id.writeBigUInt64BE(parent);
    const hash = createHash('sha256').update(secret).update('entry').update(id).update(entry);
    return hash.digest().subarray(0, 16);
  };
  for (const parent of [1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 47 - 1]) {
    t.ok(entryDigest(secret, parent, entry).equals(naive(BigInt(parent))), `${parent}`);
  }
  t.end();
});
