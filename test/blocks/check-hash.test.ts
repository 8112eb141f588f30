import t from 'tap';
import xxhash from 'xxhash-addon';
import { CheckHash } from '../../src/blocks/check-hash.ts';
import { FrameChecksum } from '../../src/wire/frame.ts';
import { noise } from '../support/content.ts';

t.test('golden: checks are kept in the snapshot', t => {
  const hash = new CheckHash(Buffer.from(Array.from({ length: 32 }, (_, i) => i)));
  t.equal(hash.digest(Buffer.from('replica')).toString('hex'), '1237c892d668e72ef893a5423ae30fab');
  t.equal(hash.digest(noise(1, 20_000)).toString('hex'), '4c954ee077b29bb62ff21aae017230a7');
  t.end();
});

t.test('one hasher, reused, gives what a new one gives', t => {
  const hash = new CheckHash(noise(1, 32));
  for (let size = 0; size < 3000; size += 7) {
    const bytes = noise(size, size);
    if (!hash.digest(bytes).equals(new CheckHash(noise(1, 32)).digest(bytes))) t.fail(`${size}`);
  }
  t.end();
});

t.test('depends on the secret: not the static hash, which ignores it', t => {
  const bytes = noise(2, 5000);
  const digest = new CheckHash(noise(1, 32)).digest(bytes);
  t.equal(digest.length, 16);
  t.notOk(digest.equals(new CheckHash(noise(3, 32)).digest(bytes)));
  t.notOk(digest.equals(xxhash.XXHash128.hash(bytes)));
  t.end();
});

t.test('a single flipped bit anywhere in a block changes the check', t => {
  const hash = new CheckHash(noise(1, 32));
  const block = noise(4, 16_384);
  const before = hash.digest(block);
  for (let bit = 0; bit < block.length * 8; bit += 61) {
    const byte = bit >> 3;
    block[byte] = (block[byte] ?? 0) ^ (1 << (bit & 7));
    if (hash.digest(block).equals(before)) t.fail(`bit ${bit}`);
    block[byte] = (block[byte] ?? 0) ^ (1 << (bit & 7));
  }
  t.ok(hash.digest(block).equals(before));
  t.end();
});

t.test('what would crash the process inside the addon throws instead', t => {
  t.throws(() => new CheckHash(noise(1, 31)));
  t.throws(() => new CheckHash(noise(1, 192)));
  const hash = new CheckHash(noise(1, 32));
  const checksum = new FrameChecksum();
  for (const wrong of [undefined, null, 'abc', 5, {}, [1], new ArrayBuffer(8)]) {
    // A caller that the compiler did not check.
    t.throws(() => new CheckHash(wrong as Buffer));
    t.throws(() => hash.digest(wrong as Buffer));
    t.throws(() => checksum.digest(wrong as Buffer));
  }
  t.end();
});

t.test('the frame checksum is XXH3-64, however the frame was split', t => {
  const checksum = new FrameChecksum();
  t.equal(checksum.digest().toString('hex'), '2d06800538d394c2', 'the published value');
  const frame = noise(1, 1000);
  const whole = checksum.digest(frame);
  for (let at = 0; at <= 1000; at += 13) {
    const parts = [frame.subarray(0, at), frame.subarray(at)];
    if (!checksum.digest(...parts).equals(whole)) t.fail(`split at ${at}`);
  }
  t.equal(whole.length, 8);
  t.end();
});
