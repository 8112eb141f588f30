// Files to be read again although nothing about them moved: for trust, for --checksum, because the
// receiver lacks them, or because their names belong to one file.
import { queuedChangesMax, trustAfterMs } from '../limits.ts';
import { sameSeen } from '../snapshot/diff.ts';
import type { Entry, NodeId } from '../snapshot/entry.ts';
import type { Known, Seen } from '../snapshot/listing.ts';
import type { Name } from '../snapshot/name.ts';
import type { Place } from '../store/snapshot-store.ts';
import { below, seenOfStats } from '../tree/source-listing.ts';
import { clockMs } from './clock.ts';
import type { NodeChanges } from './node-changes.ts';
import { type Folder, isSameInode, type ScanState, statQuietly } from './scan-state.ts';

/** Second looks handed out in one slice. */
const trustPerSlice = 64;

export class Rereads {
  readonly #state: ScanState;
  readonly #changes: NodeChanges;
  /** Nodes already read by this process, for --checksum. */
  readonly #checked = new Set<NodeId>();
  /** Files with several names to be sent again in this sweep, and the first name of each. */
  readonly #regrouped = new Map<NodeId, Known | undefined>();

  constructor(state: ScanState, changes: NodeChanges) {
    this.#state = state;
    this.#changes = changes;
  }

  begin(): void {
    this.#regrouped.clear();
    this.#due();
    this.#joinSplits();
  }

  /** Names of a file are to be found wherever they are: that takes a look at every directory. */
  get wantsSweep(): boolean {
    return this.#regrouped.size > 0;
  }

  /** Must `visit` be called? */
  get isInterested(): boolean {
    return this.wantsSweep || this.#state.options.checksum;
  }

  /** One directory of the sweep. */
  visit(folder: Folder, seen: readonly Seen[]): void {
    if (this.#regrouped.size > 0) this.#regroup(folder, seen);
    if (this.#state.options.checksum) this.#checkAll(folder, seen);
  }

  /** --checksum: every file is read once by this process, whatever its times say. */
  #checkAll(folder: Folder, seen: readonly Seen[]): void {
    for (const one of seen) {
      if (one.kind !== 'file') continue;
      const known = this.#state.observed.find(folder.id, one.name);
      if (known === undefined || this.#checked.has(known.entry.id)) continue;
      const isPending = this.#state.observed.isPending(folder.id, one.name);
      if (isPending || this.#state.observed.unprovenCount >= queuedChangesMax) {
        // Its turn comes with the next sweep, which there has to be.
        this.#state.findings.defer();
        continue;
      }
      this.#checked.add(known.entry.id);
      this.#state.observed.doubt(known.entry.id, { parent: folder.id, name: one.name });
    }
  }

  /** Hands out files whose content is due for the second look that makes their times trusted. */
  #due(): void {
    for (const { id, place } of this.#state.observed.takeSuspects()) this.#resend(id, place);
    for (const { id, place } of this.#state.confirmed.takeSplits()) this.#resend(id, place);
    // Those that a flush or a --once waits for are not left to the next sweeps.
    const waitedFor = Math.min(this.#state.observed.unprovenCount, queuedChangesMax);
    const limit = Math.max(trustPerSlice, waitedFor);
    for (const { id, place } of this.#state.observed.dueForTrust(clockMs(), limit)) {
      const known = this.#state.observed.find(place.parent, place.name);
      const folder = this.#state.observed.pathOf(place.parent);
      if (known?.entry.id !== id || folder === undefined) {
        this.#state.observed.trust(id);
        continue;
      }
      if (this.#state.observed.isPending(place.parent, place.name)) {
        this.#state.observed.looked(id, undefined, place);
        continue;
      }
      this.#look(below(folder, place.name), place, known);
    }
  }

  /** Makes one node of what are two names of one file. */
  #joinSplits(): void {
    const { observed, findings } = this.#state;
    for (const { place, other, known } of observed.splits()) {
      const { parent, name } = place;
      // One that is gone, or another file by now, is found by listing; its delete may be held for long.
      if (!this.#isThere(place, known.entry) || !this.#isThere(other, known.entry)) continue;
      // Until then the sweep is not quiet.
      if ([place, other].some(at => observed.isStuck(at.parent, at.name))) findings.pause();
      else findings.defer();
      const path = this.#state.observed.pathOf(parent);
      if (
        path === undefined ||
        this.#state.observed.isPending(parent, name) ||
        !this.#state.findings.hasRoom()
      )
        continue;
      const stats = statQuietly(this.#state.source, below(path, name));
      const seen = stats && seenOfStats(name, stats);
      if (seen?.kind !== 'file' || seen.nlink < 2 || !isSameInode(known.entry, seen)) continue;
      const { size, mtimeNs } = known.entry;
      if (size !== seen.size || mtimeNs !== seen.mtimeNs) continue;
      this.#changes.linkTo({ id: parent, path }, seen, known, { isNew: false });
    }
  }

  /** Has the source the inode of `entry` at the place? */
  #isThere({ parent, name }: Place, entry: Entry): boolean {
    const path = this.#state.observed.pathOf(parent);
    const stats =
      path === undefined ? undefined : statQuietly(this.#state.source, below(path, name));
    const seen = stats && seenOfStats(name, stats);
    return seen !== undefined && isSameInode(entry, seen);
  }

  #resend(id: NodeId, place: { parent: NodeId; name: Name }): void {
    const known = this.#state.observed.find(place.parent, place.name);
    const folder = this.#state.observed.pathOf(place.parent);
    if (known?.entry.id !== id || folder === undefined) return;
    const stats = statQuietly(this.#state.source, below(folder, place.name));
    const seen = stats && seenOfStats(place.name, stats);
    if (seen?.kind !== 'file') return;
    const twin = seen.nlink > 1 ? this.#changes.twin(place.parent, seen) : undefined;
    if (twin?.isSame === true && twin.known.entry.id !== id) {
      const at = { id: place.parent, path: folder };
      this.#changes.linkTo(at, seen, twin.known, { isNew: false });
    } else if (seen.nlink > 1) this.#regrouped.set(id, undefined);
    else this.#changes.file({ id: place.parent, path: folder }, seen, { id, known, isNew: false });
  }

  /** Of a file with several names the first one is sent again, the others are linked to it. */
  #regroup(folder: Folder, seen: readonly Seen[]): void {
    for (const one of seen) {
      if (one.kind !== 'file' || one.nlink < 2) continue;
      const known = this.#state.observed.find(folder.id, one.name);
      if (known === undefined || !this.#regrouped.has(known.entry.id)) continue;
      if (this.#state.observed.isPending(folder.id, one.name) || !sameSeen(known, one)) continue;
      const { id } = known.entry;
      const first = this.#regrouped.get(id);
      if (first !== undefined) this.#changes.linkTo(folder, one, first, { isNew: false });
      else {
        this.#changes.file(folder, one, { id, known, isNew: false, isFirst: true });
        this.#regrouped.set(id, this.#state.observed.find(folder.id, one.name));
      }
    }
  }

  #look(path: string, place: { parent: NodeId; name: Name }, known: Known): void {
    const { entry } = known;
    this.#state.findings.look({
      kind: 'file',
      token: 0, // Nothing is pending: a second look changes no record.
      path,
      ...place,
      entry,
      basis: this.#state.store.basis(entry.id, entry.version),
      baseVersion: entry.version,
      baseSize: entry.size,
      purpose: 'trust',
      seenMs: clockMs() - trustAfterMs,
      isNew: false,
    });
  }
}
