// Mount points in the source: an unmounted file system is missing, not deleted.
import type { NodeId } from '../snapshot/entry.ts';
import type { Known, Seen } from '../snapshot/listing.ts';
import type { Name } from '../snapshot/name.ts';
import { below } from '../tree/source-listing.ts';
import { type Folder, isSameInode, listFolder, type ScanState, statQuietly } from './scan-state.ts';

export class MountGuard {
  readonly #state: ScanState;

  constructor(state: ScanState) {
    this.#state = state;
  }

  /** Device of a subdirectory: its parent's, unless it is a mount point. */
  deviceOf(folder: Folder, path: string, nlink: number | undefined): bigint {
    return nlink === 2
      ? (statQuietly(this.#state.source, path)?.dev ?? folder.device)
      : folder.device;
  }

  /** What was taken over from the receiver does not say which directories are mount points. */
  completeLinkCounts(
    parent: NodeId,
    found: readonly Known[],
    seenAs: ReadonlyMap<Name, Seen>,
  ): void {
    const complete: Known[] = [];
    for (const { name, nlink } of found) {
      if (nlink !== 0) continue;
      const known = this.#state.confirmed.find(parent, name);
      const seen = seenAs.get(name);
      if (known?.nlink !== 0 || seen === undefined || !isSameInode(known.entry, seen)) continue;
      complete.push({ ...known, nlink: seen.nlink });
    }
    if (complete.length > 0) this.#state.confirmed.setLinkCounts(parent, complete);
  }

  /**
   * A directory that was a mount point and is none now (or the other way round), and shows none of
   * the names known in it: a file system is missing, not deleted. Where it is not known whether it
   * was one, any other directory in its place counts.
   */
  looksUnmounted(folder: Folder, id: NodeId, seen: Seen | undefined): boolean {
    if (seen === undefined || this.#state.accepted) return false;
    // With -x it is not gone into, whatever is mounted there.
    if (this.#state.options.oneFileSystem === true && seen.nlink === 2) return false;
    const known = this.#state.observed.find(folder.id, seen.name);
    if (known === undefined || known.nlink === seen.nlink) return false;
    if (known.nlink === 0 && isSameInode(known.entry, seen)) return false;
    const path = below(folder.path, seen.name);
    const listing = listFolder(this.#state, { ...folder, path });
    if (listing === undefined) return true;
    // The receiver found it there (--adopt, lost state) and no sender ever saw it: it is a mount
    // point without its file system only if nothing is in it.
    if (known.entry.stamp.ino === 0n && listing.seen.length > 0) return false;
    const names = new Set(listing.seen.map(one => one.name));
    const before = this.#state.observed.listing(id);
    if (before.length === 0 || before.some(one => names.has(one.name))) return false;
    this.#state.findings.problem(
      path,
      'ENXIO',
      'a file system is not mounted here, or covers it; left as it was',
    );
    return true;
  }
}
