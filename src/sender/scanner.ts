// The sweep: every directory is listed, its packed listing compared byte for byte with the record,
// and only what differs is decoded and turned into changes. Runs in a worker; it owns the snapshot
// store. Two layers: the store is the confirmed one, `Observed` what lies on top of it.

import { depthMax } from '../limits.ts';
import { diff } from '../snapshot/diff.ts';
import { type NodeId, rootId } from '../snapshot/entry.ts';
import { IgnoreRules } from '../snapshot/ignore.ts';
import { directoriesOf, type Seen, SeenWriter, seenBytes } from '../snapshot/listing.ts';
import type { SnapshotStore } from '../store/snapshot-store.ts';
import { below, type SourceListing } from '../tree/source-listing.ts';
import type { RootState, Slice, SweepSummary } from './change.ts';
import { clockMs } from './clock.ts';
import { ConfirmedLayer } from './confirmed.ts';
import { Deletes } from './deletes.ts';
import { Findings } from './findings.ts';
import { MountGuard } from './mount-guard.ts';
import { NodeChanges } from './node-changes.ts';
import { Observed } from './observed.ts';
import { Rereads } from './rereads.ts';
import { RootGuard } from './root-guard.ts';
import type { ScanOptions } from './scan-options.ts';
import { type Folder, listFolder, type ScanState } from './scan-state.ts';
import { Visibility } from './visibility.ts';

export class Scanner {
  readonly #state: ScanState;
  readonly #root: RootGuard;
  readonly #visibility: Visibility;
  readonly #mounts: MountGuard;
  readonly #changes: NodeChanges;
  readonly #looks: Rereads;
  readonly #deletes: Deletes;
  readonly #writer = new SeenWriter();
  #sweep: Generator<undefined, SweepSummary> | undefined;

  constructor(store: SnapshotStore, options: ScanOptions) {
    const confirmed = new ConfirmedLayer(store);
    const observed = new Observed(confirmed);
    const findings = new Findings();
    const accepted = options.acceptDeletes;
    this.#state = { store, options, confirmed, observed, findings, accepted };
    this.#root = new RootGuard(this.#state);
    this.#visibility = new Visibility(this.#state);
    this.#mounts = new MountGuard(this.#state);
    this.#changes = new NodeChanges(this.#state, this.#mounts);
    this.#looks = new Rereads(this.#state, this.#changes);
    this.#deletes = new Deletes(this.#state, this.#root, this.#changes);
  }

  get confirmed(): ConfirmedLayer {
    return this.#state.confirmed;
  }

  get observed(): Observed {
    return this.#state.observed;
  }

  /** Drops the observed layer and any sweep under way: what was queued will be found again. */
  reset(): void {
    this.#sweep = undefined;
    this.#state.observed.clear();
    this.#deletes.reset();
  }

  /**
   * Goes on with the sweep (or begins one) until it has `room` changes, `budgetMs` are used up, or
   * the sweep ends.
   */
  next(room: number, budgetMs: number): Slice {
    const deadline = clockMs() + budgetMs;
    const { findings } = this.#state;
    findings.room = room;
    this.#sweep ??= this.#run();
    let summary: SweepSummary | undefined;
    do {
      const step = this.#sweep.next();
      if (step.done === true) {
        summary = step.value;
        this.#sweep = undefined;
        break;
      }
    } while (findings.changeCount < 256 && clockMs() < deadline);
    return { ...findings.take(), summary };
  }

  *#run(): Generator<undefined, SweepSummary> {
    const begunMs = clockMs();
    const { options, observed, findings } = this.#state;
    this.#deletes.begin();
    observed.beginSweep();
    findings.begin();
    const root = this.#root.open();
    if ('reason' in root) return this.#summary({ kind: 'gone', reason: root.reason }, begunMs);

    this.#looks.begin();
    let rules = IgnoreRules.none;
    if (options.exclude.length > 0) rules = rules.with('', options.exclude);
    const stack: Folder[] = [{ id: rootId, path: '', rules, depth: 0, device: root.device }];
    for (let folder = stack.pop(); folder !== undefined; folder = stack.pop()) {
      const listing = folder.depth === 0 ? root.listing : listFolder(this.#state, folder);
      if (listing !== undefined) stack.push(...this.#scan(folder, listing).reverse());
      yield;
    }
    const held = this.#deletes.release(root.emptied);
    findings.counts.deferred += observed.unprovenCount;
    return this.#summary({ kind: 'ok' }, begunMs, held);
  }

  #summary(root: RootState, begunMs: number, held: SweepSummary['held'] = undefined): SweepSummary {
    return { ...this.#state.findings.counts, root, held, ms: clockMs() - begunMs };
  }

  /** Compares one listing with the records; returns the directories to go on with. */
  #scan(folder: Folder, listing: SourceListing): Folder[] {
    this.#state.findings.counts.directories++;
    this.#state.findings.counts.entries += listing.seen.length;
    this.#state.findings.counts.special += listing.special.length;
    for (const problem of listing.unreadable.values()) this.#state.findings.report(problem);
    const rules = this.#visibility.rulesIn(folder, listing);
    const { seen, hidden } = this.#visibility.visible(folder, listing, rules);

    const unchanged = listing.unreadable.size === 0 && this.#isUnchanged(folder.id, seen);
    if (!unchanged) {
      const known = this.#state.observed.listing(folder.id);
      for (const difference of diff(known, seen)) {
        switch (difference.kind) {
          case 'new':
            this.#changes.created(folder, difference.seen, undefined);
            break;
          case 'changed':
            this.#changes.updated(folder, difference.seen);
            break;
          case 'gone':
            if (listing.unreadable.has(difference.known.name)) break;
            if (hidden.has(difference.known.name) && !this.#state.options.deleteExcluded) break;
            this.#deletes.note(folder, difference.known);
            break;
          case 'replaced':
            if (difference.known.entry.kind === 'directory') {
              this.#deletes.note(folder, difference.known, difference.seen);
            } else {
              this.#changes.created(folder, difference.seen, difference.known);
            }
            break;
        }
      }
    }
    this.#looks.visit(folder, seen);
    return this.#foldersIn(folder, seen, rules, unchanged);
  }

  #isUnchanged(id: NodeId, seen: readonly Seen[]): boolean {
    if (this.#state.observed.hasPending(id)) return false;
    const writer = this.#writer;
    writer.reset();
    for (const one of seen) writer.write(one);
    const bytes = writer.bytes();
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
    folder: Folder,
    seen: readonly Seen[],
    rules: IgnoreRules,
    unchanged: boolean,
  ): Folder[] {
    const depth = folder.depth + 1;
    const found = unchanged
      ? this.#state.store.pages(folder.id).flatMap(directoriesOf)
      : this.#state.observed.directoriesIn(folder.id, seen);
    if (found.length > 0 && depth > depthMax) {
      this.#state.findings.problem(
        folder.path,
        'ENAMETOOLONG',
        `deeper than ${depthMax} levels; skipped`,
      );
      return [];
    }
    const seenAs = new Map(seen.map(one => [one.name, one]));
    this.#mounts.completeLinkCounts(folder.id, found, seenAs);
    return found
      .filter(({ name, id }) => !this.#mounts.looksUnmounted(folder, id, seenAs.get(name)))
      .map(({ name, id }) => {
        const path = below(folder.path, name);
        const device = this.#mounts.deviceOf(folder, path, seenAs.get(name)?.nlink);
        return { id, path, rules, depth, device };
      });
  }
}
