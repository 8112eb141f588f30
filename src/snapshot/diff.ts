// What became of each name of one directory, by merging two sorted listings.
import type { Known, Seen } from './listing.ts';
import { compareNames } from './name.ts';
import { sameOwner } from './owner.ts';

export type Difference =
  | { readonly kind: 'new'; readonly seen: Seen }
  | { readonly kind: 'gone'; readonly known: Known }
  /** The same kind of entry with other attributes; which ones, `changeOf` says. */
  | { readonly kind: 'changed'; readonly seen: Seen; readonly known: Known }
  /** Another kind of entry took the name. */
  | { readonly kind: 'replaced'; readonly seen: Seen; readonly known: Known };

/**
 * Differences that lead from `known` to `seen`, both in name order, in name order. Equal names with
 * equal attributes yield nothing.
 */
export function* diff(known: readonly Known[], seen: readonly Seen[]): Generator<Difference> {
  let k = 0;
  let s = 0;
  for (;;) {
    const left = known[k];
    const right = seen[s];
    if (left === undefined && right === undefined) return;
    const order =
      left === undefined ? 1 : right === undefined ? -1 : compareNames(left.name, right.name);
    if (order < 0 && left !== undefined) {
      yield { kind: 'gone', known: left };
      k++;
    } else if (order > 0 && right !== undefined) {
      yield { kind: 'new', seen: right };
      s++;
    } else if (left !== undefined && right !== undefined) {
      if (left.entry.kind !== right.kind) yield { kind: 'replaced', seen: right, known: left };
      else if (!sameSeen(left, right)) yield { kind: 'changed', seen: right, known: left };
      k++;
      s++;
    }
  }
}

/** True when a scan could not tell the two apart. */
export function sameSeen(known: Known, seen: Seen): boolean {
  const { entry } = known;
  return (
    entry.mtimeNs === seen.mtimeNs &&
    entry.stamp.ctimeNs === seen.ctimeNs &&
    entry.size === seen.size &&
    entry.mode === seen.mode &&
    entry.stamp.ino === seen.ino &&
    entry.stamp.birthtimeNs === seen.birthtimeNs &&
    sameOwner(entry.owner, seen.owner) &&
    (entry.xattrs !== undefined) === (seen.keepsXattrs === true)
  );
}
