// Tick after tick of one session: look at the source, hand what is found to the transfer, and see
// whether source and replica are equal. Between ticks it does what users ask for (steering.ts).
import { performance } from 'node:perf_hooks';
import { ReplicaError } from '../errors.ts';
import { queuedChangesMax } from '../limits.ts';
import type { WorkerCalls } from './calls.ts';
import type { SweepSummary } from './change.ts';
import { CpuBudget } from './cpu-budget.ts';
import { type Mailbox, noOutcome, type SenderEvent, type SenderOutcome } from './events.ts';
import { itemize } from './itemize.ts';
import { unpackChanges } from './packed.ts';
import type { ScanMethods } from './scan-worker.ts';
import type { SenderOptions } from './sender-options.ts';
import type { Flush, Steering } from './steering.ts';
import type { SweepReport } from './sweep-report.ts';
import type { Transfer } from './transfer.ts';
import { delay, onAbort } from './waiting.ts';

/** Scan time before the main thread gets a word in. */
const sliceMs = 50;
/** A scan call that takes longer than this is reported: the file system hangs. */
const slowAfterMs = 5_000;
/** Sweeps of a `once` run that find only what cannot be read or keeps changing. */
const onceRetriesMax = 8;
/** A `once` run waits for files to settle for so many times the longest --settle. */
const onceSettlingPeriods = 10;
/** Files that did not are named, at most so many. */
const reportedMax = 20;
/** Between the sweeps of a flush, while files change as they are read: at first, and at most. */
const flushPauseMs = { min: 10, max: 500 };

export interface TickerParts {
  readonly scanner: WorkerCalls<ScanMethods>;
  readonly events: Mailbox<SenderEvent>;
  readonly report: SweepReport;
  readonly steering: Steering;
}

export class Ticker {
  readonly #options: SenderOptions;
  readonly #parts: TickerParts;
  readonly #transfer: Transfer;

  /** Of one session, which has the transfer. */
  constructor(options: SenderOptions, parts: TickerParts, transfer: Transfer) {
    this.#options = options;
    this.#parts = parts;
    this.#transfer = transfer;
  }

  /**
   * Until the end of a `once` or of the process, which has an outcome; undefined when both sides
   * have to agree anew on what the receiver holds.
   */
  async run(): Promise<SenderOutcome | undefined> {
    const { signal, intervalMs, checksum, cpuShare, cpuMs, dryRun } = this.#options;
    const once = this.#options.once || dryRun;
    const { scanner, steering } = this.#parts;
    const transfer = this.#transfer;
    const nowMs = (): number => performance.now();
    const budget = new CpuBudget({ share: cpuShare, intervalMs, cpuMs, nowMs });
    // A part of the tree is no place to look for what other runs had left.
    const isWhole = !dryRun && this.#options.paths.length === 0;
    if (isWhole) await scanner.call('beginRun', once);
    let retries = 0;
    const settledByMs = nowMs() + onceSettlingPeriods * this.#settleMs;
    for (;;) {
      await steering.resumed(signal);
      if (signal.aborted) return { ...noOutcome, interrupted: true };
      const begunMs = performance.now();
      const flushes = steering.flushes();
      const budgetMs = once || checksum ? Number.POSITIVE_INFINITY : budget.nextMs();
      if (flushes.length > 0) await this.#flush(flushes);
      else if (!once) await this.#tick(budgetMs);
      if (once) {
        const summary = await this.#tick(budgetMs);
        if (dryRun) return noOutcome;
        await this.#orStopped(transfer.idle());
        await this.#orStopped(transfer.looked());
        if (transfer.isDoubtful) return undefined;
        const isLeft = transfer.outstanding > 0 || summary.deferred > 0;
        if (signal.aborted && isLeft) return { ...noOutcome, interrupted: true };
        this.#assertSettled();
        const isMoving = summary.changes > 0 && summary.root.kind === 'ok';
        // Files that have to settle are waited for, though not for ever.
        const isWaiting = summary.settling > 0 && nowMs() < settledByMs;
        if (isMoving && summary.problems === 0) retries = 0;
        else if (!isWaiting) retries++;
        const needsLook = transfer.takeNeedOfLook() || checksum;
        const isSettled = summary.deferred === 0 && !(isMoving && needsLook);
        if (isSettled && isMoving) await this.#note({ ...summary, changes: 0 });
        if (isSettled || retries > onceRetriesMax) {
          await this.#reportSettling();
          if (isWhole && isSettled) await scanner.call('endRun', undefined);
          return this.#outcomeOfOnce(summary);
        }
        if (!isMoving) await delay(100, signal);
        continue;
      }
      if (transfer.isDoubtful) return undefined;
      const tookMs = performance.now() - begunMs;
      await steering.asked(Math.max(intervalMs - tookMs, 1), signal);
    }
  }

  /** The longest that a file may have to be left alone. */
  get #settleMs(): number {
    return Math.max(0, ...(this.#options.settle ?? []).map(({ ms }) => ms));
  }

  /** Files that a `once` leaves behind, as they never settled. */
  async #reportSettling(): Promise<void> {
    if (this.#settleMs === 0) return;
    const { scanner, events } = this.#parts;
    for (const path of await scanner.call('settling', reportedMax)) {
      const message = 'it keeps changing: never left alone for its --settle';
      events.put({ kind: 'problem', problem: { path, code: 'EUNSTABLE', message } });
    }
  }

  /**
   * Sweeps until everything that was at the source when these were asked for is durable. What cannot
   * be read, or not be held by the receiver, is tried once and counted, not waited for; what is written
   * to all the time is. A session that breaks meanwhile leaves them to the next one.
   */
  async #flush(flushes: readonly Flush[]): Promise<void> {
    const { scanner } = this.#parts;
    const { signal } = this.#options;
    const transfer = this.#transfer;
    // What is under way now says nothing about what is at the source now.
    await this.#orStopped(transfer.idle());
    await scanner.call('doubtRecent', undefined);
    transfer.takeNeedOfLook();
    // A rename or link goes by inode and times; content that they do not tell is found by the looks
    // of one more sweep. Others may be renamed all the time: that is not waited for.
    let mayLookAgain = true;
    const isWaitedFor = (): boolean => flushes.some(flush => !flush.isOver);
    for (let pauseMs = flushPauseMs.min; isWaitedFor() && !signal.aborted; pauseMs *= 2) {
      const { retryCount: retriesBefore, unreadableCount: unreadableBefore } = transfer;
      const isNew = flushes.some(flush => !flush.hasLifted);
      await scanner.call('liftPauses', isNew ? 'all' : 'fleeting');
      for (const flush of flushes) flush.hasLifted = true;
      const summary = await this.#tick(Number.POSITIVE_INFINITY);
      await this.#orStopped(transfer.idle());
      await this.#orStopped(transfer.looked());
      if (signal.aborted || transfer.isDoubtful) return;
      this.#assertSettled();
      const looksAgain = transfer.takeNeedOfLook() && mayLookAgain;
      if (looksAgain) mayLookAgain = false;
      if (summary.root.kind === 'gone') {
        const message = `source ${this.#options.source}: ${summary.root.reason}`;
        for (const flush of flushes) flush.fail(new ReplicaError('ERR_PATH', message));
        return;
      }
      const { deferred, paused } = summary;
      if (deferred === paused && transfer.retryCount === retriesBefore && !looksAgain) {
        const failed = transfer.unreadableCount - unreadableBefore;
        const problems = summary.problems + paused + failed;
        const held = summary.held?.count ?? 0;
        // What the sweep found is durable: no other one has to come by to see it.
        await this.#note({ ...summary, changes: 0 });
        for (const flush of flushes) flush.done({ entries: summary.entries, problems, held });
        return;
      }
      await delay(Math.min(pauseMs, flushPauseMs.max), signal);
    }
  }

  /** Nothing was settled by a session that broke: what it had is for the next one to send. */
  #assertSettled(): void {
    if (!this.#options.signal.aborted) this.#transfer.assertOpen();
  }

  /** Until that is so, or the signal says stop. */
  async #orStopped(condition: Promise<void>): Promise<void> {
    const aborted = onAbort(this.#options.signal, () => {});
    await Promise.race([condition, aborted.done]);
    aborted.forget();
  }

  #outcomeOfOnce(summary: SweepSummary): SenderOutcome {
    const troubles = this.#transfer.takeTroubles();
    const named = summary.problems + troubles.failed;
    // What was put off is mostly what was named.
    const problems = named === 0 && summary.deferred > 0 ? 1 : named;
    const held = summary.held?.count ?? 0;
    const isGone = summary.root.kind === 'gone';
    return {
      inSync: problems === 0 && held === 0 && !isGone,
      problems,
      vanished: troubles.vanished,
      held,
      interrupted: false,
      error:
        summary.root.kind === 'gone'
          ? new ReplicaError('ERR_PATH', `source ${this.#options.source}: ${summary.root.reason}`)
          : undefined,
    };
  }

  /** One tick: slices of scanning, each handed to the transfer as it comes. */
  async #tick(budgetMs: number): Promise<SweepSummary> {
    const { scanner, events } = this.#parts;
    const transfer = this.#transfer;
    this.#parts.report.began();
    for (;;) {
      // Whatever is seen while there is no room is put off, and has to be found anew.
      if (!this.#options.dryRun) await this.#orStopped(transfer.room());
      transfer.assertOpen();
      const room = this.#options.dryRun
        ? queuedChangesMax
        : queuedChangesMax - transfer.outstanding;
      const slice = await this.#watched(scanner.call('next', { room, sliceMs, budgetMs }));
      // A tick that outlived its session must not take what the next one has to send.
      transfer.assertOpen();
      const changes = unpackChanges(slice.changes);
      for (const problem of slice.problems) events.put({ kind: 'problem', problem });
      if (this.#options.dryRun) {
        for (const change of changes) {
          // A second look at content is no operation.
          if (change.kind === 'file' && change.purpose === 'trust') continue;
          events.put({ kind: 'operation', text: itemize(change) });
        }
      } else transfer.enqueue(changes);
      if (slice.summary !== undefined) {
        await this.#note(slice.summary);
        return slice.summary;
      }
    }
  }

  async #note(summary: SweepSummary): Promise<void> {
    const { report } = this.#parts;
    const { outstanding } = this.#transfer;
    report.add(summary, outstanding);
    if (summary.changes === 0 && outstanding === 0) this.#transfer.rest();
    if (report.isSynced && !this.#options.dryRun) await this.#transfer.inSync();
  }

  /** Says so when the file system does not answer, and when it does again. */
  async #watched<T>(call: Promise<T>): Promise<T> {
    const { events } = this.#parts;
    let isSlow = false;
    const timer = setTimeout(() => {
      isSlow = true;
      const reason = `no answer from the file system for ${slowAfterMs / 1000} s; nothing is deleted`;
      events.put({ kind: 'source', state: 'slow', reason });
    }, slowAfterMs);
    try {
      return await call;
    } finally {
      clearTimeout(timer);
      if (isSlow) events.put({ kind: 'source', state: 'back', reason: 'it answers again' });
    }
  }
}
