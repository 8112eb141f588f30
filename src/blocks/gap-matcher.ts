// Finds what is old in new bytes by grains of ranges of the old version, wherever these come from.
import assert from 'node:assert/strict';
import { type GrainKernels, gapSizeMax, type Run } from './grain-kernels.ts';
import type { OldRange } from './refiner.ts';

/** A range of the old version and its grains, as u32 LE. */
export interface KnownRange extends OldRange {
  readonly hashes: Buffer;
}

export interface MatchJob {
  /** At most gapSizeMax. */
  readonly bytes: Buffer;
  /** Where they begin in the old version, if nothing was inserted or removed. */
  readonly base: number;
  readonly grainSize: number;
  /** None begins before `base`. */
  readonly old: readonly KnownRange[];
  /** What was found before: it stays, and nothing is looked for in it. In order. */
  readonly found: readonly Run[];
}

/** All runs of a job, those found before included, in order; `from` are offsets in the old version. */
export function findRuns(kernels: GrainKernels, job: MatchJob): readonly Run[] {
  const { bytes, base, grainSize, old, found } = job;
  assert(bytes.length <= gapSizeMax);
  kernels.data.set(bytes);
  kernels.clear();
  for (const { from, size, hashes } of old) {
    if (!kernels.addOld({ offset: from - base, size }, hashes, grainSize)) break;
  }
  kernels.index(grainSize);
  const runs: Run[] = [];
  let start = 0;
  let lastOld = base;
  const look = (end: number): void => {
    for (const run of kernels.match({ start, end }, grainSize, Math.max(lastOld - base, 0))) {
      runs.push({ ...run, from: run.from + base });
    }
  };
  for (const run of found) {
    if (run.at > start) look(run.at);
    runs.push(run);
    start = run.at + run.size;
    lastOld = run.from + run.size;
  }
  if (start < bytes.length) look(bytes.length);
  return runs;
}
