// What a sweep found gone, judged and handed out at its end: by then every directory was looked at,
// and what moved elsewhere is known as a rename.
import type { NodeId } from '../snapshot/entry.ts';
import { judge } from '../snapshot/guard.ts';
import type { Known, Seen } from '../snapshot/listing.ts';
import type { Name } from '../snapshot/name.ts';
import { below, seenOfStats, statSource } from '../tree/source-listing.ts';
import type { SweepSummary } from './change.ts';
import type { NodeChanges } from './node-changes.ts';
import type { RootGuard } from './root-guard.ts';
import type { Folder, ScanState } from './scan-state.ts';

interface Gone {
  readonly folder: Folder;
  readonly known: Known;
  /** What took the name, when that is another kind of entry. */
  readonly seen: Seen | undefined;
}

export class Deletes {
  readonly #state: ScanState;
  readonly #root: RootGuard;
  readonly #changes: NodeChanges;
  #gone: Gone[] = [];
  /** Entries below a directory whose delete is held; counting walks the records. */
  readonly #countsBelow = new Map<NodeId, number>();

  constructor(state: ScanState, root: RootGuard, changes: NodeChanges) {
    this.#state = state;
    this.#root = root;
    this.#changes = changes;
  }

  begin(): void {
    this.#gone = [];
  }

  reset(): void {
    this.#countsBelow.clear();
  }

  /** The name is not there, or `seen`, which is another kind of entry, took it. */
  note(folder: Folder, known: Known, seen?: Seen): void {
    this.#gone.push({ folder, known, seen });
  }

  /** Judges what the sweep found gone, and hands out the deletes that are allowed. */
  release(rootEmptied: boolean): SweepSummary['held'] {
    if (!this.#state.options.delete) return undefined;
    const gone = this.#gone.filter(one => this.#isGone(one));
    const inside = new Set(gone.map(one => one.known.entry.id));
    for (const id of this.#countsBelow.keys()) if (!inside.has(id)) this.#countsBelow.delete(id);
    let deleteCount = 0;
    for (const { known } of gone) deleteCount += 1 + this.#countBelow(known);
    const verdict = judge({
      deleteCount,
      entryCount: this.#state.confirmed.entryCount,
      rootEmptied,
      maxDelete: this.#state.options.maxDelete,
      accepted: this.#state.accepted,
    });
    if (verdict.kind === 'hold') return { count: deleteCount, reason: verdict.reason };
    if (gone.length > 0 && !this.#root.isStill()) return undefined;
    for (const one of gone) {
      if (!this.#state.findings.hasRoom()) continue;
      if (one.seen !== undefined) this.#changes.created(one.folder, one.seen, one.known);
      else this.#remove(one.folder, one.known);
    }
    if (gone.length > 0) this.#state.accepted = false;
    return undefined;
  }

  /** Still gone, or still another kind of entry, and not renamed to elsewhere meanwhile? */
  #isGone({ folder, known, seen }: Gone): boolean {
    if (this.#state.observed.find(folder.id, known.name)?.entry.id !== known.entry.id) return false;
    try {
      const path = below(folder.path, known.name);
      const stats = statSource(this.#state.options.root, path);
      if (seen !== undefined) {
        return stats !== undefined && seenOfStats(known.name, stats)?.kind === seen.kind;
      }
      // An entry that is there but hidden (--delete-excluded) or special now counts as gone.
      if (stats !== undefined)
        return this.#state.options.deleteExcluded || isSpecial(known.name, stats);
      return statSource(this.#state.options.root, folder.path)?.isDirectory() === true;
    } catch {
      return false; // An error is no evidence.
    }
  }

  #countBelow(known: Known): number {
    if (known.entry.kind !== 'directory') return 0;
    const counted = this.#countsBelow.get(known.entry.id);
    if (counted !== undefined) return counted;
    const count = this.#state.confirmed.countBelow(known.entry.id);
    this.#countsBelow.set(known.entry.id, count);
    return count;
  }

  #remove(folder: Folder, known: Known): void {
    const place = { parent: folder.id, name: known.name };
    const token = this.#state.observed.queue([{ ...place, known: undefined }]);
    this.#state.findings.hand({
      kind: 'remove',
      token,
      path: below(folder.path, known.name),
      ...place,
      id: known.entry.id,
      isDirectory: known.entry.kind === 'directory',
    });
  }
}

function isSpecial(name: Name, stats: NonNullable<ReturnType<typeof statSource>>): boolean {
  return seenOfStats(name, stats) === undefined;
}
