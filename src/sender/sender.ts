// The sending program: connect, agree with the receiver on what it holds, then tick after tick
// scan and hand changes to the transfer. Reconnects forever.
import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import { type ErrorCode, ReplicaError } from '../errors.ts';
import { queuedChangesMax, reconnectMinMs } from '../limits.ts';
import type { Log } from '../log.ts';
import { reconnectDelayMs } from '../net/backoff.ts';
import type { Connection } from '../net/connection.ts';
import type { MaxDelete } from '../snapshot/guard.ts';
import { fromUserPath } from '../snapshot/name.ts';
import { MessageType } from '../wire/messages.ts';
import { Agreement, failureOf, greet, type Messages } from './agree.ts';
import { WorkerCalls } from './calls.ts';
import type { PollFigures, SweepSummary } from './change.ts';
import { CpuBudget } from './cpu-budget.ts';
import { Mailbox, type SenderEvent, type SenderOutcome } from './events.ts';
import { itemize } from './itemize.ts';
import { unpackChanges } from './packed.ts';
import type { ReadMethods } from './read-worker.ts';
import { scopePath } from './scan-options.ts';
import type { ScanMethods } from './scan-worker.ts';
import { SweepReport } from './sweep-report.ts';
import { Transfer } from './transfer.ts';
import { delay, onAbort } from './waiting.ts';

export interface SenderOptions {
  /** Path of the source, as the user gave it. */
  readonly source: string;
  readonly connect: (signal: AbortSignal) => Promise<Connection>;
  readonly stateFolder: string;
  /** 16 bytes, the same for the same tree whatever state is lost. */
  readonly sourceId: Buffer;
  readonly label: string;
  readonly intervalMs: number;
  readonly once: boolean;
  readonly dryRun: boolean;
  readonly paths: readonly string[];
  /** gitignore patterns, in order. */
  readonly exclude: readonly string[];
  readonly delete: boolean;
  readonly deleteExcluded: boolean;
  readonly maxDelete: MaxDelete;
  readonly acceptDeletes: boolean;
  readonly checksum: boolean;
  /** Of one core, that looking for changes may take on average; 0.1 is 10%. */
  readonly cpuShare: number;
  /** CPU time of the process so far, threads and children included. */
  readonly cpuMs: () => number;
  /** Time to reach the receiver, with `once`. */
  readonly timeoutMs: number;
  readonly takeOver: boolean;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** Scan time before the main thread gets a word in. */
const sliceMs = 50;
/** A scan call that takes longer than this is reported: the file system hangs. */
const slowAfterMs = 5_000;
/** What a stop waits for the commit under way. */
const stopMs = 10_000;
/** Sweeps of a `once` run that find only what cannot be read or keeps changing. */
const onceRetriesMax = 8;
/** Times a `once` run agrees anew on what the receiver holds, with growing pauses. */
const onceDoubtsMax = 5;
/** Handshakes in a row that fail before the key counts as wrong. */
const refusalsMax = 3;
/** The same of a key that was good before: it was revoked, or the network is bad. */
const knownRefusalsMax = 8;
/** Failures that trying again cannot mend. */
const fatal: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'ERR_AUTH',
  'ERR_FOREIGN',
  'ERR_FENCED',
  'ERR_USAGE',
  'ERR_PATH',
  'ERR_STATE',
]);

export class Sender {
  readonly #options: SenderOptions;
  readonly #scanner: WorkerCalls<ScanMethods>;
  readonly #reader: WorkerCalls<ReadMethods>;
  readonly #checkSecret: Uint8Array;
  readonly #events = new Mailbox<SenderEvent>();
  readonly #instanceId = randomBytes(16);
  readonly #report = new SweepReport(this.#events);
  /** Something became durable, or everything was found to be, since the last reconnect. */
  #hasProgress = false;
  #outcome: SenderOutcome = {
    inSync: false,
    problems: 0,
    vanished: 0,
    held: 0,
    interrupted: false,
    error: undefined,
  };

  private constructor(
    options: SenderOptions,
    parts: {
      scanner: WorkerCalls<ScanMethods>;
      reader: WorkerCalls<ReadMethods>;
      checkSecret: Uint8Array;
      rebuilt: string;
    },
  ) {
    this.#options = options;
    this.#scanner = parts.scanner;
    this.#reader = parts.reader;
    this.#checkSecret = parts.checkSecret;
    if (parts.rebuilt !== '') {
      const message = `the sender's state was damaged and is rebuilt: ${parts.rebuilt}`;
      this.#events.put({ kind: 'state', message });
    }
  }

  /** Starts the workers and opens the state; throws ERR_STATE. */
  static async open(options: SenderOptions): Promise<Sender> {
    const scanner = new WorkerCalls<ScanMethods>(newWorker('./scan-worker.js'));
    const reader = new WorkerCalls<ReadMethods>(newWorker('./read-worker.js'));
    const opened = await scanner.call('open', {
      folder: options.stateFolder,
      scan: {
        root: fromUserPath(options.source),
        exclude: options.exclude,
        delete: options.delete,
        deleteExcluded: options.deleteExcluded,
        maxDelete: options.maxDelete,
        acceptDeletes: options.acceptDeletes,
        scope: options.paths.map(scopePath),
        checksum: options.checksum,
      },
    });
    return new Sender(options, { scanner, reader, ...opened });
  }

  /** Runs until the signal, a fatal failure, or with `once` the end; the last event is 'end'. */
  async *run(): AsyncGenerator<SenderEvent> {
    const done = this.#loop().then(
      () => undefined,
      (error: unknown) => error,
    );
    void done.then(() => this.#events.close());
    for await (const event of this.#events) if (this.#report.isNews(event)) yield event;
    const bug = await done;
    if (bug !== undefined) throw bug;
    yield { kind: 'end', outcome: this.#outcome };
  }

  /** How often the source is looked at, as of the last tick; undefined before the first. */
  get figures(): PollFigures | undefined {
    return this.#report.figures;
  }

  /** Ends the workers. False when one hangs in the file system and could not be ended. */
  async close(): Promise<boolean> {
    // A scanner that hangs cannot close its store: LMDB needs no closing to be whole.
    const closed = [this.#scanner.call('close', undefined), this.#reader.call('save', undefined)];
    await Promise.race([Promise.allSettled(closed), delay(500)]);
    const ended = await Promise.all([this.#scanner.close(), this.#reader.close()]);
    return ended.every(Boolean);
  }

  async #loop(): Promise<void> {
    const { signal, once, timeoutMs } = this.#options;
    const deadlineMs = performance.now() + timeoutMs;
    let doubts = 0;
    let refusals = 0;
    let isKnown = false;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        // A stop ends connecting and agreeing at once; after that the commit under way is finished.
        const untilAgreed = new AbortController();
        const stopping = onAbort(signal, () => untilAgreed.abort());
        const connection = await this.#options.connect(untilAgreed.signal).finally(stopping.forget);
        const closing = onAbort(signal, () => void connection.close());
        try {
          const isDone = await this.#session(connection, () => {
            closing.forget();
            refusals = 0;
            isKnown = true;
          });
          if (isDone) return;
        } finally {
          closing.forget();
          await connection.close();
        }
        if (this.#report.isSynced) doubts = 0;
        doubts++;
        if (once && doubts > onceDoubtsMax) {
          const message = 'the receiver keeps refusing what builds on its own records';
          return this.#fail(new ReplicaError('ERR_PROTOCOL', message));
        }
        await delay(reconnectDelayMs(doubts - 1, Math.random()), signal);
      } catch (error) {
        if (!(error instanceof ReplicaError)) throw error;
        if (signal.aborted) break;
        if (error.code === 'ERR_AUTH' && ++refusals < (isKnown ? knownRefusalsMax : refusalsMax)) {
          // A bit that flips in the handshake looks just like a wrong key: ask again.
          await delay(reconnectMinMs * refusals, signal);
          continue;
        }
        if (fatal.has(error.code) || (error.code === 'ERR_PROTOCOL' && once))
          return this.#fail(error);
        // A receiver that agrees and then cannot write is not asked seven times a second.
        if (this.#hasProgress) attempt = 0;
        this.#hasProgress = false;
        const retryInMs = reconnectDelayMs(attempt, Math.random());
        if (once && performance.now() + retryInMs > deadlineMs) {
          const message = `gave up after --timeout: ${error.message}`;
          return this.#fail(new ReplicaError('ERR_TIMEOUT', message, { cause: error }));
        }
        this.#report.disconnected();
        this.#events.put({ kind: 'disconnected', error, retryInMs });
        await delay(retryInMs, signal);
      }
    }
    this.#outcome = { ...this.#outcome, interrupted: true };
  }

  #fail(error: ReplicaError): void {
    this.#outcome = { ...this.#outcome, error, inSync: false };
  }

  /** One connection; true when there is nothing more to do, false to connect again. */
  async #session(connection: Connection, onAgreed: () => void): Promise<boolean> {
    const messages = connection.messages();
    const welcome = await greet(connection, messages, {
      ...this.#options,
      instanceId: this.#instanceId,
    });
    const agreement = new Agreement(connection, messages, this.#scanner);
    if (!(await agreement.isSame(welcome))) {
      this.#events.put({ kind: 'reconciling', entries: Number(welcome.entryCount) });
      await agreement.reach(welcome);
    }
    onAgreed();
    this.#events.put({ kind: 'connected', peer: connection.peer });
    await this.#reader.call('begin', {
      root: fromUserPath(this.#options.source),
      folder: this.#options.stateFolder,
      secret: new Uint8Array(welcome.secret),
      checkSecret: this.#checkSecret,
    });
    const transfer = new Transfer({
      connection,
      reader: this.#reader,
      scanner: this.#scanner,
      events: this.#events,
      watermark: welcome.watermark,
    });
    const stopped = onAbort(this.#options.signal, () => {});
    const over = new AbortController();
    try {
      const broken = this.#receive(messages, transfer);
      const sending = transfer.run();
      const ticking = this.#ticks(transfer);
      // Each fails the session; what is still running ends with the connection.
      for (const task of [broken, sending, ticking]) task.catch(() => {});
      // A sweep or a read may hang in the file system: a stop waits for neither.
      const interrupted = stopped.done.then(() => {
        this.#outcome = { ...this.#outcome, interrupted: true };
        return true;
      });
      const tasks = [ticking, broken, sending.then(() => ticking), interrupted];
      const isDone = await Promise.race(tasks);
      await Promise.race([transfer.stop(), broken, delay(stopMs, over.signal)]);
      return isDone;
    } finally {
      over.abort();
      stopped.forget();
      transfer.end();
    }
  }

  async #receive(messages: Messages, transfer: Transfer): Promise<never> {
    for await (const message of messages) {
      if (message.type === MessageType.Failure) throw failureOf(message);
      if (message.type === MessageType.Durable) this.#hasProgress = true;
      await transfer.receive(message);
    }
    throw new ReplicaError('ERR_SOCKET', 'the receiver closed the connection');
  }

  // -- ticking ----------------------------------------------------------------------------------

  /**
   * True when there is nothing more to do: the end of a `once`, or of the process. False when both
   * sides have to agree anew on what the receiver holds.
   */
  async #ticks(transfer: Transfer): Promise<boolean> {
    const { signal, intervalMs, once, checksum, cpuShare, cpuMs } = this.#options;
    const nowMs = (): number => performance.now();
    const budget = new CpuBudget({ share: cpuShare, intervalMs, cpuMs, nowMs });
    let retries = 0;
    while (!signal.aborted) {
      const begunMs = performance.now();
      const budgetMs = once || checksum ? Number.POSITIVE_INFINITY : budget.nextMs();
      const summary = await this.#tick(transfer, budgetMs);
      if (this.#options.dryRun) return true;
      if (once) {
        await this.#orStopped(transfer.idle());
        if (transfer.isDoubtful) return false;
        const isMoving = summary.changes > 0 && summary.root.kind === 'ok';
        retries = isMoving && summary.problems === 0 ? 0 : retries + 1;
        const needsLook = transfer.takeNeedOfLook() || checksum;
        const isSettled = summary.deferred === 0 && !(isMoving && needsLook);
        if (isSettled && isMoving) await this.#note(transfer, { ...summary, changes: 0 });
        if (isSettled || retries > onceRetriesMax) return this.#finishOnce(transfer, summary);
        if (!isMoving) await delay(100, signal);
        continue;
      }
      if (transfer.isDoubtful) return false;
      const tookMs = performance.now() - begunMs;
      await delay(Math.max(intervalMs - tookMs, 1), signal);
    }
    this.#outcome = { ...this.#outcome, interrupted: true };
    return true;
  }

  /** Until that is so, or the signal says stop. */
  async #orStopped(condition: Promise<void>): Promise<void> {
    const aborted = onAbort(this.#options.signal, () => {});
    await Promise.race([condition, aborted.done]);
    aborted.forget();
  }

  #finishOnce(transfer: Transfer, summary: SweepSummary): boolean {
    const troubles = transfer.takeTroubles();
    const problems = summary.problems + troubles.failed + (summary.deferred > 0 ? 1 : 0);
    const held = summary.held?.count ?? 0;
    const isGone = summary.root.kind === 'gone';
    this.#outcome = {
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
    return true;
  }

  /** One tick: slices of scanning, each handed to the transfer as it comes. */
  async #tick(transfer: Transfer, budgetMs: number): Promise<SweepSummary> {
    for (;;) {
      // Whatever is seen while there is no room is put off, and has to be found anew.
      if (!this.#options.dryRun) await this.#orStopped(transfer.room());
      transfer.assertOpen();
      const room = this.#options.dryRun
        ? queuedChangesMax
        : queuedChangesMax - transfer.outstanding;
      const slice = await this.#watched(this.#scanner.call('next', { room, sliceMs, budgetMs }));
      // A tick that outlived its session must not take what the next one has to send.
      transfer.assertOpen();
      const changes = unpackChanges(slice.changes);
      for (const problem of slice.problems) this.#events.put({ kind: 'problem', problem });
      if (this.#options.dryRun) {
        for (const change of changes) {
          // A second look at content is no operation.
          if (change.kind === 'file' && change.purpose === 'trust') continue;
          this.#events.put({ kind: 'operation', text: itemize(change) });
        }
      } else transfer.enqueue(changes);
      if (slice.summary !== undefined) {
        await this.#note(transfer, slice.summary);
        return slice.summary;
      }
    }
  }

  async #note(transfer: Transfer, summary: SweepSummary): Promise<void> {
    if (this.#report.add(summary, transfer.outstanding)) this.#hasProgress = true;
    if (this.#report.isSynced && !this.#options.dryRun) await transfer.inSync();
  }

  /** Says so when the file system does not answer, and when it does again. */
  async #watched<T>(call: Promise<T>): Promise<T> {
    let isSlow = false;
    const timer = setTimeout(() => {
      isSlow = true;
      const reason = `no answer from the file system for ${slowAfterMs / 1000} s; nothing is deleted`;
      this.#events.put({ kind: 'source', state: 'slow', reason });
    }, slowAfterMs);
    try {
      return await call;
    } finally {
      clearTimeout(timer);
      if (isSlow) this.#events.put({ kind: 'source', state: 'back', reason: 'it answers again' });
    }
  }
}

function newWorker(file: string): Worker {
  return new Worker(new URL(file, import.meta.url), { execArgv: [] });
}
