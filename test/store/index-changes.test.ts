import { createHash } from 'node:crypto';
import t from 'tap';
import { type BlockList, BlockListBuilder } from '../../src/blocks/block-list.ts';
import { indexedBlockSizeMin } from '../../src/limits.ts';
import type { NodeId } from '../../src/snapshot/entry.ts';
import { IndexChanges, indexBlocksPerWrite } from '../../src/store/index-changes.ts';
import { decodeHints, type Hint, hintsMax } from '../../src/store/receiver-records.ts';

function idOf(text: string): Buffer {
  return createHash('sha256').update(text).digest().subarray(0, 16);
}

/** Blocks by name, each of `size` bytes. */
function listOf(names: readonly string[], size = 8192): BlockList {
  const builder = new BlockListBuilder();
  for (const name of names) builder.add(idOf(name), size);
  return builder.build();
}

/** The index in memory, with a count of what was asked of it. */
class Index {
  readonly rows = new Map<string, Hint[]>();
  readonly lists = new Map<number, BlockList[]>();
  reads = 0;
  changes = this.#changes();

  #changes(): IndexChanges {
    return new IndexChanges({
      hints: blockId => {
        this.reads++;
        return this.hints(blockId);
      },
      listsOf: id => this.lists.get(id) ?? [],
    });
  }

  hints(blockId: Buffer): Hint[] {
    return this.rows.get(blockId.toString('hex', 0, 8)) ?? [];
  }

  /** Returns the sizes of the transactions. */
  write(): number[] {
    const sizes: number[] = [];
    while (!this.changes.isEmpty) {
      const rows = this.changes.rows();
      sizes.push(rows.length);
      for (const { key, value } of rows) {
        if (value) this.rows.set(key.toString('hex'), decodeHints(value));
        else this.rows.delete(key.toString('hex'));
      }
    }
    this.changes = this.#changes();
    return sizes;
  }
}

const file = (number: number): NodeId => number as NodeId;

t.test('a block that 100,000 files share has few entries and one read a transaction', async t => {
  const index = new Index();
  const list = listOf(['header']);
  const groups = 50;
  const files = 2000;
  for (let group = 0; group < groups; group++) {
    for (let i = 0; i < files; i++) {
      index.changes.add(file(2 + group * files + i), list, { from: 0, count: 1 });
    }
    t.strictSame(index.write(), [1]);
  }
  t.equal(index.reads, groups);
  t.equal(index.hints(idOf('header')).length, hintsMax);
  for (let group = 0; group < groups; group++) {
    for (let i = 0; i < files; i++) index.changes.forget(file(2 + group * files + i), list);
    index.write();
  }
  t.equal(index.reads, 2 * groups);
  t.equal(index.rows.size, 0);
});

t.test('copies that come and go do not push out the file they are of', async t => {
  const index = new Index();
  const list = listOf(['block']);
  const ids = (): number[] => index.hints(idOf('block')).map(hint => hint.id);
  const add = (id: number): void => {
    index.changes.add(file(id), list, { from: 0, count: 1 });
    index.write();
  };
  for (let id = 2; id < 20; id++) add(id);
  t.strictSame(ids(), [19, 4, 3, 2], 'the newest, and those that were there first');
  for (let id = 3; id < 20; id++) index.changes.forget(file(id), list);
  index.write();
  t.strictSame(ids(), [2]);
});

t.test('a block that repeats in a file takes one entry, not the room of other files', async t => {
  const index = new Index();
  index.changes.add(file(2), listOf(['page', 'x']), { from: 0, count: 2 });
  index.changes.add(file(3), listOf(Array(100).fill('page')), { from: 0, count: 100 });
  index.write();
  t.strictSame(
    index.hints(idOf('page')).map(hint => hint.id),
    [3, 2],
  );
});

t.test('blocks of tiny files have no entry', async t => {
  const index = new Index();
  const tiny = listOf(['tiny'], indexedBlockSizeMin - 1);
  index.changes.add(file(2), tiny, { from: 0, count: 1 });
  t.strictSame(index.write(), [0]);
  index.changes.add(file(3), listOf(['small'], indexedBlockSizeMin), { from: 0, count: 1 });
  t.strictSame(index.write(), [1]);
});

t.test('a file of any size is added and forgotten in bounded transactions', async t => {
  const index = new Index();
  const count = 2 * indexBlocksPerWrite + 10;
  const list = listOf(Array.from({ length: count }, (_, i) => `${i}`));
  index.changes.add(file(2), list, { from: 0, count });
  index.changes.add(file(3), listOf(['0', 'other']), { from: 0, count: 2 });
  t.strictSame(index.write(), [indexBlocksPerWrite, indexBlocksPerWrite, 12]);
  t.equal(index.rows.size, count + 1);
  index.changes.forget(file(2), list);
  t.strictSame(index.write(), [indexBlocksPerWrite, indexBlocksPerWrite, 10]);
  t.equal(index.rows.size, 2);
});

t.test('blocks that another version of the file has keep their entries', async t => {
  const index = new Index();
  const before = listOf(['a', 'b']);
  const after = listOf(['x', 'b']);
  index.changes.add(file(2), before, { from: 0, count: 2 });
  index.changes.add(file(2), after, { from: 0, count: 1 });
  index.changes.forget(file(2), before);
  index.lists.set(2, [after]);
  index.write();
  t.strictSame(index.hints(idOf('a')), []);
  t.equal(index.hints(idOf('b')).length, 1);
  t.equal(index.hints(idOf('x')).length, 1);
});
