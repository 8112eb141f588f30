// One directory: its packed listing is compared byte for byte with the record, and only what differs
// is decoded and turned into changes.
import { depthMax } from '../limits.ts';
import { diff } from '../snapshot/diff.ts';
import type { NodeId } from '../snapshot/entry.ts';
import type { IgnoreRules } from '../snapshot/ignore.ts';
import { directoriesOf, type Seen, SeenWriter, seenBytes } from '../snapshot/listing.ts';
import type { Name } from '../snapshot/name.ts';
import { below, type SourceListing } from '../tree/source-listing.ts';
import type { Deletes } from './deletes.ts';
import type { FoundFolder, KnownFolder } from './folder-table.ts';
import type { MountGuard } from './mount-guard.ts';
import type { NodeChanges } from './node-changes.ts';
import type { Rereads } from './rereads.ts';
import type { Folder, ScanState } from './scan-state.ts';
import type { Visibility, Visible } from './visibility.ts';

/** The parts of the scanner that a directory's differences go to. */
export interface ScanParts {
  readonly visibility: Visibility;
  readonly mounts: MountGuard;
  readonly changes: NodeChanges;
  readonly rereads: Rereads;
  readonly deletes: Deletes;
}

export interface Scanned {
  readonly isChanged: boolean;
  /** Directories in it that can be descended into. */
  readonly folders: readonly FoundFolder[];
  /** Files beyond --max-size. */
  readonly tooLargeCount: number;
}

export class DirectoryScan {
  readonly #state: ScanState;
  readonly #parts: ScanParts;
  readonly #writer = new SeenWriter();

  constructor(state: ScanState, parts: ScanParts) {
    this.#state = state;
    this.#parts = parts;
  }

  /**
   * undefined: the directory is not, or no longer, where it was thought to be; or its rules cannot be
   * read, which is reported.
   */
  compare(folder: KnownFolder, listing: SourceListing): Scanned | undefined {
    const { findings } = this.#state;
    for (const problem of listing.unreadable.values()) findings.report(problem);
    const { visibility, deletes, rereads } = this.#parts;
    const rules = visibility.rulesIn(folder, listing);
    if (rules === undefined) return undefined;
    const visible = visibility.visible(folder, listing, rules);
    const bytes = visible === undefined ? listing.bytes : this.#pack(visible.seen);
    const isSame = this.#isUnchanged(folder.id, bytes);
    if (!isSame && !this.#isInPlace(folder)) return undefined;
    deletes.relist(folder.id);
    const seen = (): readonly Seen[] => visible?.seen ?? listing.seen;
    const isChanged = !isSame && this.#differences(folder, listing, seen(), visible) > 0;
    if (rereads.isInterested) rereads.visit(folder, seen());
    const folders = this.#foldersIn(folder, seen, rules, isSame);
    return { isChanged, folders, tooLargeCount: visible?.tooLarge.size ?? 0 };
  }

  /** Hands out what differs; returns in how many names. */
  #differences(
    folder: Folder,
    listing: SourceListing,
    seen: readonly Seen[],
    visible: Visible | undefined,
  ): number {
    const { changes, deletes } = this.#parts;
    const { deleteExcluded } = this.#state.options;
    let count = 0;
    for (const difference of diff(this.#state.observed.listing(folder.id), seen)) {
      count++;
      switch (difference.kind) {
        case 'new':
          changes.created(folder, difference.seen, undefined);
          break;
        case 'changed':
          deletes.noteBack(folder, difference.known);
          changes.updated(folder, difference.seen);
          break;
        case 'gone':
          if (listing.unreadable.has(difference.known.name)) break;
          if (visible?.hidden.has(difference.known.name) === true && !deleteExcluded) break;
          // Not sent, and nothing is done to what the replica has there: as rsync does.
          if (visible?.tooLarge.has(difference.known.name) === true) {
            count--;
            break;
          }
          deletes.note(folder, difference.known);
          break;
        case 'replaced':
          if (difference.known.entry.kind === 'directory') {
            deletes.note(folder, difference.known, difference.seen);
          } else changes.created(folder, difference.seen, difference.known);
          break;
      }
    }
    return count;
  }

  /** A rename that was handed out, or a change taken back, may have moved or removed its record. */
  #isInPlace({ id, parent, name }: KnownFolder): boolean {
    if (parent === undefined) return true;
    const place = this.#state.observed.placeOfDirectory(id);
    return place?.parent === parent.id && place.name === name;
  }

  #pack(seen: readonly Seen[]): Buffer {
    this.#writer.reset();
    for (const one of seen) this.#writer.write(one);
    return this.#writer.bytes();
  }

  #isUnchanged(id: NodeId, bytes: Buffer): boolean {
    if (this.#state.observed.hasPending(id)) return false;
    let offset = 0;
    for (const page of this.#state.store.pages(id)) {
      const recorded = seenBytes(page);
      const part = bytes.subarray(offset, offset + recorded.length);
      if (!part.equals(recorded)) return false;
      offset += recorded.length;
    }
    return offset === bytes.length;
  }

  #foldersIn(
    folder: KnownFolder,
    seen: () => readonly Seen[],
    rules: IgnoreRules,
    isSame: boolean,
  ): FoundFolder[] {
    const { findings, store, observed, options } = this.#state;
    const { mounts } = this.#parts;
    const depth = folder.depth + 1;
    const found = isSame
      ? store.pages(folder.id).flatMap(directoriesOf)
      : observed.directoriesIn(folder.id, seen());
    if (found.length === 0) return [];
    if (depth > depthMax) {
      findings.problem(folder.path, 'ENAMETOOLONG', `deeper than ${depthMax} levels; skipped`);
      return [];
    }
    const seenAs = new Map<Name, Seen>();
    for (const one of seen()) if (one.kind === 'directory') seenAs.set(one.name, one);
    mounts.completeLinkCounts(folder.id, found, seenAs);
    const folders: FoundFolder[] = [];
    for (const { name, entry, nlink } of found) {
      const one = seenAs.get(name);
      if (one === undefined) continue;
      if (nlink !== one.nlink && mounts.looksUnmounted(folder, entry.id, one)) continue;
      const path = below(folder.path, name);
      const device = mounts.deviceOf(folder, path, one.nlink);
      if (options.oneFileSystem === true && device !== folder.device) continue;
      const mark = { mtimeNs: one.mtimeNs, ctimeNs: one.ctimeNs, ino: one.ino, dev: device };
      folders.push({ id: entry.id, name, path, rules, depth, device, mark });
    }
    return folders;
  }
}
