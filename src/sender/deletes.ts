// What was found gone. It is judged and handed out only when every directory was looked at after
// that, by the sweep or by its times: what moved elsewhere is known as a rename by then.
import type { NodeId } from '../snapshot/entry.ts';
import { judge } from '../snapshot/guard.ts';
import type { Known, Seen } from '../snapshot/listing.ts';
import type { Name } from '../snapshot/name.ts';
import { below, kindOf, seenOfStats } from '../tree/source-listing.ts';
import type { SweepSummary } from './change.ts';
import type { NodeChanges } from './node-changes.ts';
import { PeakCount } from './peak-count.ts';
import type { RootGuard } from './root-guard.ts';
import type { Folder, ScanState } from './scan-state.ts';
import { isTooLarge } from './visibility.ts';

interface Gone {
  readonly folder: Folder;
  readonly known: Known;
  /** What took the name, when that is another kind of entry. */
  readonly seen: Seen | undefined;
  /** The pass and the round of the sweep in which it was found. */
  readonly pass: number;
  readonly round: number;
}

/** What a user says of held deletes, or ('undo') of those that were rejected. */
export type Verdict = 'approve' | 'reject' | 'undo';

/** Rejected deletes that are remembered; beyond them the oldest are held anew. */
const rejectedMax = 1_000_000;

/**
 * What was done before deletes are released. 'whole': one sweep listed every directory. 'pass': the
 * times of every directory were looked at, and those that moved listed; 'round': every directory
 * was listed when its turn came. These two prove it only of what was found gone before they began.
 */
export type Looked = 'whole' | 'pass' | 'round';

export class Deletes {
  readonly #state: ScanState;
  readonly #root: RootGuard;
  readonly #changes: NodeChanges;
  /** By the directory that lacks them, as its last listing has it. */
  readonly #gone = new Map<NodeId, Gone[]>();
  /** Entries below a directory whose delete is held; counting walks the records. */
  readonly #countsBelow = new Map<NodeId, number>();
  /** Of the directory being listed, as the listing before had it. */
  #earlier: ReadonlyMap<NodeId, Gone> = new Map();
  #pass = 0;
  #round = 0;
  #held: SweepSummary['held'];
  /** What is held: a look under way finds it anew, together with what nobody was told of. */
  #heldOnes: readonly Gone[] = [];
  readonly #peak = new PeakCount();
  /** Something was found gone, or found again, since the last verdict. */
  #isMoved = false;
  /** Names whose delete is not judged any more, and the nodes they had, until it is handed out. */
  readonly #approved = new Map<string, NodeId>();
  /** Names whose delete was rejected, and the nodes they had; until the process ends. */
  readonly #rejected = new Map<string, NodeId>();
  #wantsSweep = false;

  constructor(state: ScanState, root: RootGuard, changes: NodeChanges) {
    this.#state = state;
    this.#root = root;
    this.#changes = changes;
  }

  get held(): SweepSummary['held'] {
    return this.#held;
  }

  /** Paths (latin1) of names whose delete is held, at most `limit`: of a directory only its own. */
  heldPaths(limit: number): string[] {
    return this.#heldOnes
      .slice(0, limit)
      .map(({ folder, known }) => below(folder.path, known.name));
  }

  /** Names whose delete was rejected. */
  get rejectedCount(): number {
    return this.#rejected.size;
  }

  /** Names that were passed over are to be found gone again: that takes a look at every directory. */
  get wantsSweep(): boolean {
    return this.#wantsSweep;
  }

  /** Names found gone whose delete is neither handed out nor held. */
  get waitingCount(): number {
    if (this.#held !== undefined) return 0;
    let count = 0;
    for (const gone of this.#gone.values()) count += gone.length;
    return count;
  }

  /**
   * Deletes that are held now, and no others, are handed out by the next looks ('approve'), or those
   * names stay at the replica ('reject'). Returns how many deletes were held; of 'undo', how many
   * names are judged anew.
   */
  decide(verdict: Verdict): number {
    if (verdict === 'undo') return this.#unreject();
    const count = this.#held?.count ?? 0;
    if (count === 0) return 0;
    this.#isMoved = true;
    if (verdict === 'approve') {
      this.#approve(this.#heldOnes);
      return count;
    }
    for (const { folder, known } of this.#heldOnes) {
      this.#rejected.set(placeKey(folder.id, known.name), known.entry.id);
    }
    for (const oldest of this.#rejected.keys()) {
      if (this.#rejected.size <= rejectedMax) break;
      this.#rejected.delete(oldest);
    }
    for (const [folder, gone] of this.#gone) {
      this.#gone.set(
        folder,
        gone.filter(one => !this.isRejected(folder, one.known)),
      );
    }
    this.#held = undefined;
    this.#heldOnes = [];
    return count;
  }

  #unreject(): number {
    const count = this.#rejected.size;
    this.#rejected.clear();
    this.#wantsSweep ||= count > 0;
    return count;
  }

  #approve(gone: readonly Gone[]): void {
    for (const { folder, known } of gone) {
      this.#approved.set(placeKey(folder.id, known.name), known.entry.id);
    }
  }

  #isApproved({ folder, known }: Gone): boolean {
    if (this.#approved.size === 0) return false;
    return this.#approved.get(placeKey(folder.id, known.name)) === known.entry.id;
  }

  isRejected(folder: NodeId, { name, entry }: Known): boolean {
    if (this.#rejected.size === 0) return false;
    return this.#rejected.get(placeKey(folder, name)) === entry.id;
  }

  /** The name is at the source again: what was said of its delete counts no more. */
  noteBack(folder: Folder, known: Known): void {
    if (this.isRejected(folder.id, known)) this.#rejected.delete(placeKey(folder.id, known.name));
  }

  reset(): void {
    this.#gone.clear();
    this.#countsBelow.clear();
    this.#held = undefined;
    this.#heldOnes = [];
  }

  /** A sweep of the whole tree finds everything anew. */
  beginWhole(): void {
    this.#wantsSweep = false;
    this.#gone.clear();
    this.#earlier = new Map();
  }

  beginPass(): void {
    this.#pass++;
  }

  beginRound(): void {
    this.#round++;
  }

  /** A directory is listed anew: what was missing in it may be there again. */
  relist(folder: NodeId): void {
    this.#earlier = new Map(this.#gone.get(folder)?.map(one => [one.known.entry.id, one]));
    if (this.#gone.delete(folder)) this.#isMoved = true;
  }

  /** The name is not there, or `seen`, which is another kind of entry, took it. */
  note(folder: Folder, known: Known, seen?: Seen): void {
    if (!this.#state.options.delete || this.isRejected(folder.id, known)) return;
    const gone = this.#gone.get(folder.id) ?? [];
    const earlier = this.#earlier.get(known.entry.id);
    const isSame = earlier?.known.name === known.name;
    const { pass, round } = isSame ? earlier : { pass: this.#pass, round: this.#round };
    gone.push({ folder, known, seen, pass, round });
    this.#gone.set(folder.id, gone);
    this.#isMoved = true;
  }

  /** Judges what was found gone, and hands out the deletes that are allowed. */
  release(rootEmptied: boolean, looked: Looked): void {
    const { entryCount } = this.#state.confirmed;
    const peakCount = this.#peak.note(entryCount);
    if (this.#gone.size === 0) {
      this.#held = undefined;
      this.#heldOnes = [];
      this.#approved.clear();
      if (looked === 'whole') this.#state.accepted = false;
      return;
    }
    // Walking thousands of held deletes at each tick would find the same again.
    if (this.#held !== undefined && !this.#isMoved && looked === 'pass') return;
    const gone = [...this.#gone.values()].flat().filter(one => this.#isGone(one));
    this.#gone.clear();
    this.#isMoved = false;
    const inside = new Set(gone.map(one => one.known.entry.id));
    for (const id of this.#countsBelow.keys()) if (!inside.has(id)) this.#countsBelow.delete(id);
    // What was accepted is what is gone now, however many looks handing it out takes.
    if (this.#state.accepted) this.#approve(gone);
    if (looked === 'whole') this.#state.accepted = false;
    const judged = gone.filter(one => !this.#isApproved(one));
    let deleteCount = 0;
    for (const { known } of judged) deleteCount += 1 + this.#countBelow(known);
    const verdict = judge({
      deleteCount,
      entryCount,
      peakCount,
      rootEmptied,
      maxDelete: this.#state.options.maxDelete,
    });
    const isHeld = verdict.kind === 'hold';
    this.#held = isHeld ? { count: deleteCount, reason: verdict.reason } : undefined;
    this.#heldOnes = isHeld ? judged : [];
    const isStill = gone.length === 0 || this.#root.isStill();
    let approvedCount = 0;
    const rest = gone.filter(one => {
      const isApproved = this.#isApproved(one);
      const isAllowed = isStill && (!isHeld || isApproved);
      if (!isAllowed || !this.#handOut(one, looked)) return true;
      if (isApproved) approvedCount += 1 + this.#countBelow(one.known);
      return false;
    });
    if (approvedCount > 0) this.#peak.lower(approvedCount, entryCount);
    const stillApproved = rest.filter(one => this.#isApproved(one));
    this.#approved.clear();
    this.#approve(stillApproved);
    for (const one of rest) {
      this.#gone.set(one.folder.id, [...(this.#gone.get(one.folder.id) ?? []), one]);
    }
  }

  #handOut(one: Gone, looked: Looked): boolean {
    if (looked === 'pass' && one.pass === this.#pass) return false;
    if (looked === 'round' && one.round === this.#round) return false;
    if (this.#state.observed.isRefused(one.folder.id, one.known.name)) {
      this.#state.findings.pause();
      return false;
    }
    if (!this.#state.findings.hasRoom()) return false;
    if (one.seen !== undefined) this.#changes.created(one.folder, one.seen, one.known);
    else this.#remove(one.folder, one.known);
    return true;
  }

  /** Still gone, or still another kind of entry, and not renamed to elsewhere meanwhile? */
  #isGone({ folder, known, seen }: Gone): boolean {
    if (this.#state.observed.find(folder.id, known.name)?.entry.id !== known.entry.id) {
      // It was renamed. What took its name was not handed out: there has to be another look.
      if (seen !== undefined) this.#state.findings.defer();
      return false;
    }
    try {
      const path = below(folder.path, known.name);
      const stats = this.#state.source.stat(path);
      if (seen !== undefined) {
        return stats !== undefined && seenOfStats(known.name, stats)?.kind === seen.kind;
      }
      // An entry that is there but hidden (--delete-excluded) or special now counts as gone.
      if (stats !== undefined) {
        const { maxSize = Number.POSITIVE_INFINITY, deleteExcluded } = this.#state.options;
        const now = seenOfStats(known.name, stats);
        return now === undefined || (deleteExcluded && !isTooLarge(now, maxSize));
      }
      const parent = this.#state.source.stat(folder.path);
      // On another device it is another directory: something was unmounted, or mounted over it.
      return parent !== undefined && kindOf(parent) === 'directory' && parent.dev === folder.device;
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
    const { id } = known.entry;
    const token = this.#state.observed.queue([{ ...place, known: undefined, id }]);
    this.#state.findings.hand({
      kind: 'remove',
      token,
      path: below(folder.path, known.name),
      ...place,
      id,
      isDirectory: known.entry.kind === 'directory',
    });
  }
}

function placeKey(folder: NodeId, name: Name): string {
  return `${folder}/${name}`;
}
