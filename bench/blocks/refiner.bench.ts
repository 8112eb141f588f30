// What does looking for grains add to cutting and hashing, for new, unchanged and edited content, and
// how many bytes does it save? 'without grains' sends new blocks whole; grains in plain TypeScript
// are the rival of the kernel.
import { CheckHash } from '../../src/blocks/check-hash.ts';
import { type Basis, ContentMatcher, type MatchedPiece } from '../../src/blocks/content-matcher.ts';
import { GrainCache } from '../../src/blocks/grain-cache.ts';
import { GrainKernels, grainFactor, grainSizeOf } from '../../src/blocks/grain-kernels.ts';
import { grainsOf } from '../../src/blocks/grains-plain.ts';
import { Kernels } from '../../src/blocks/kernels.ts';
import { type RefinedPiece, Refiner } from '../../src/blocks/refiner.ts';
import { noise } from '../../test/support/content.ts';
import { measure } from '../support/measure.ts';

const mebibyte = 1024 * 1024;
const factor = grainFactor(noise(3, 32));
const kernels = new GrainKernels(factor);
const matcher = new ContentMatcher({
  kernels: Kernels.load(),
  secret: noise(1, 32),
  checkHash: new CheckHash(noise(2, 32)),
});
const cacheSize = 64 * mebibyte;

interface Read extends Basis {
  /** Of content, as it would be sent: patches where there are some. */
  readonly bytesNew: number;
}

/** As a reader does it, with a copy in place of read(2). Without a cache no grains are looked for. */
function read(content: Buffer, basis?: Basis, cache?: GrainCache): Read {
  const refiner = cache && new Refiner(kernels, cache);
  let bytesNew = 0;
  const count = (pieces: readonly MatchedPiece[]): void => {
    for (const piece of refiner?.refine(pieces) ?? pieces) bytesNew += sizeOf(piece);
  };
  matcher.begin(basis);
  refiner?.begin(basis, content.length);
  for (let at = 0; at < content.length; ) {
    const byteCount = content.copy(matcher.buffer(), 0, at);
    count(matcher.advance(byteCount));
    at += byteCount;
  }
  const { pieces, list, checks } = matcher.finish();
  count(pieces);
  for (const piece of refiner?.finish() ?? []) bytesNew += sizeOf(piece);
  return { list, checks, bytesNew };
}

function sizeOf(piece: RefinedPiece): number {
  if (piece.kind !== 'new') return 0;
  return piece.patch?.length ?? piece.bytes.length;
}

function edited(content: Buffer, step: number): Buffer {
  const copy = Buffer.from(content);
  for (let at = step / 2; at < copy.length; at += step) copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

for (const size of [8 * mebibyte, 32 * mebibyte]) {
  const content = noise(4, size);
  const whole = { bytes: size, runs: 7 };
  const grain = grainSizeOf(size);
  const middle = size / 2;
  const versions: Readonly<Record<string, Buffer>> = {
    unchanged: content,
    'one byte changed in each MB': edited(content, 1_000_000),
    'one byte changed in each 20 kB': edited(content, 20_000),
    'one MiB of other noise': Buffer.concat([
      ...[content.subarray(0, middle), noise(5, mebibyte), content.subarray(middle + mebibyte)],
    ]),
  };
  const name = (text: string) => ({
    name: `refine: ${text}`,
    content: `${size / mebibyte} MiB`,
    grain,
  });
  measure(name('new file, without grains'), whole, () => read(content));
  measure(name('new file'), whole, () => read(content, undefined, new GrainCache(cacheSize)));
  for (const [text, next] of Object.entries(versions)) {
    const cache = new GrainCache(cacheSize);
    const basis = read(content, undefined, cache);
    const plain = read(next, basis).bytesNew;
    const { bytesNew } = read(next, basis, cache);
    if (bytesNew > plain) throw new Error('grains cost bytes');
    measure({ ...name(`${text}, without grains`), bytesNew: plain }, whole, () =>
      read(next, basis),
    );
    // Each time as if for the first time: the cache knows the old version only.
    let at = 0;
    const caches = Array.from({ length: whole.runs + 2 }, () => {
      const fresh = new GrainCache(cacheSize);
      read(content, undefined, fresh);
      return fresh;
    });
    measure({ ...name(text), bytesNew }, whole, () => read(next, basis, caches[at++]));
  }
}

const block = noise(6, 16_384);
block.copy(kernels.data);
const blocks = { bytes: 64 * block.length, runs: 7 };
for (const grain of [64, 256]) {
  const digest = kernels.digest(0, block.length, grain);
  if (!Buffer.from(digest).equals(grainsOf(block, grain, factor))) throw new Error('grains differ');
  measure({ name: 'grains of a block', content: '64 blocks of 16 KiB', grain }, blocks, () => {
    for (let i = 0; i < 64; i++) kernels.digest(0, block.length, grain);
  });
}
measure(
  { name: 'grains of a block: plain', content: 'a block of 16 KiB', grain: 64 },
  { bytes: block.length, runs: 5 },
  () => grainsOf(block, 64, factor),
);
