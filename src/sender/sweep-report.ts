// What sweeps found, as events: each state is news once.
import type { PollFigures, SweepSummary } from './change.ts';
import { clockMs } from './clock.ts';
import type { Mailbox, SenderEvent } from './events.ts';

/** Figures of the poller are told this often. */
const figuresMs = 10_000;
/** A look at the source that takes longer is one that people wait for. */
const longLookMs = 1000;

export class SweepReport {
  readonly #events: Mailbox<SenderEvent>;
  readonly #reported = new Map<string, string>();
  #held = '';
  #rootGone = '';
  #isSynced = false;
  #hasProgress = false;
  #figures: PollFigures | undefined;
  #figuresAtMs = Number.NEGATIVE_INFINITY;
  #deferredSinceMs: number | undefined;
  #lookingSinceMs: number | undefined;
  #tree = { entries: 0, special: 0, tooLarge: 0, rejected: 0 };

  constructor(events: Mailbox<SenderEvent>) {
    this.#events = events;
  }

  get isSynced(): boolean {
    return this.#isSynced;
  }

  /** Entries as of the last tick. */
  get tree(): Readonly<Record<'entries' | 'special' | 'tooLarge' | 'rejected', number>> {
    return this.#tree;
  }

  /** Since when each tick found something that had to be put off (monotonic). */
  get deferredSinceMs(): number | undefined {
    return this.#deferredSinceMs;
  }

  /** Has a look at the source been under way for long? More may be found. */
  get isLooking(): boolean {
    return this.#lookingSinceMs !== undefined && clockMs() - this.#lookingSinceMs > longLookMs;
  }

  get figures(): PollFigures | undefined {
    return this.#figures;
  }

  /** The connection broke: nothing is known to be in sync until the next sweep. */
  disconnected(): void {
    this.#isSynced = false;
  }

  /** A look at the source begins; `add` ends it. */
  began(): void {
    this.#lookingSinceMs = clockMs();
  }

  /** The same problem of the same path is news once, until it is over. */
  isNews(event: SenderEvent): boolean {
    if (event.kind !== 'problem') return true;
    const { path, code } = event.problem;
    if (this.#reported.get(path) === code) return false;
    if (this.#reported.size > 10_000) this.#reported.clear();
    this.#reported.set(path, code);
    return true;
  }

  /** Was everything found to be in sync since the last call? */
  takeProgress(): boolean {
    const hasProgress = this.#hasProgress;
    this.#hasProgress = false;
    return hasProgress;
  }

  add(summary: SweepSummary, outstanding: number): void {
    this.#lookingSinceMs = undefined;
    const gone = summary.root.kind === 'gone' ? summary.root.reason : '';
    if (gone !== this.#rootGone) {
      if (gone !== '') this.#events.put({ kind: 'source', state: 'gone', reason: gone });
      else this.#events.put({ kind: 'source', state: 'back', reason: 'it is there again' });
      this.#rootGone = gone;
    }
    if (gone === '') this.#addFigures(summary.poll);
    const held = summary.held?.reason ?? '';
    if (gone === '' && held !== this.#held) {
      if (summary.held !== undefined) this.#events.put({ kind: 'held', ...summary.held });
      else this.#events.put({ kind: 'released' });
      this.#held = held;
    }
    const { entries, special, tooLarge, rejected } = summary;
    this.#tree = { entries, special, tooLarge, rejected };
    this.#deferredSinceMs = summary.deferred > 0 ? (this.#deferredSinceMs ?? clockMs()) : undefined;
    const isQuiet = summary.changes === 0 && summary.deferred === 0 && outstanding === 0;
    const isSynced = isQuiet && gone === '' && held === '';
    if (isSynced && !this.#isSynced) {
      this.#hasProgress = true;
      // What had problems is looked at in each tick.
      if (summary.problems === 0) this.#reported.clear();
      this.#events.put({ kind: 'synced', entries, special, tooLarge });
    }
    if (isSynced || summary.changes > 0) this.#isSynced = isSynced;
  }

  #addFigures(poll: PollFigures): void {
    if (poll.timesLie && this.#figures?.timesLie !== true) {
      const message =
        'directories of this source change without their times moving: what is new in them is seen when the sweep reaches it';
      this.#events.put({ kind: 'state', message });
    }
    this.#figures = poll;
    const nowMs = clockMs();
    if (nowMs - this.#figuresAtMs < figuresMs) return;
    this.#figuresAtMs = nowMs;
    this.#events.put({ kind: 'poll', ...poll });
  }
}
