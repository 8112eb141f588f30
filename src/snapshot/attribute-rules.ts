// What of a source's attributes counts, and as what: the flags that change what a scan sees.
import type { EntryKind } from './entry.ts';
import { changedMode, type ModeChange } from './mode-change.ts';
import { noId, type OwnerIds } from './owner.ts';

/** Plain data: it crosses threads. */
export interface AttributeRules {
  /** What modes become on their way. */
  readonly chmod: readonly ModeChange[];
  /** Are users kept? */
  readonly owner: boolean;
  readonly group: boolean;
  /** Are extended attributes kept? */
  readonly xattrs?: boolean | undefined;
}

/** rsync's -rlpt: modes as they are; owners are the replica's. */
export const defaultAttributes: AttributeRules = { chmod: [], owner: false, group: false };

/** Permission bits as they count; `mode` is of the system, with its type. */
export function modeAs({ chmod }: AttributeRules, kind: EntryKind, mode: bigint): number {
  return kind === 'link' ? 0o777 : changedMode(Number(mode & 0o7777n), kind === 'directory', chmod);
}

/** Do extended attributes count? A link has none in the user namespace (xattr(7)). */
export function keepsXattrs({ xattrs }: AttributeRules, kind: EntryKind): boolean {
  return xattrs === true && kind !== 'link';
}

/** The owner as it counts; undefined when neither is kept. */
export function ownerAs(
  { owner, group }: AttributeRules,
  { uid, gid }: { readonly uid: bigint; readonly gid: bigint },
): OwnerIds | undefined {
  if (!owner && !group) return undefined;
  return { uid: owner ? Number(uid) : noId, gid: group ? Number(gid) : noId };
}
