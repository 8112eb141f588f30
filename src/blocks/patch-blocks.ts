// Blocks as patches of the version before, from runs that were found in it. Pure.
import { type Copy, encodePatch } from './block-patch.ts';
import type { Run } from './grain-kernels.ts';

export interface BlockPlace {
  readonly at: number;
  readonly size: number;
}

/**
 * A patch for each of `blocks`, which lie in `bytes` in order; undefined where it would hardly save
 * anything. `runs` in order, their `at` as that of the blocks.
 */
export function patchBlocks(
  bytes: Buffer,
  blocks: readonly BlockPlace[],
  runs: readonly Run[],
): readonly (Buffer | undefined)[] {
  let first = 0;
  return blocks.map(({ at, size }) => {
    while (first < runs.length && endOf(runs[first]) <= at) first++;
    const copies = copiesWithin(runs, first, { at, size });
    if (copies.length === 0) return undefined;
    const patch = encodePatch(bytes.subarray(at, at + size), copies);
    return patch.length > size - size / 8 ? undefined : patch;
  });
}

function endOf(run: Run | undefined): number {
  return run === undefined ? 0 : run.at + run.size;
}

/** The parts of runs, from `first` on, that lie in a block; offsets become its own. */
function copiesWithin(runs: readonly Run[], first: number, block: BlockPlace): Copy[] {
  const copies: Copy[] = [];
  for (let i = first; i < runs.length; i++) {
    const run = runs[i];
    if (run === undefined || run.at >= block.at + block.size) break;
    const from = Math.max(run.at, block.at);
    const to = Math.min(run.at + run.size, block.at + block.size);
    copies.push({ at: from - block.at, from: run.from + from - run.at, size: to - from });
  }
  return copies;
}
