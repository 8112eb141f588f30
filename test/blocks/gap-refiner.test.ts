// What the sender forgot it asks for: whatever the answers are, patches make what they should, or
// another block, which the receiver hashes and refuses.
import t from 'tap';
import { blockId } from '../../src/blocks/block-id.ts';
import { findRuns } from '../../src/blocks/gap-matcher.ts';
import {
  type GrainQuestion,
  gapsOf,
  type PieceGap,
  refineGaps,
  strayGapsOf,
} from '../../src/blocks/gap-refiner.ts';
import { GrainCache } from '../../src/blocks/grain-cache.ts';
import { GrainKernels } from '../../src/blocks/grain-kernels.ts';
import { grainsOf } from '../../src/blocks/grains-plain.ts';
import type { RefinedPiece } from '../../src/blocks/refiner.ts';
import { edit, noise, sampleContent } from '../support/content.ts';
import { randomBytes, randomInteger, seededRandom } from '../support/random.ts';
import { cost, factor, made, read, secret, type Version } from '../support/refined.ts';

type Question = GrainQuestion<PieceGap<RefinedPiece>>;
const matching = new GrainKernels(factor);
const asked = new GrainKernels(factor);

interface Refined {
  readonly pieces: readonly RefinedPiece[];
  /** Grains, and rounds of questions. */
  readonly grains: number;
  readonly rounds: number;
}

/** What the sender does with `version` when the receiver, which has `old`, answers by `answer`. */
async function refined(
  { pieces }: Version,
  answer: (question: Question) => Buffer,
  options: {
    readonly kernels?: GrainKernels;
    readonly gaps?: readonly PieceGap<RefinedPiece>[];
  } = {},
): Promise<Refined> {
  const { kernels = matching, gaps = gapsOf(pieces) } = options;
  let grains = 0;
  let rounds = 0;
  const patches = await refineGaps(gaps, {
    ask: async questions => {
      rounds++;
      const hashes = questions.map(answer);
      grains += hashes.reduce((sum, one) => sum + one.length / 4, 0);
      return hashes;
    },
    match: async jobs => jobs.map(job => findRuns(kernels, job)),
    stillWanted: async all => all,
  });
  const found = new Map<RefinedPiece, Buffer>();
  for (const [gap, all] of patches) {
    for (const [i, piece] of gap.pieces.entries()) {
      const patch = all[i];
      if (patch !== undefined) found.set(piece, patch);
    }
  }
  const with_ = pieces.map(piece => {
    const patch = found.get(piece);
    return patch === undefined ? piece : { ...piece, patch };
  });
  return { pieces: with_ as readonly RefinedPiece[], grains, rounds };
}

/** A receiver that has `old` and says so. */
function honest(old: Buffer, kernels = asked): (question: Question) => Buffer {
  return ({ range, grainSize }) => {
    const bytes = old.subarray(range.from, range.from + range.size);
    const parts: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += 32_768) {
      const part = bytes.subarray(at, at + 32_768);
      kernels.data.set(part);
      parts.push(Buffer.from(kernels.digest(0, part.length, grainSize)));
    }
    return Buffer.concat(parts);
  };
}

/** Of the blocks of `version`, what a cache that forgot some of them has. */
function forget(random: () => number, { list }: Version, cache: GrainCache): GrainCache {
  const kept = new GrainCache(8 * 1024 * 1024);
  const share = [0, 0, 0.5, 0.9][randomInteger(random, 4)] ?? 0;
  for (let i = 0; i < list.count; i++) {
    const grains = random() < share ? cache.get(list.idAt(i)) : undefined;
    if (grains) kept.put(list.idAt(i), grains);
  }
  return kept;
}

function edited(random: () => number, old: Buffer): Buffer {
  let content = old;
  for (let i = 0; i <= randomInteger(random, 4); i++) content = edit(random, content);
  return content;
}

const patchCount = (pieces: readonly RefinedPiece[]): number =>
  pieces.filter(piece => piece.kind === 'new' && piece.patch).length;

t.test('with grains forgotten at random, patches make the new version of the old one', async t => {
  let more = 0;
  let saved = 0;
  for (let seed = 1; seed <= 3000; seed++) {
    const random = seededRandom(seed);
    const size = 1 + randomInteger(random, seed % 10 === 0 ? 300_000 : 6000);
    const old = sampleContent(random, size);
    const content = edited(random, old);
    const cache = new GrainCache(8 * 1024 * 1024);
    const basis = read(old, { cache });
    const version = read(content, { cache: forget(random, basis, cache), basis });
    const { pieces, grains, rounds } = await refined(version, honest(old));
    more += patchCount(pieces) - patchCount(version.pieces);
    saved += cost(version.pieces) - cost(pieces) - 4 * grains;
    const isRight = made(old, basis, pieces).equals(content) && rounds <= 2;
    if (isRight) continue;
    t.fail(`seed ${seed}`);
    break;
  }
  t.ok(more > 1000, `${more} patches more`);
  t.ok(saved > 1_000_000, `${saved} bytes saved, answers paid`);
});

t.test('of a version that is known by its size only, the receiver knows the rest', async t => {
  let saved = 0;
  for (let seed = 1; seed <= 1500; seed++) {
    const random = seededRandom(seed);
    const size = 1 + randomInteger(random, seed % 10 === 0 ? 300_000 : 6000);
    const old = sampleContent(random, size);
    const content = edited(random, old);
    const cache = new GrainCache(8 * 1024 * 1024);
    const basis = read(old, { cache });
    const version = read(content, { cache });
    const isWanted = (piece: RefinedPiece): boolean => {
      return piece.kind === 'new' && basis.list.indexOf(piece.id) < 0;
    };
    const gaps = strayGapsOf(version.pieces, isWanted, old.length);
    const beyond = gaps.filter(gap => gap.old.from + gap.old.size > old.length);
    const { pieces, grains } = await refined(version, honest(old), { gaps });
    saved += cost(version.pieces.filter(isWanted)) - 4 * grains;
    saved -= cost(
      pieces.filter((_, i) => isWanted(version.pieces[i] ?? { kind: 'copy', from: 0, count: 1 })),
    );
    if (beyond.length === 0 && made(old, basis, pieces).equals(content)) continue;
    t.fail(`seed ${seed}`);
    break;
  }
  t.ok(saved > 500_000, `${saved} bytes saved, answers paid`);
});

t.test('false matches and lies make another block of that size, or the right one', async t => {
  // With this factor the upper half of every hash is 0: all grains are the same.
  const blind = new GrainKernels(1n);
  let caught = 0;
  let wrong = 0;
  for (let seed = 1; seed <= 1000; seed++) {
    const random = seededRandom(seed);
    const old = sampleContent(random, 1 + randomInteger(random, 40_000));
    const content = edited(random, old);
    const basis = read(old, { cache: new GrainCache(0) });
    const fresh = read(content, { cache: new GrainCache(8 * 1024 * 1024), basis });
    const other = sampleContent(random, old.length);
    const liars = [
      () => refined(fresh, honest(old, blind), { kernels: blind }),
      () => refined(fresh, honest(other)),
      () =>
        refined(fresh, question => {
          const { length } = honest(old)(question);
          return random() < 0.5 ? randomBytes(random, length) : Buffer.alloc(length);
        }),
    ];
    for (const lie of liars) {
      const { pieces } = await lie();
      for (const piece of pieces) {
        if (piece.kind !== 'new' || piece.patch === undefined) continue;
        const block = made(old, basis, [piece]);
        if (block.length !== piece.bytes.length) wrong++;
        // The receiver's own check; what it refuses is sent as bytes.
        const isTaken = blockId(secret, block).equals(piece.id);
        if (!isTaken) caught++;
        else if (!block.equals(piece.bytes)) wrong++;
      }
    }
  }
  t.equal(wrong, 0);
  t.ok(caught > 500, `${caught} blocks refused`);
});

t.test('what an edit costs, answers included', async t => {
  const old = noise(5, 1_000_000);
  const basis = read(old, { cache: new GrainCache(8 * 1024 * 1024) });
  const byte = Buffer.from(old);
  byte[500_000] = (byte[500_000] ?? 0) ^ 1;
  const scattered = Buffer.from(old);
  for (let at = 5000; at < old.length; at += 10_000) scattered.write('edit', at);
  const pages = Buffer.from(old);
  for (let i = 0; i < 20; i++) noise(100 + i, 4096).copy(pages, 50_000 * i + 3000);
  const [head, tail] = [old.subarray(0, 500_000), old.subarray(500_000)];
  const rows: [string, Buffer, number][] = [
    ['a byte', byte, 350],
    ['100 bytes more', Buffer.concat([head, noise(6, 100), tail]), 500],
    ['200 bytes less', Buffer.concat([head, old.subarray(500_200)]), 500],
    ['an edit in each 10,000 bytes', scattered, 100 * 230],
    ['20 pages of 4 KiB', pages, 20 * (4096 + 400)],
  ];
  for (const [what, content, max] of rows) {
    const version = read(content, { cache: new GrainCache(8 * 1024 * 1024), basis });
    const { pieces, grains, rounds } = await refined(version, honest(old));
    const bytes = cost(pieces) + 4 * grains;
    t.ok(bytes <= max, `${what}: ${bytes} bytes, ${grains} grains`);
    t.equal(rounds, 2, what);
    t.ok(made(old, basis, pieces).equals(content), what);
  }
});

t.test('nothing is asked where the answer cannot help', async t => {
  const old = noise(7, 200_000);
  const cache = new GrainCache(8 * 1024 * 1024);
  const basis = read(old, { cache });
  const inserted = Buffer.concat([
    old.subarray(0, 100_000),
    noise(8, 50_000),
    old.subarray(100_000),
  ]);
  t.strictSame(gapsOf(read(inserted, { cache, basis }).pieces), [], 'grains are here');
  t.strictSame(gapsOf(read(inserted, { cache }).pieces), [], 'there was no version before');
  const empty = () => new GrainCache(8 * 1024 * 1024);
  t.strictSame(gapsOf(read(old, { cache: empty(), basis }).pieces), [], 'all is as it was');
  const appended = Buffer.concat([old, noise(9, 100_000)]);
  const gaps = gapsOf(read(appended, { cache: empty(), basis }).pieces);
  const askedBytes = gaps.reduce((sum, { old: range }) => sum + range.size, 0);
  t.ok(askedBytes <= 65_536, `${askedBytes} bytes of the last block`);
  const fresh = noise(10, 6_000_000);
  const replaced = gapsOf(
    read(fresh, { cache: empty(), basis: read(noise(11, 6_000_000), { cache: empty() }) }).pieces,
  );
  const newBytes = replaced.reduce((sum, { bytes }) => sum + bytes.length, 0);
  t.ok(
    newBytes >= 1024 * 1024 - 65_536 && newBytes <= 2 * 1024 * 1024,
    `${newBytes} bytes in a row`,
  );
});

t.test('grains that were asked for are those of the oracle', async t => {
  const old = noise(12, 5000);
  const basis = read(old, { cache: new GrainCache(0) });
  const content = Buffer.concat([Buffer.from('x'), old]);
  const version = read(content, { cache: new GrainCache(8 * 1024 * 1024), basis });
  const plain = ({ range, grainSize }: Question): Buffer => {
    return grainsOf(old.subarray(range.from, range.from + range.size), grainSize, factor);
  };
  t.strictSame(await refined(version, plain), await refined(version, honest(old)));
});
