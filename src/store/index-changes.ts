// What becomes of the block index: noted as runs of blocks, turned into rows a bounded number at a
// time. A file of a million blocks is added or forgotten without a million rows in memory.
//
// Entries are hints, so rows that do not fit into the transaction of their commit follow in ones of
// their own: a crash between costs a block sent twice, or an entry that is dropped when it is used.
import { type BlockList, isIndexed } from '../blocks/block-list.ts';
import type { NodeId } from '../snapshot/entry.ts';
import { blockKey, encodeHints, type Hint, hintsMax } from './receiver-records.ts';

/** Blocks whose entries are changed in one transaction: some 10 MiB of rows. */
export const indexBlocksPerWrite = 32_768;
/** The same in the transaction of the records: it is waited for. A group of small files fits. */
export const indexBlocksPerCommit = 4096;

type Step =
  | {
      readonly kind: 'add' | 'forget';
      readonly id: NodeId;
      readonly list: BlockList;
      readonly end: number;
      /** The next block to be dealt with. */
      at: number;
      /** Of the other versions of the file, once they are asked for. */
      others?: readonly BlockList[];
    }
  | { readonly kind: 'drop'; readonly id: NodeId; readonly blockId: Buffer };

export interface IndexRow {
  readonly table: 'blocks';
  readonly key: Buffer;
  readonly value: Buffer | undefined;
}

export interface IndexChangesOptions {
  /** Of the store, as it is. */
  readonly hints: (blockId: Buffer) => Hint[];
  /** Lists of all versions of a file that there will be. */
  readonly listsOf: (id: NodeId) => readonly BlockList[];
}

export class IndexChanges {
  readonly #options: IndexChangesOptions;
  #steps: Step[] = [];

  constructor(options: IndexChangesOptions) {
    this.#options = options;
  }

  /** True when `rows` has given everything. */
  get isEmpty(): boolean {
    return this.#steps.length === 0;
  }

  /** Blocks `from` and following of file `id` may be found there from now on. */
  add(id: NodeId, list: BlockList, run: { readonly from: number; readonly count: number }): void {
    const { from, count } = run;
    this.#steps.push({ kind: 'add', id, list, at: from, end: from + count });
  }

  /** A version of file `id` is gone: its blocks are not there, unless another version has them. */
  forget(id: NodeId, list: BlockList): void {
    this.#steps.push({ kind: 'forget', id, list, at: 0, end: list.count });
  }

  /** The block is not in file `id`. */
  drop(blockId: Buffer, id: NodeId): void {
    this.#steps.push({ kind: 'drop', blockId, id });
  }

  /** Rows of the next `blocksMax` blocks; write them before asking for more. */
  rows(blocksMax = indexBlocksPerWrite): IndexRow[] {
    const rows = new Map<string, { readonly key: Buffer; hints: Hint[] }>();
    const change = (blockId: Buffer, to: (hints: Hint[]) => Hint[]): void => {
      const text = blockId.toString('latin1', 0, 8);
      const row = rows.get(text);
      if (row) row.hints = to(row.hints);
      else {
        const key = Buffer.from(blockKey(blockId));
        rows.set(text, { key, hints: to(this.#options.hints(blockId)) });
      }
    };
    let left = blocksMax;
    let done = 0;
    for (const step of this.#steps) {
      left -= takeStep(step, left, change, this.#options.listsOf);
      if (step.kind !== 'drop' && step.at < step.end) break;
      done++;
    }
    this.#steps = this.#steps.slice(done);
    return Array.from(rows.values(), ({ key, hints }) => ({
      table: 'blocks',
      key,
      value: hints.length > 0 ? encodeHints(hints) : undefined,
    }));
  }
}

/** Deals with up to `limit` blocks of a step; returns how many. */
function takeStep(
  step: Step,
  limit: number,
  change: (blockId: Buffer, to: (hints: Hint[]) => Hint[]) => void,
  listsOf: IndexChangesOptions['listsOf'],
): number {
  const { id } = step;
  const without = (hints: Hint[]): Hint[] => hints.filter(hint => hint.id !== id);
  if (step.kind === 'drop') {
    change(step.blockId, without);
    return 1;
  }
  const { list } = step;
  const from = step.at;
  // Millions of blocks take many transactions, and a list megabytes to read.
  if (step.kind === 'forget') step.others ??= listsOf(id);
  const { others = [] } = step;
  for (; step.at < step.end && step.at - from < limit; step.at++) {
    const block = step.at;
    if (!isIndexed(list.sizeAt(block))) continue;
    const blockId = list.idAt(block);
    if (others.some(other => other.indexOf(blockId, block) >= 0)) continue;
    if (step.kind === 'forget') change(blockId, without);
    else change(blockId, hints => withFirst({ id, block }, without(hints)));
  }
  return step.at - from;
}

/**
 * One for each file: where a block repeats in it, or moved, it is looked for in its list. Where there
 * are many, those stay that were there first: what is copied and removed again every day must not
 * push out the file that it is a copy of.
 */
function withFirst(hint: Hint, others: readonly Hint[]): Hint[] {
  return [hint, ...others.slice(Math.max(0, others.length - (hintsMax - 1)))];
}
