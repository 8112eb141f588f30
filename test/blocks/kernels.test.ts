import t from 'tap';
import { allCuts, nextCut } from '../../src/blocks/chunker-plain.ts';
import { type BlockBounds, blockBounds } from '../../src/blocks/gear.ts';
import { Kernels } from '../../src/blocks/kernels.ts';
import { sampleContent } from '../support/content.ts';
import { naiveCuts } from '../support/naive.ts';
import { randomBytes, randomInteger, seededRandom } from '../support/random.ts';

const small: BlockBounds = { min: 64, target: 128, max: 512 };

/** All cuts of a file that lies at `start` in the kernels' data, and which blocks are zero. */
function wasmCuts(kernels: Kernels, content: Buffer, options: { start?: number; limit?: number }) {
  const start = options.start ?? 0;
  content.copy(kernels.data, start);
  const cuts: number[] = [];
  const zeroes: boolean[] = [];
  for (let at = start; at < start + content.length; ) {
    const count = kernels.findCuts(at, start + content.length, true, options.limit ?? 1024);
    for (let i = 0; i < count; i++) {
      at = kernels.cutAt(i);
      cuts.push(at - start);
      zeroes.push(kernels.isZeroAt(i));
    }
  }
  return { cuts, zeroes };
}

t.test('kernel = plain twin = definition, on seeded content of every kind', t => {
  const kernels = Kernels.load({ bounds: small });
  for (let seed = 1; seed <= 1500; seed++) {
    const random = seededRandom(seed);
    const content = sampleContent(random, randomInteger(random, 6000));
    const start = randomInteger(random, 100);
    // Whatever lies around the content must not matter.
    kernels.data.fill(seed & 1 ? 0 : 0xff, 0, 8000);
    const { cuts, zeroes } = wasmCuts(kernels, content, { start, limit: 1 + (seed % 7) });
    const plain = allCuts(content, small);
    const isZero = plain.map((cut, i) =>
      content.subarray(plain[i - 1] ?? 0, cut).every(byte => byte === 0),
    );
    const naive = seed <= 60 ? naiveCuts(content, small) : plain;
    if (String([cuts, zeroes, plain]) === String([plain, isZero, naive])) continue;
    t.same({ cuts, zeroes, plain }, { cuts: plain, zeroes: isZero, plain: naive }, `seed ${seed}`);
    break;
  }
  t.end();
});

t.test('kernel = plain twin with the bounds in use, at every size around them', t => {
  const kernels = Kernels.load();
  const random = seededRandom(7);
  const content = randomBytes(random, 400_000);
  t.same(wasmCuts(kernels, content, {}).cuts, allCuts(content, blockBounds));
  const { min, max } = blockBounds;
  const around = [1, 31, 32, 33, min - 33, min - 32, min - 1, min, min + 1, min + 31, min + 32];
  for (const size of [...around, min * 2, max - 1, max, max + 1, max + min, max * 2 + 1]) {
    for (const kind of [content, Buffer.alloc(size), Buffer.alloc(size, 0x61)]) {
      const part = kind.subarray(0, size);
      const { cuts } = wasmCuts(kernels, part, { start: 13 });
      t.same(cuts, allCuts(part, blockBounds), `${size} bytes`);
    }
  }
  t.end();
});

t.test('golden cuts: the bases of every replica depend on them', t => {
  const content = randomBytes(seededRandom(42), 150_000);
  t.same(
    allCuts(content, blockBounds),
    [10809, 37830, 49728, 66602, 77568, 92943, 120705, 141423, 150000],
  );
  t.end();
});

t.test('the boundary bytes of the rule: min itself can be a cut, max always is one', t => {
  const kernels = Kernels.load({ bounds: small });
  let atMin = 0;
  let atMax = 0;
  for (let seed = 1; seed <= 2000; seed++) {
    const content = randomBytes(seededRandom(seed), 600);
    const cut = nextCut(content, { start: 0, end: content.length }, small);
    if (cut === small.min) atMin++;
    if (cut === small.max) atMax++;
    if (cut < small.min || cut > small.max) t.fail(`cut at ${cut}, seed ${seed}`);
    if (wasmCuts(kernels, content, {}).cuts[0] !== cut) t.fail(`kernel differs, seed ${seed}`);
  }
  // 1 in 128 at min; (127/128)^448 = 3% reach max.
  t.ok(atMin > 4 && atMin < 40, `${atMin} of 2000 cut at min`);
  t.ok(atMax > 20 && atMax < 130, `${atMax} of 2000 cut at max`);
  t.end();
});

t.test('mean block is min + target', t => {
  const content = randomBytes(seededRandom(3), 8 * 1024 * 1024);
  const mean = content.length / allCuts(content, blockBounds).length;
  t.ok(mean > 15_000 && mean < 17_500, `${mean} bytes`);
  t.end();
});

t.test('cuts nothing that later bytes could change', t => {
  const kernels = Kernels.load({ bounds: small });
  const content = randomBytes(seededRandom(5), 5000);
  content.copy(kernels.data);
  t.equal(kernels.findCuts(0, small.max - 1, false, 1024), 0, 'less than max: no cut');
  const count = kernels.findCuts(0, 5000, false, 1024);
  const cuts = allCuts(content, small);
  t.ok(count > 5);
  for (let i = 0; i < count; i++) t.equal(kernels.cutAt(i), cuts[i]);
  t.ok(5000 - kernels.cutAt(count - 1) < small.max, 'and no less than it could');
  t.equal(kernels.findCuts(0, 0, true, 1), 0, 'an empty file has no block');
  t.end();
});

t.test('refuses a range outside its data', t => {
  const kernels = Kernels.load();
  t.throws(() => kernels.findCuts(0, kernels.data.length + 1, true, 1));
  t.throws(() => kernels.findCuts(-1, 10, true, 1));
  t.throws(() => kernels.findCuts(10, 9, true, 1));
  t.end();
});

t.test('two instances do not share memory', t => {
  const one = Kernels.load();
  const other = Kernels.load();
  one.data.fill(1);
  t.equal(other.data[0], 0);
  t.end();
});
