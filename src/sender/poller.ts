// Where to look in one tick. Where the whole tree costs next to nothing, it is swept.
// Otherwise a tick (1) looks at the times of known directories and lists those that moved: names
// that came, went or were replaced; (2) lists directories that changed lately, in which files are
// edited in place; (3) goes on with a rolling sweep, in which an edit anywhere else is seen, as fast
// as sweep-pace.ts says and what is left of the budget allows. Where directories' times cannot be believed, the sweep alone is the truth.
import { systemCode } from '../errors.ts';
import { rootId } from '../snapshot/entry.ts';
import type { IgnoreRules } from '../snapshot/ignore.ts';
import type { Name } from '../snapshot/name.ts';
import {
  kindOf,
  type SourceListing,
  type SourceStats,
  seenOfStats,
} from '../tree/source-listing.ts';
import type { PollFigures } from './change.ts';
import { clockMs } from './clock.ts';
import type { Deletes } from './deletes.ts';
import type { DirectoryScan } from './directory-scan.ts';
import { FolderTable, type KnownFolder } from './folder-table.ts';
import { HotFolders } from './hot-folders.ts';
import type { NodeChanges } from './node-changes.ts';
import type { OpenRoot, RootGuard } from './root-guard.ts';
import { listFolder, type ScanState } from './scan-state.ts';
import type { Stopwatch } from './stopwatch.ts';
import { SweepPace } from './sweep-pace.ts';

/** Shares of a tick's budget; the rest, and what these leave, is the sweep's. */
const passShare = 0.6;
const hotShare = 0.2;
/** A hot directory that is listed in this time is never too large. */
const hotCostMinMs = 2;
/** Directories whose times are asked for together. */
const passStep = 64;

export interface PollerParts {
  readonly scan: DirectoryScan;
  readonly root: RootGuard;
  readonly deletes: Deletes;
  readonly changes: NodeChanges;
  /** Of the tick. */
  readonly watch: Stopwatch;
}

export class Poller {
  readonly #state: ScanState;
  readonly #parts: PollerParts;
  readonly #table = new FolderTable();
  readonly #hot = new HotFolders();
  #root: KnownFolder | undefined;
  /** The table holds the whole tree, and all that was found could be handed out. */
  #isComplete = false;
  #tick = 0;
  /** Number of the sweep under way; directories know which one listed them last. */
  #round = 0;
  #roundSlot = 0;
  #roundBegunMs = clockMs();
  #sweepPeriodMs = 0;
  readonly #pace: SweepPace;
  #passSlot = 0;
  #passBegunMs = clockMs();
  #passPeriodMs = 0;
  /** Settled directories whose names changed while their times, so far, did not. */
  readonly #doubted = new Set<KnownFolder>();
  #timesLie = false;

  constructor(state: ScanState, parts: PollerParts) {
    this.#state = state;
    this.#parts = parts;
    this.#pace = new SweepPace(state.options.pace);
  }

  get entryCount(): number {
    return this.#table.entryCount;
  }

  get specialCount(): number {
    return this.#table.specialCount;
  }

  get tooLargeCount(): number {
    return this.#table.tooLargeCount;
  }

  get figures(): PollFigures {
    return {
      directories: this.#table.size,
      hotDirectories: this.#hot.size,
      sweepPeriodMs: Math.max(this.#sweepPeriodMs, clockMs() - this.#roundBegunMs),
      sweepCostMs: Number.isFinite(this.#pace.costMs) ? this.#pace.costMs : 0,
      passPeriodMs: this.#passPeriodMs,
      timesLie: this.#timesLie,
    };
  }

  /** Forgets the tree: the next tick sweeps all of it. */
  reset(): void {
    this.#table.clear();
    this.#hot.clear();
    this.#doubted.clear();
    this.#root = undefined;
    this.#isComplete = false;
  }

  /** Is the tick to sweep the whole tree? */
  fits(budgetMs: number): boolean {
    if (!this.#isComplete || budgetMs === Number.POSITIVE_INFINITY) return true;
    return this.#pace.isEachTick && this.#pace.costMs <= budgetMs;
  }

  mustListRoot(stats: SourceStats, budgetMs: number): boolean {
    if (this.#root === undefined || this.fits(budgetMs)) return true;
    switch (this.#table.mark(this.#root, stats, clockMs())) {
      case 'same':
        return false;
      case 'another':
        this.reset();
        return true;
      case 'moved':
        this.#hot.addUrgent(this.#root);
        return true;
    }
  }

  // -- the whole tree ---------------------------------------------------------------------------

  *sweep(root: OpenRoot, rules: IgnoreRules): Generator<undefined, void> {
    const { observed } = this.#state;
    const { deletes } = this.#parts;
    observed.beginSweep();
    observed.takeTouched();
    deletes.beginWhole();
    this.#tick++;
    this.#round++;
    this.#pace.beginRound();
    const device = root.stats.dev;
    if (this.#root?.device !== device || this.#root.rules !== rules) this.reset();
    this.#root ??= this.#table.addRoot({ id: rootId, path: '', rules, depth: 0, device });
    this.#table.mark(this.#root, root.stats, clockMs());
    const isWhole = true;
    yield* this.#visit([this.#root], { isWhole, rootListing: root.listing });
    this.#table.dropBefore(this.#round);
    deletes.release(this.#parts.root.isEmptied, 'whole');
    this.#endRound(isWhole);
    // What there is no room for is found by sweeping again, not by looking into its directories.
    this.#isComplete = !this.#state.findings.isFull;
    this.#passSlot = 0;
  }

  // -- parts of it ------------------------------------------------------------------------------

  *look(root: OpenRoot, budgetMs: number): Generator<undefined, void> {
    const { deletes, watch } = this.#parts;
    this.#tick++;
    for (const id of this.#state.observed.takeTouched()) {
      const folder = this.#table.get(id);
      if (folder !== undefined) this.#hot.addUrgent(folder);
    }
    const isPassed = yield* this.#pass(watch.ms + budgetMs * passShare);
    yield* this.#visitUrgent(root.listing);
    yield* this.#visitHot(budgetMs * hotShare);
    if (isPassed && !this.#timesLie) deletes.release(this.#parts.root.isEmptied, 'pass');
    yield* this.#sweepOn(budgetMs);
    const { counts, isFull } = this.#state.findings;
    counts.deferred += this.#hot.deferredCount + deletes.waitingCount;
    if (isFull) this.#isComplete = false;
  }

  /** Goes on with the look at the times of all directories; true when the last one was reached. */
  *#pass(untilMs: number): Generator<undefined, boolean> {
    if (this.#passSlot === 0) {
      this.#state.observed.beginSweep();
      this.#parts.deletes.beginPass();
      this.#passPeriodMs = clockMs() - this.#passBegunMs;
      this.#passBegunMs = clockMs();
    }
    while (this.#passSlot < this.#table.slotCount) {
      const folders: KnownFolder[] = [];
      while (this.#passSlot < this.#table.slotCount && folders.length < passStep) {
        const folder = this.#table.at(this.#passSlot++);
        // The root was looked at when the tick began.
        if (folder?.parent !== undefined) folders.push(folder);
      }
      const stats = this.#state.source.statAll(folders.map(folder => folder.path));
      for (const [i, folder] of folders.entries()) this.#check(folder, stats[i]);
      yield;
      const isLast = this.#passSlot >= this.#table.slotCount;
      if (!isLast && this.#parts.watch.ms >= untilMs) return false;
    }
    this.#passSlot = 0;
    return true;
  }

  /** Looks at a directory's times. */
  #check(folder: KnownFolder, stats: SourceStats | Error | undefined): void {
    const { parent } = folder;
    if (parent === undefined) return;
    if (stats instanceof Error) {
      if (systemCode(stats) === undefined) throw stats;
      this.#hot.addUrgent(folder);
      return;
    }
    if (stats === undefined || kindOf(stats) !== 'directory') {
      this.#hot.addUrgent(parent);
      return;
    }
    const isDoubted = this.#doubted.delete(folder);
    switch (this.#table.mark(folder, stats, clockMs())) {
      case 'same':
        if (isDoubted) this.#timesLie = true;
        return;
      case 'another':
        // Renamed over, mounted or unmounted: its parent is to say what it is now.
        this.#hot.addUrgent(parent);
        this.#hot.addUrgent(folder);
        return;
      case 'moved':
        this.#hot.addUrgent(folder);
        this.#attributes(folder, parent, stats);
    }
  }

  /** The directory's own times and mode, which are otherwise seen when its parent is listed. */
  #attributes(folder: KnownFolder, parent: KnownFolder, stats: SourceStats): void {
    const name = folder.name as Name; // Only the root has none.
    const known = this.#state.observed.find(parent.id, name);
    const seen = seenOfStats(name, stats, parent.device);
    if (seen === undefined || known?.entry.id !== folder.id) {
      this.#hot.addUrgent(parent);
      return;
    }
    const { counts } = this.#state.findings;
    const deferredBefore = counts.deferred;
    this.#parts.changes.updated(parent, seen);
    if (counts.deferred > deferredBefore) this.#hot.addUrgent(parent);
  }

  *#visitUrgent(rootListing: SourceListing | undefined): Generator<undefined, void> {
    const folders = this.#hot.takeUrgent();
    const isRootFirst = folders[0] !== undefined && folders[0] === this.#root;
    const listing = isRootFirst ? rootListing : undefined;
    yield* this.#visit(folders, { isWhole: false, rootListing: listing });
    // What a visit made urgent: a directory that is not where it was leads to its parent.
    if (this.#hot.hasUrgent) {
      yield* this.#visit(this.#hot.takeUrgent(), { isWhole: false, rootListing: undefined });
    }
  }

  *#visitHot(limitMs: number): Generator<undefined, void> {
    const { watch } = this.#parts;
    const untilMs = watch.ms + limitMs;
    for (const folder of [...this.#hot.turn()]) {
      // One that takes long would be all that is looked at: its turn comes with the sweep.
      if (folder.tick === this.#tick || (folder.costMs ?? 0) > Math.max(limitMs, hotCostMinMs))
        continue;
      yield* this.#visit([folder], { isWhole: false, rootListing: undefined });
      if (watch.ms >= untilMs) return;
    }
  }

  /** The next slice of the rolling sweep. */
  *#sweepOn(untilMs: number): Generator<undefined, void> {
    const { watch, deletes } = this.#parts;
    while (!this.#isRoundOver()) {
      // Where times lie the sweep alone finds new names.
      if (!this.#pace.isDue(clockMs()) && !this.#timesLie) return;
      const turn = this.#nextTurn();
      yield* this.#visit(turn, { isWhole: false, rootListing: undefined, isTurn: true });
      if (watch.ms >= untilMs) return;
    }
    deletes.release(this.#parts.root.isEmptied, 'round');
    this.#endRound(false);
  }

  /** Goes to the next slot with a directory whose turn it is; true when there is none. */
  #isRoundOver(): boolean {
    for (; this.#roundSlot < this.#table.slotCount; this.#roundSlot++) {
      const folder = this.#table.at(this.#roundSlot);
      if (folder !== undefined && folder.sweep !== this.#round) return false;
    }
    return true;
  }

  /** Directories whose turn it is: one, or as many as a slow source lists side by side. */
  #nextTurn(): KnownFolder[] {
    const turn: KnownFolder[] = [];
    const count = Math.max(1, this.#state.source.lookahead);
    while (turn.length < count && !this.#isRoundOver()) {
      const folder = this.#table.at(this.#roundSlot++);
      if (folder !== undefined) turn.push(folder);
    }
    return turn;
  }

  /** Everything was listed, and is listed again from now on. */
  #endRound(isAtOnce: boolean): void {
    const nowMs = clockMs();
    this.#sweepPeriodMs = nowMs - this.#roundBegunMs;
    this.#pace.endRound(nowMs, isAtOnce);
    this.#parts.deletes.beginRound();
    this.#round++;
    this.#roundSlot = 0;
    this.#roundBegunMs = nowMs;
  }

  // -- one directory ----------------------------------------------------------------------------

  /** Lists directories, and what they lead to that was not known (`isWhole`: all of it). */
  *#visit(
    folders: readonly KnownFolder[],
    how: { isWhole: boolean; rootListing: SourceListing | undefined; isTurn?: boolean },
  ): Generator<undefined, void> {
    const stack = [...folders].reverse();
    let listing = how.rootListing;
    for (let folder = stack.pop(); folder !== undefined; folder = stack.pop()) {
      if (folder.slot < 0) continue;
      if (listing === undefined) this.#expect(folder, stack);
      this.#state.findings.visit(folder.id);
      const next = this.#visitOne(folder, listing, how);
      listing = undefined;
      for (let i = next.length - 1; i >= 0; i--) {
        const child = next[i];
        if (child !== undefined) stack.push(child);
      }
      yield;
    }
    this.#state.findings.endVisits();
  }

  /** A slow source begins to list what comes after `folder`. */
  #expect(folder: KnownFolder, stack: readonly KnownFolder[]): void {
    const { source } = this.#state;
    if (source.lookahead === 0) return;
    const next = stack.slice(-source.lookahead).reverse();
    source.expect([folder, ...next.filter(one => one.slot >= 0)]);
  }

  #visitOne(
    folder: KnownFolder,
    given: SourceListing | undefined,
    { isWhole, isTurn = false }: { isWhole: boolean; isTurn?: boolean },
  ): KnownFolder[] {
    const { counts } = this.#state.findings;
    const { deferred: deferredBefore, problems: problemsBefore } = counts;
    const nowMs = clockMs();
    const listing = given ?? listFolder(this.#state, folder);
    const isFirst = folder.sweep !== this.#round;
    folder.sweep = this.#round;
    folder.tick = this.#tick;
    let next: KnownFolder[] = [];
    let isChanged = false;
    const scanned = listing && this.#parts.scan.compare(folder, listing);
    if (listing === undefined || scanned === undefined) {
      const isReported = counts.problems > problemsBefore;
      if (listing !== undefined && !isReported) this.#state.findings.defer();
      if (folder.parent !== undefined) this.#hot.addUrgent(folder.parent);
    } else {
      counts.directories++;
      this.#table.count(folder, {
        entryCount: listing.linkCounts.length - scanned.tooLargeCount,
        specialCount: listing.special.length,
        tooLargeCount: scanned.tooLargeCount,
      });
      this.#doubt(folder, listing.namesHash, isTurn);
      next = this.#table.setChildren(folder, scanned.folders, { nowMs, isWhole });
      isChanged = scanned.isChanged;
      folder.listedMs = nowMs;
    }
    const isDeferred = counts.deferred > deferredBefore;
    const isTroubled = counts.problems > problemsBefore;
    const retry = isDeferred ? 'deferred' : isTroubled ? 'problem' : undefined;
    // The first sweep says nothing about what changes often.
    this.#hot.looked(folder, { isChanged: isChanged && this.#isComplete, retry }, nowMs);
    const costMs = clockMs() - nowMs;
    // Once the thread was not run meanwhile, or found much that is new; hardly twice in a row.
    if (isFirst) this.#pace.spend(Math.min(costMs, folder.costMs ?? costMs));
    folder.costMs = costMs;
    return next;
  }

  /**
   * Other names than before under the same times, in a directory that was listed long after its
   * times last moved: if the next look finds the times unmoved still, they lie.
   */
  #doubt(folder: KnownFolder, namesHash: number, isTurn: boolean): void {
    const isOther = folder.namesHash !== namesHash && folder.listedMs > 0;
    if (isTurn && isOther && folder.isSettled) this.#doubted.add(folder);
    folder.namesHash = namesHash;
  }
}
