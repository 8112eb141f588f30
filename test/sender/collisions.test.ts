// Two files with one XXH3-128 are no mystery: anybody can make them for the plain hash. Here that
// hash is seeded, and never the last word.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import xxhash from 'xxhash-addon';
import { Receiver } from '../../src/receiver/receiver.ts';
import { pushOnce } from '../support/push-once.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { receiverDefaults } from '../support/receivers.ts';
import { ownShare } from '../support/seeds.ts';

/** Where XXH3's default secret begins: the keys of lane 0 in the stripes 0 and 1. */
const secret = Buffer.from('b8fe6c3923a44bbe7c01812cf721ad1c', 'hex');
const stripeSize = 64;

/**
 * Over 240 bytes XXH3 adds, lane by lane, each word and the product of the halves of word ^ key.
 * Two words whose top bits are flipped leave the sum as it was; and the sum of the products, if the
 * low halves under their keys are equal and the top bits under them are not.
 */
function collide(content: Buffer): [Buffer, Buffer] {
  const one = Buffer.from(content);
  secret.copy(one, 0, 0, 8); // 0 under its key...
  secret.copy(one, stripeSize, 8, 16);
  one.writeUInt32LE((one.readUInt32LE(0) ^ 0x12345678) >>> 0, 0); // ...and now alike below,
  one.writeUInt32LE((one.readUInt32LE(stripeSize) ^ 0x12345678) >>> 0, stripeSize);
  one[stripeSize + 7] = (one[stripeSize + 7] ?? 0) ^ 0x80; // and unlike on top.
  const other = Buffer.from(one);
  for (const at of [7, stripeSize + 7]) other[at] = (other[at] ?? 0) ^ 0x80;
  return [one, other];
}

for (const size of ownShare([300, 5000, 100_000])) {
  t.test(`files of ${size} bytes with equal plain XXH3-128 arrive as they are`, async t => {
    const [one, other] = collide(randomBytes(seededRandom(size), size));
    t.notOk(one.equals(other));
    t.strictSame(xxhash.XXHash128.hash(one), xxhash.XXHash128.hash(other), 'they do collide');
    const folder = t.testdir({ source: {}, target: {} });
    const source = join(folder, 'source');
    const root = join(folder, 'target');
    const receiver = await Receiver.open({ ...receiverDefaults, root, fsync: 'off' });
    t.teardown(() => receiver.close());
    const arrive = async (...files: [name: string, content: Buffer][]) => {
      for (const [name, content] of files) fs.writeFileSync(join(source, name), content);
      const { outcome } = await pushOnce({ folder, source, receiver });
      t.ok(outcome.inSync);
      for (const [name, content] of files) {
        t.ok(fs.readFileSync(join(root, name)).equals(content), name);
      }
    };
    await arrive(['first', one]);
    await arrive(['second', other]);
    // Over each other: what is there is compared with what was there before.
    await arrive(['first', other], ['second', one], ['third', other]);
  });
}
