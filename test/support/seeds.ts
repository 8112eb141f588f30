// What takes long is shared out between the two runs of the suite, as root and as a user.
import { isRoot } from './mounts.ts';

/** Seeds 1 to `count`: root takes the odd ones, anybody else the even ones; all with ALL_SEEDS=1. */
export function ownSeeds(count: number): number[] {
  return ownShare(Array.from({ length: count }, (_, i) => i + 1));
}

/** Every other item, the first one for root; all with ALL_SEEDS=1. */
export function ownShare<T>(items: readonly T[]): T[] {
  const isAll = process.env.ALL_SEEDS !== undefined;
  return items.filter((_, i) => isAll || (i % 2 === 0) === isRoot);
}
