// The delete brake: whether what a sweep found missing may be deleted at the destination. A pure
// function over the whole sweep: deletes come only from positive evidence (README).

export interface MaxDelete {
  readonly kind: 'count' | 'percent';
  readonly value: number;
}

export const defaultMaxDelete: MaxDelete = { kind: 'percent', value: 50 };
/** A percentage says nothing about small trees. */
const percentEntriesMin = 1000;

export interface SweepFindings {
  /** Entries that would go, those inside directories that go included; renames and what was accepted are taken out. */
  readonly deleteCount: number;
  /** Entries in the confirmed layer before. */
  readonly entryCount: number;
  /** The most there were lately: a removal that takes longer than a look counts as one. */
  readonly peakCount: number;
  /** The source's root has no entry at all now, and had some. */
  readonly rootEmptied: boolean;
  readonly maxDelete: MaxDelete;
}

export type Verdict =
  | { readonly kind: 'allow' }
  | { readonly kind: 'hold'; readonly reason: string };

export function judge(findings: SweepFindings): Verdict {
  const { deleteCount, entryCount, maxDelete } = findings;
  const peakCount = Math.max(findings.peakCount, entryCount);
  if (deleteCount === 0) return { kind: 'allow' };
  if (findings.rootEmptied) {
    return hold(`the source is empty and had ${entryCount} entries`);
  }
  if (maxDelete.kind === 'count') {
    if (deleteCount <= maxDelete.value) return { kind: 'allow' };
    return hold(`${deleteCount} entries would be deleted, --max-delete allows ${maxDelete.value}`);
  }
  if (peakCount <= percentEntriesMin) return { kind: 'allow' };
  const goneCount = peakCount - entryCount + deleteCount;
  if (goneCount * 100 <= peakCount * maxDelete.value) return { kind: 'allow' };
  const text = `${deleteCount} of ${entryCount} entries would be deleted`;
  const lately = peakCount > entryCount ? `, of ${peakCount} lately` : '';
  return hold(`${text}${lately}, --max-delete allows ${maxDelete.value}%`);
}

function hold(reason: string): Verdict {
  return { kind: 'hold', reason };
}

/** What identifies the root of a tree across remounts: never the device number. */
export interface RootIdentity {
  readonly ino: bigint;
  readonly birthtimeNs: bigint;
}

/**
 * Whether the directory found at the source's path is the tree known so far: the same inode, or at
 * least half of a sample of known names (file systems that renumber inodes, trees restored from a
 * backup).
 */
export function isSameTree(
  known: RootIdentity | undefined,
  found: RootIdentity,
  sample: { readonly known: number; readonly present: number },
): boolean {
  if (known === undefined || sample.known === 0) return true;
  if (known.ino === found.ino && known.birthtimeNs === found.birthtimeNs) return true;
  return sample.present * 2 >= sample.known;
}
