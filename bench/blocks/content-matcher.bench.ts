// What does it cost to turn a file into pieces: by stage, for new, unchanged and edited content,
// and for small files (--files 100000)? 'naive' is plain cutting with one createHash a block.
import { createHash } from 'node:crypto';
import { parseArgs } from 'node:util';
import { blockId } from '../../src/blocks/block-id.ts';
import { CheckHash } from '../../src/blocks/check-hash.ts';
import { allCuts } from '../../src/blocks/chunker-plain.ts';
import { type Basis, ContentMatcher } from '../../src/blocks/content-matcher.ts';
import { blockBounds } from '../../src/blocks/gear.ts';
import { Kernels } from '../../src/blocks/kernels.ts';
import { noise } from '../../test/support/content.ts';
import { naiveList, split } from '../../test/support/naive.ts';
import { measure } from '../support/measure.ts';

const { values } = parseArgs({ options: { files: { type: 'string', default: '100000' } } });
const secret = noise(1, 32);
const checkHash = new CheckHash(noise(2, 32));
const matcher = new ContentMatcher({ kernels: Kernels.load(), secret, checkHash });

/** As a reader does it, with a copy in place of read(2). */
function match(content: Buffer, basis?: Basis) {
  matcher.begin(basis);
  for (let at = 0; at < content.length; ) {
    const byteCount = content.copy(matcher.buffer(), 0, at);
    matcher.advance(byteCount);
    at += byteCount;
  }
  return matcher.finish();
}

function naive(content: Buffer): Buffer {
  return naiveList(secret, split(content, allCuts(content, blockBounds)));
}

const size = 32 * 1024 * 1024;
const content = noise(3, size);
const basis = match(content);
if (!naive(content).equals(basis.list.packed)) throw new Error('fast and naive differ');
const middle = size / 2;
const inserted = Buffer.concat([
  content.subarray(0, middle),
  noise(4, 100),
  content.subarray(middle),
]);
const scattered = Buffer.from(content);
for (let at = 500_000; at < size; at += 1_000_000) scattered[at] = (scattered[at] ?? 0) ^ 1;

const whole = { bytes: size, runs: 9 };
const copyTarget = Buffer.alloc(1024 * 1024);
measure({ name: 'match: copying into the buffer alone' }, whole, () => {
  for (let at = 0; at < size; at += copyTarget.length) content.copy(copyTarget, 0, at);
});
measure({ name: 'match: new file' }, whole, () => match(content));
measure({ name: 'match: new file, naive' }, whole, () => naive(content));
measure({ name: 'match: unchanged' }, whole, () => match(content, basis));
measure({ name: 'match: 100 bytes inserted in the middle' }, whole, () => match(inserted, basis));
measure({ name: 'match: one byte changed in each MB' }, whole, () => match(scattered, basis));
const zeroes = Buffer.alloc(size);
measure({ name: 'match: zeroes' }, whole, () => match(zeroes));

for (const blockSize of [1024, 4096, 16_384, 65_536]) {
  const blocks = split(content, allMultiples(blockSize));
  const fields = { blockSize, blocks: blocks.length };
  measure({ name: 'block id', ...fields }, whole, () => {
    for (const block of blocks) blockId(secret, block);
  });
  measure({ name: 'block id: createHash, two updates', ...fields }, whole, () => {
    for (const block of blocks) createHash('sha256').update(secret).update(block).digest();
  });
  const primed = createHash('sha256').update(secret);
  measure({ name: 'block id: copy of a primed hash', ...fields }, whole, () => {
    for (const block of blocks) primed.copy().update(block).digest();
  });
  measure({ name: 'check hash', ...fields }, whole, () => {
    for (const block of blocks) checkHash.digest(block);
  });
}

function allMultiples(step: number): number[] {
  return Array.from({ length: size / step }, (_, i) => (i + 1) * step);
}

// 100,000 files of 1 to 8 KiB are 450 MB in all.
const files = Array.from({ length: Number(values.files) }, (_, i) => {
  const fileSize = 1024 + ((i * 7919) % 7169);
  const at = (i * 104_729) % (size - fileSize);
  return content.subarray(at, at + fileSize);
});
const small = { bytes: files.reduce((sum, file) => sum + file.length, 0), runs: 3 };
measure({ name: `match: ${values.files} new files of 1 to 8 KiB` }, small, () => {
  for (const file of files) match(file);
});
measure({ name: 'match: the same, naive' }, small, () => {
  for (const file of files) naive(file);
});
const bases = files.map(file => match(file));
measure({ name: `match: ${values.files} unchanged files of 1 to 8 KiB` }, small, () => {
  files.forEach((file, i) => {
    match(file, bases[i]);
  });
});
