import t from 'tap';
import { BlockList, BlockListBuilder } from '../../src/blocks/block-list.ts';
import { CheckHash } from '../../src/blocks/check-hash.ts';
import { allCuts } from '../../src/blocks/chunker-plain.ts';
import { type Basis, ContentMatcher, type MatchedPiece } from '../../src/blocks/content-matcher.ts';
import { type BlockBounds, blockBounds } from '../../src/blocks/gear.ts';
import { Kernels } from '../../src/blocks/kernels.ts';
import { patch } from '../../src/blocks/patch.ts';
import { edit, noise, sampleContent } from '../support/content.ts';
import { naiveList, naivePieces, split } from '../support/naive.ts';
import { pick, randomInteger, seededRandom } from '../support/random.ts';

const small: BlockBounds = { min: 64, target: 128, max: 512 };
const secret = noise(1, 32);
const checkHash = new CheckHash(noise(2, 32));

function matcherWith(bounds: BlockBounds, dataSize: number): ContentMatcher {
  return new ContentMatcher({ kernels: Kernels.load({ bounds, dataSize }), secret, checkHash });
}

interface Match extends Basis {
  readonly pieces: readonly MatchedPiece[];
}

interface MatchOptions {
  readonly basis?: Basis | undefined;
  /** Size of the next read; as much as fits unless given. */
  readonly readSize?: () => number;
  /** Announced; not unless given. */
  readonly size?: number;
  /** Called with what a read gave out. */
  readonly onGiven?: (pieces: readonly MatchedPiece[]) => void;
}

/** Runs one file through; new bytes are copied out, as they are only valid for a while. */
function match(matcher: ContentMatcher, content: Buffer, options: MatchOptions = {}): Match {
  const pieces: MatchedPiece[] = [];
  const keep = (given: readonly MatchedPiece[]) => {
    options.onGiven?.(given);
    for (const piece of given) {
      pieces.push(piece.kind === 'new' ? { ...piece, bytes: Buffer.from(piece.bytes) } : piece);
    }
  };
  matcher.begin(options.basis, options.size);
  for (let at = 0; at < content.length; ) {
    const to = options.readSize ? at + options.readSize() : content.length;
    const byteCount = content.copy(matcher.buffer(), 0, at, Math.min(to, content.length));
    keep(matcher.advance(byteCount));
    at += byteCount;
  }
  const { pieces: rest, list, checks } = matcher.finish();
  keep(rest);
  return { pieces, list, checks };
}

function blocksOf(content: Buffer, bounds: BlockBounds): Buffer[] {
  return split(content, allCuts(content, bounds));
}

function newBytes(pieces: readonly MatchedPiece[]): number {
  return pieces.reduce((sum, piece) => sum + (piece.kind === 'new' ? piece.bytes.length : 0), 0);
}

/** What is wrong with a match of `content` on a basis of these blocks; undefined if nothing. */
function fault(match: Match, content: Buffer, options: { bounds: BlockBounds; base: Buffer[] }) {
  const blocks = blocksOf(content, options.bounds);
  if (!patch(options.base, match.pieces).equals(content)) return 'patch(base, pieces) is not new';
  if (!match.list.packed.equals(naiveList(secret, blocks))) return 'list is not that of plain cuts';
  if (!match.checks.equals(Buffer.concat(blocks.map(block => checkHash.digest(block))))) {
    return 'checks are not those of the blocks';
  }
  let previous: MatchedPiece | undefined;
  for (const piece of match.pieces) {
    if (piece.kind === 'new' && piece.bytes.every(byte => byte === 0)) return 'zeroes sent as new';
    if (piece.kind === 'copy') {
      const copied = options.base.slice(piece.from, piece.from + piece.count);
      if (copied.some(block => block.every(byte => byte === 0))) return 'zeroes copied';
      if (previous?.kind === 'copy' && previous.from + previous.count === piece.from) {
        return 'two copies that are one run';
      }
    }
    previous = piece;
  }
  return undefined;
}

t.test('without a basis: the pieces are the blocks, however the file was read', t => {
  const matcher = matcherWith(small, 131_072);
  for (let seed = 1; seed <= 1000; seed++) {
    const random = seededRandom(seed);
    const content = sampleContent(random, randomInteger(random, 8000));
    const sizeMax = pick(random, [1, 63, 700, 5000, 131_072]);
    const result = match(matcher, content, { readSize: () => 1 + randomInteger(random, sizeMax) });
    const naive = naivePieces(secret, blocksOf(content, small));
    const wrong = fault(result, content, { bounds: small, base: [] });
    if (wrong === undefined && samePieces(result.pieces, naive)) continue;
    t.same(result.pieces, naive, `${wrong}, seed ${seed}`);
    break;
  }
  t.end();
});

function samePieces(a: readonly MatchedPiece[], b: readonly MatchedPiece[]): boolean {
  const describe = (piece: MatchedPiece) => {
    if (piece.kind === 'copy') return `copy ${piece.from} ${piece.count}`;
    const size = piece.kind === 'zero' ? piece.size : piece.bytes.length;
    return `${piece.kind} ${piece.id.toString('hex')} ${size}`;
  };
  return a.map(describe).join() === b.map(describe).join();
}

t.test('laws over generations of edits, however the file was read', t => {
  const matcher = matcherWith(small, 131_072);
  for (let seed = 1; seed <= 1500; seed++) {
    const random = seededRandom(seed);
    let content = sampleContent(random, randomInteger(random, 12_000));
    let basis: Match | undefined;
    let base: Buffer[] = [];
    for (let generation = 0; generation < 4; generation++) {
      const sizeMax = pick(random, [7, 300, 3000, 131_072]);
      const readSize = () => 1 + randomInteger(random, sizeMax);
      const result = match(matcher, content, { basis, readSize });
      const wrong = fault(result, content, { bounds: small, base });
      if (wrong) throw new Error(`${wrong}: seed ${seed}, generation ${generation}`);
      basis = result;
      base = blocksOf(content, small);
      const edits = randomInteger(random, 4);
      for (let i = 0; i < edits; i++) content = edit(random, content);
    }
  }
  t.pass('1500 seeds');
  t.end();
});

t.test('of another content copies come before the end, of the same one only there', t => {
  const kernels = Kernels.load({ bounds: small, dataSize: 131_072 });
  const runSizeMax = 2000;
  const early = new ContentMatcher({ kernels, secret, checkHash, runSizeMax });
  const plain = matcherWith(small, 131_072);
  const readSize = (): number => 700;
  const joined = (pieces: readonly MatchedPiece[]): MatchedPiece[] => {
    const all: MatchedPiece[] = [];
    for (const piece of pieces) {
      const last = all.at(-1);
      if (piece.kind === 'copy' && last?.kind === 'copy' && last.from + last.count === piece.from)
        all[all.length - 1] = { ...last, count: last.count + piece.count };
      else all.push(piece);
    }
    return all;
  };
  for (let seed = 1; seed <= 300; seed++) {
    const random = seededRandom(seed);
    const content = sampleContent(random, 20_000 + randomInteger(random, 20_000));
    const basis = match(plain, content);
    const edited = edit(random, content);
    const size = edited.length;
    const result = match(early, edited, { basis, readSize, size });
    const expected = match(plain, edited, { basis, readSize, size });
    if (
      !samePieces(joined(result.pieces), expected.pieces) ||
      !result.list.packed.equals(expected.list.packed)
    ) {
      throw new Error(`other pieces, seed ${seed}`);
    }
  }
  const content = noise(5, 30_000);
  const basis = match(plain, content);
  const given = (edited: Buffer): number[] => {
    const counts: number[] = [];
    const onGiven = (pieces: readonly MatchedPiece[]): void => {
      counts.push(pieces.filter(({ kind }) => kind === 'copy').length);
    };
    match(early, edited, { basis, readSize, size: edited.length, onGiven });
    return counts;
  };
  t.strictSame(
    given(content)
      .slice(0, -1)
      .filter(count => count > 0),
    [],
    'touched only',
  );
  t.equal(given(content).at(-1), 1);
  const appended = given(Buffer.concat([content, Buffer.from('more')]));
  t.ok(appended.findIndex(count => count > 0) <= 4, 'it grew: the first 2,000 bytes are known');
  t.ok(appended.slice(0, -1).filter(count => count > 0).length >= 10);
  const changed = Buffer.from(content);
  changed[10_000] = (changed[10_000] ?? 0) ^ 1;
  const first = given(changed).findIndex(count => count > 0);
  t.ok(first >= 13 && first <= 16, 'of the same size: not before the change is found');
  t.end();
});

t.test('laws with an unrelated basis, and with the basis of a prefix, a suffix, a double', t => {
  const matcher = matcherWith(small, 131_072);
  for (let seed = 1; seed <= 300; seed++) {
    const random = seededRandom(seed);
    const content = sampleContent(random, 6000);
    const at = randomInteger(random, 6000);
    const bases = [noise(seed, 5000), content.subarray(0, at), content.subarray(at)];
    for (const old of [...bases, Buffer.concat([content, content]), Buffer.alloc(6000)]) {
      const basis = match(matcher, old);
      const result = match(matcher, content, { basis });
      const wrong = fault(result, content, { bounds: small, base: blocksOf(old, small) });
      if (wrong) throw new Error(`${wrong}: seed ${seed}, ${old.length} bytes`);
    }
  }
  t.pass('300 seeds');
  t.end();
});

t.test('laws with the bounds in use, over several buffers', t => {
  const matcher = matcherWith(blockBounds, 131_072);
  for (let seed = 1; seed <= 12; seed++) {
    const random = seededRandom(seed);
    const old = sampleContent(random, 700_000);
    const content = edit(random, edit(random, old));
    const basis = match(matcher, old);
    const result = match(matcher, content, { basis });
    const wrong = fault(result, content, { bounds: blockBounds, base: blocksOf(old, blockBounds) });
    if (wrong) t.fail(`${wrong}: seed ${seed}`);
  }
  t.end();
});

t.test('every size around the bounds, grown and shrunk by one', t => {
  const matcher = matcherWith(blockBounds, 262_144);
  const { min, max } = blockBounds;
  const sizes = [0, 1, 31, 32, 33, min - 1, min, min + 1, max - 1, max, max + 1, max + min];
  for (const size of [...sizes, 2 * max - 1, 2 * max, 2 * max + 1]) {
    for (const whole of [noise(9, size + 1), Buffer.alloc(size + 1), Buffer.alloc(size + 1, 7)]) {
      for (const [from, to] of [
        [size, size + 1],
        [size + 1, size],
        [size, size],
      ]) {
        const old = whole.subarray(0, from);
        const content = whole.subarray(0, to);
        const result = match(matcher, content, { basis: match(matcher, old) });
        const wrong = fault(result, content, {
          bounds: blockBounds,
          base: blocksOf(old, blockBounds),
        });
        if (wrong) t.fail(`${wrong}: ${from} to ${to} bytes of ${whole[0]}`);
      }
    }
  }
  t.end();
});

t.test('an append is seen even if a read ends where the basis did', t => {
  const matcher = matcherWith(small, 131_072);
  for (let seed = 1; seed <= 300; seed++) {
    const content = sampleContent(seededRandom(seed), 3000);
    const old = content.subarray(0, 600 + randomInteger(seededRandom(seed), 2000));
    const result = match(matcher, content, {
      basis: match(matcher, old),
      readSize: () => old.length,
    });
    const wrong = fault(result, content, { bounds: small, base: blocksOf(old, small) });
    if (wrong) throw new Error(`${wrong}: seed ${seed}`);
  }
  t.pass('300 seeds');
  t.end();
});

t.test('an empty file has no piece and no block, with and without a basis', t => {
  const matcher = matcherWith(blockBounds, 131_072);
  const empty = Buffer.alloc(0);
  const basis = match(matcher, noise(1, 50_000));
  for (const result of [match(matcher, empty), match(matcher, empty, { basis })]) {
    t.same(result.pieces, []);
    t.equal(result.list, BlockList.empty);
    t.equal(result.checks.length, 0);
  }
  const fromEmpty = match(matcher, noise(1, 50_000), { basis: match(matcher, empty) });
  t.ok(fromEmpty.list.packed.equals(basis.list.packed));
  t.end();
});

t.test('unchanged content is one copy, and no id is made for it', t => {
  const matcher = matcherWith(blockBounds, 131_072);
  const content = noise(3, 500_000);
  const { list, checks } = match(matcher, content);
  const basis = { list: withFalseIds(list), checks };
  const result = match(matcher, content, { basis });
  t.same(result.pieces, [{ kind: 'copy', from: 0, count: list.count }]);
  t.ok(result.list.packed.equals(basis.list.packed), 'ids are taken over, not made again');
  t.end();
});

t.test('a block is copied from elsewhere only if its id agrees, not by its check alone', t => {
  const matcher = matcherWith(blockBounds, 131_072);
  const old = noise(3, 500_000);
  const { list, checks } = match(matcher, old);
  const content = Buffer.concat([Buffer.from('shifted'), old]);
  const honest = match(matcher, content, { basis: { list, checks } });
  t.ok(newBytes(honest.pieces) < 70_000);
  const result = match(matcher, content, { basis: { list: withFalseIds(list), checks } });
  t.equal(newBytes(result.pieces), content.length);
  t.end();
});

function withFalseIds(list: BlockList): BlockList {
  const builder = new BlockListBuilder();
  for (let i = 0; i < list.count; i++) builder.add(noise(i, 16), list.sizeAt(i));
  return builder.build();
}

t.test('an edit costs the blocks it touches: change, insertion, removal, append, cut', t => {
  const matcher = matcherWith(blockBounds, 262_144);
  const old = noise(4, 2_000_000);
  const basis = match(matcher, old);
  const costs: Record<string, number[]> = { change: [], insert: [], remove: [] };
  for (let seed = 1; seed <= 60; seed++) {
    const at = randomInteger(seededRandom(seed), old.length - 1000);
    const [head, tail] = [old.subarray(0, at), old.subarray(at)];
    const contents = {
      change: Buffer.concat([head, Buffer.from([~(tail[0] ?? 0)]), tail.subarray(1)]),
      insert: Buffer.concat([head, noise(seed, 100), tail]),
      remove: Buffer.concat([head, tail.subarray(100)]),
    };
    for (const [kind, content] of Object.entries(contents)) {
      costs[kind]?.push(newBytes(match(matcher, content, { basis }).pieces));
    }
  }
  for (const [kind, bytes] of Object.entries(costs)) {
    const mean = bytes.reduce((sum, cost) => sum + cost, 0) / bytes.length;
    t.ok(mean < 26_000, `${kind}: ${mean} bytes in the mean`);
    t.ok(Math.max(...bytes) < 120_000, `${kind}: ${Math.max(...bytes)} bytes at most`);
    t.ok(Math.min(...bytes) > 0, `${kind}: something is always new`);
  }
  const appended = match(matcher, Buffer.concat([old, noise(5, 10_000)]), { basis });
  t.ok(newBytes(appended.pieces) <= 10_000 + blockBounds.max, 'append');
  const truncated = match(matcher, old.subarray(0, 1_000_000), { basis });
  t.ok(newBytes(truncated.pieces) <= blockBounds.max, 'cut off');
  t.equal(truncated.pieces.length, 2);
  t.end();
});

t.test('content moved to the front and back is copied in both places', t => {
  const matcher = matcherWith(blockBounds, 262_144);
  const old = noise(6, 1_000_000);
  const basis = match(matcher, old);
  const half = old.length / 2;
  const content = Buffer.concat([old.subarray(half), old.subarray(0, half)]);
  const result = match(matcher, content, { basis });
  t.ok(newBytes(result.pieces) < 4 * blockBounds.max, `${newBytes(result.pieces)} bytes new`);
  t.end();
});

t.test('zero runs become zero blocks of max size, and stay so with a basis', t => {
  const matcher = matcherWith(blockBounds, 262_144);
  const sparse = Buffer.alloc(20 * blockBounds.max + 5);
  const result = match(matcher, sparse);
  t.same(
    result.pieces.map(piece => (piece.kind === 'zero' ? piece.size : piece.kind)),
    [...Array<number>(20).fill(blockBounds.max), 5],
  );
  const again = match(matcher, sparse, { basis: result });
  t.ok(samePieces(again.pieces, result.pieces));
  sparse[7 * blockBounds.max + 100] = 1;
  const touched = match(matcher, sparse, { basis: result });
  t.equal(fault(touched, sparse, { bounds: blockBounds, base: [] }), undefined);
  t.equal(touched.pieces.filter(piece => piece.kind === 'new').length, 1);
  t.end();
});

t.test('new bytes are views of the buffer that was read into', t => {
  const matcher = matcherWith(blockBounds, 131_072);
  matcher.begin();
  const content = noise(8, 131_072);
  const buffer = matcher.buffer();
  content.copy(buffer);
  const pieces = matcher.advance(content.length);
  t.ok(pieces.length > 3);
  let at = 0;
  for (const piece of pieces) {
    if (piece.kind !== 'new') throw new Error(piece.kind);
    t.equal(piece.bytes.buffer, buffer.buffer);
    t.ok(piece.bytes.equals(content.subarray(at, at + piece.bytes.length)));
    at += piece.bytes.length;
  }
  t.end();
});

t.test('the buffer holds 1 MiB and more whatever is left over', t => {
  const matcher = new ContentMatcher({ kernels: Kernels.load(), secret, checkHash });
  matcher.begin();
  for (let seed = 1; seed <= 20; seed++) {
    const buffer = matcher.buffer();
    t.ok(buffer.length >= 1024 * 1024);
    matcher.advance(buffer.fill(seed).length);
  }
  t.end();
});

t.test('an abandoned file leaves nothing behind', t => {
  const matcher = matcherWith(small, 131_072);
  const old = noise(9, 5000);
  const basis = match(matcher, old);
  matcher.begin(basis);
  old.copy(matcher.buffer());
  matcher.advance(4000);
  const content = noise(10, 3000);
  t.equal(fault(match(matcher, content), content, { bounds: small, base: [] }), undefined);
  t.end();
});

t.test('a basis whose checks do not fit its list is a bug', t => {
  const matcher = matcherWith(small, 131_072);
  const { list, checks } = match(matcher, noise(9, 5000));
  t.throws(() => matcher.begin({ list, checks: checks.subarray(16) }));
  t.throws(() => matcher.begin({ list: BlockList.empty, checks }));
  t.throws(() => {
    matcher.begin();
    matcher.advance(matcher.buffer().length + 1);
  });
  t.end();
});

t.test('a basis from elsewhere costs bytes, never content', t => {
  // Cut by other bounds, or made up: the pieces still make the content.
  const matcher = matcherWith(small, 131_072);
  const other = matcherWith({ min: 100, target: 300, max: 900 }, 131_072);
  for (let seed = 1; seed <= 200; seed++) {
    const random = seededRandom(seed);
    const old = sampleContent(random, 20_000);
    const content = edit(random, old);
    const { list, checks } = match(other, old);
    const base = split(
      old,
      Array.from({ length: list.count }, (_, i) => list.offsetAt(i + 1)),
    );
    const result = match(matcher, content, { basis: { list, checks } });
    if (!patch(base, result.pieces).equals(content)) t.fail(`seed ${seed}`);
    if (result.list.byteCount !== content.length) t.fail(`size, seed ${seed}`);
  }
  t.end();
});
