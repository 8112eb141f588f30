// Looks at the source, tick after tick. A tick sweeps the whole tree, or where that costs more than
// it may, looks at parts of it (poller.ts). Runs in a worker; it owns the snapshot store. Two layers:
// the store is the confirmed one, `Observed` what lies on top of it.
import { IgnoreRules } from '../snapshot/ignore.ts';
import type { SnapshotStore } from '../store/snapshot-store.ts';
import type { Source } from '../tree/source.ts';
import type { Slice, SweepSummary } from './change.ts';
import { clockMs } from './clock.ts';
import { ConfirmedLayer } from './confirmed.ts';
import { Deletes, type Verdict } from './deletes.ts';
import { DirectoryScan } from './directory-scan.ts';
import { Explainer, type Explanation } from './explain.ts';
import { Findings } from './findings.ts';
import { MountGuard } from './mount-guard.ts';
import { NodeChanges } from './node-changes.ts';
import { Observed } from './observed.ts';
import { Owners } from './owners.ts';
import { Poller } from './poller.ts';
import { Rereads } from './rereads.ts';
import { RootGuard } from './root-guard.ts';
import type { ScanOptions } from './scan-options.ts';
import { type ScanState, statQuietly } from './scan-state.ts';
import { Settling } from './settling.ts';
import { SourceXattrs } from './source-xattrs.ts';
import { Stopwatch } from './stopwatch.ts';
import { Visibility } from './visibility.ts';

/** Changes in one slice, beyond which it ends. */
const sliceChangesMax = 256;

export class Scanner {
  readonly #state: ScanState;
  readonly #root: RootGuard;
  readonly #visibility: Visibility;
  readonly #rereads: Rereads;
  readonly #deletes: Deletes;
  readonly #poller: Poller;
  /** Of --exclude: in force everywhere. */
  readonly #rules: IgnoreRules;
  readonly #watch = new Stopwatch();
  #tick: Generator<undefined, SweepSummary> | undefined;
  /** As of the last tick, the root was not there or not the one that is known. */
  #isElsewhere = false;

  constructor(store: SnapshotStore, source: Source, options: ScanOptions) {
    const confirmed = new ConfirmedLayer(store);
    const observed = new Observed(confirmed);
    const findings = new Findings();
    const accepted = options.acceptDeletes;
    const settling = new Settling(options.settle ?? []);
    const owners = new Owners({ numericIds: options.numericIds === true });
    const xattrs = new SourceXattrs({ source, findings });
    const state = {
      store,
      source,
      options,
      confirmed,
      observed,
      findings,
      settling,
      owners,
      xattrs,
      accepted,
    };
    this.#state = state;
    const { exclude } = options;
    this.#rules = exclude.length > 0 ? IgnoreRules.none.with('', exclude) : IgnoreRules.none;
    this.#root = new RootGuard(state);
    this.#visibility = new Visibility(state);
    const mounts = new MountGuard(state);
    const changes = new NodeChanges(state, mounts);
    this.#rereads = new Rereads(state, changes);
    this.#deletes = new Deletes(state, this.#root, changes);
    const visibility = this.#visibility;
    const parts = { visibility, mounts, changes, rereads: this.#rereads, deletes: this.#deletes };
    this.#poller = new Poller(state, {
      scan: new DirectoryScan(state, parts),
      root: this.#root,
      deletes: this.#deletes,
      changes,
      watch: this.#watch,
    });
  }

  get confirmed(): ConfirmedLayer {
    return this.#state.confirmed;
  }

  get observed(): Observed {
    return this.#state.observed;
  }

  get xattrs(): SourceXattrs {
    return this.#state.xattrs;
  }

  /**
   * What a user says of held deletes, or of another directory in place of the source ('approve':
   * it is the source now). Returns how many deletes were held.
   */
  decide(verdict: Verdict): number {
    if (verdict === 'approve' && this.#isElsewhere) this.#state.accepted = true;
    return this.#deletes.decide(verdict);
  }

  /** Why a path (below the root, latin1) is, or is not, at the replica. */
  explain(path: string): Explanation {
    return new Explainer(this.#state, this.#visibility, this.#deletes).explain(path, this.#rules);
  }

  /** The next sweep tries again what was paused, and waits for no file to settle. */
  liftPauses(which: 'fleeting' | 'all'): void {
    this.#state.observed.liftPauses(which);
    this.#state.settling.lift();
  }

  /** Paths (latin1) of what is held to be deleted, at most `limit`. */
  heldDeletes(limit: number): string[] {
    return this.#deletes.heldPaths(limit);
  }

  /** Paths (latin1) of files that wait to settle, at most `limit`. */
  settling(limit: number): string[] {
    const { settling, source } = this.#state;
    return settling.waiting(limit).filter(path => statQuietly(source, path) !== undefined);
  }

  /** Drops the observed layer and any tick under way: what was queued will be found again. */
  reset(): void {
    this.#tick = undefined;
    this.#state.observed.clear();
    this.#state.findings.clear();
    this.#deletes.reset();
    this.#visibility.reset();
    this.#poller.reset();
  }

  /**
   * Goes on with the tick (or begins one) until it has `room` changes, `sliceMs` are used up, or the
   * tick ends. A tick takes about `budgetMs` of work in all, without one it sweeps the whole tree.
   */
  next(room: number, sliceMs: number, budgetMs = Number.POSITIVE_INFINITY): Slice {
    const deadline = clockMs() + sliceMs;
    const { findings } = this.#state;
    findings.room = room;
    this.#tick ??= this.#run(budgetMs);
    let summary: SweepSummary | undefined;
    this.#watch.go();
    do {
      const step = this.#tick.next();
      if (step.done === true) {
        summary = step.value;
        this.#tick = undefined;
        this.#state.settling.endSweep();
        break;
      }
    } while (findings.changeCount < sliceChangesMax && clockMs() < deadline);
    this.#watch.stop();
    return { ...findings.take(), summary };
  }

  *#run(budgetMs: number): Generator<undefined, SweepSummary> {
    const { observed, findings } = this.#state;
    this.#watch.reset();
    findings.begin();
    // What the tick before did not come to is old by now.
    this.#state.source.expect([]);
    const root = this.#root.open(stats => this.#poller.mustListRoot(stats, budgetMs));
    if ('reason' in root) {
      this.#poller.reset();
      this.#isElsewhere = true;
      return this.#summary({ root: { kind: 'gone', reason: root.reason }, isWhole: false });
    }
    this.#isElsewhere = false;
    this.#rereads.begin();
    const wantsSweep = this.#rereads.wantsSweep || this.#deletes.wantsSweep;
    const isWhole = wantsSweep || this.#poller.fits(budgetMs);
    if (isWhole) yield* this.#poller.sweep(root, this.#rules);
    else yield* this.#poller.look(root, budgetMs);
    findings.endVisits();
    // What is taken back in mid-tick was no difference when its directory was compared.
    findings.counts.deferred += observed.unprovenCount + observed.touchedCount;
    return this.#summary({ root: { kind: 'ok' }, isWhole });
  }

  #summary(found: Pick<SweepSummary, 'root' | 'isWhole'>): SweepSummary {
    const { entryCount: entries, specialCount: special, tooLargeCount: tooLarge } = this.#poller;
    const { counts } = this.#state.findings;
    const held = found.root.kind === 'ok' ? this.#deletes.held : undefined;
    const { figures: poll } = this.#poller;
    const { rejectedCount: rejected } = this.#deletes;
    const seen = { entries, special, tooLarge, rejected };
    return { ...counts, ...found, ...seen, held, ms: this.#watch.ms, poll };
  }
}
