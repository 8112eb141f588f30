// Seeds shared out between the two runs of the suite: as root, and as a user.
import { isRoot } from './mounts.ts';

/** Seeds 1 to `count`: root takes the odd ones, anybody else the even ones; all with ALL_SEEDS=1. */
export function ownSeeds(count: number): number[] {
  const seeds = Array.from({ length: count }, (_, i) => i + 1);
  if (process.env.ALL_SEEDS !== undefined) return seeds;
  return seeds.filter(seed => (seed % 2 === 1) === isRoot);
}
