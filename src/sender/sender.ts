// The sending program: connect, agree with the receiver on what it holds, then tick after tick
// scan and hand changes to the transfer. Reconnects forever.
import { randomBytes } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { type ErrorCode, ReplicaError } from '../errors.ts';
import { reconnectMinMs } from '../limits.ts';
import { reconnectDelayMs } from '../net/backoff.ts';
import type { Connection } from '../net/connection.ts';
import { defaultAttributes } from '../snapshot/attribute-rules.ts';
import { fromUserPath } from '../snapshot/name.ts';
import { UserXattrs } from '../tree/user-xattrs.ts';
import { MessageType } from '../wire/messages.ts';
import { Agreement, failureOf, greet, type Messages } from './agree.ts';
import { WorkerCalls } from './calls.ts';
import type { Verdict } from './deletes.ts';
import { Mailbox, noOutcome, type SenderEvent } from './events.ts';
import type { Explanation } from './explain.ts';
import { itemize, itemizeHeld } from './itemize.ts';
import { Patience } from './patience.ts';
import type { ReadMethods } from './read-worker.ts';
import { scopePath } from './scan-options.ts';
import type { ScanMethods } from './scan-worker.ts';
import { type SenderOptions, senderDefaults } from './sender-options.ts';
import { type SenderStatus, StatusBoard } from './status-board.ts';
import { type Flushed, Steering } from './steering.ts';
import { SweepReport } from './sweep-report.ts';
import { Ticker } from './ticker.ts';
import { Transfer } from './transfer.ts';
import { delay, onAbort } from './waiting.ts';

/** Source and replica are equal. */
export interface Cycle {
  readonly entries: number;
  /** Sockets, pipes and devices, which are skipped. */
  readonly special: number;
}

/** What a stop waits for the commit under way. */
const stopMs = 10_000;
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
  readonly #steering = new Steering();
  readonly #board = new StatusBoard();
  #transfer: Transfer | undefined;
  /** Something became durable since the last reconnect. */
  #hasProgress = false;
  #outcome = noOutcome;

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
    // Before any thread is started, which would be left over.
    if (options.attributes?.xattrs === true) await UserXattrs.load();
    const scanner = new WorkerCalls<ScanMethods>(newWorker('./scan-worker.js'));
    const reader = new WorkerCalls<ReadMethods>(newWorker('./read-worker.js'));
    const opened = await scanner.call('open', {
      folder: options.stateFolder,
      jobs: options.scanJobs,
      attributes: options.attributes ?? defaultAttributes,
      scan: {
        root: fromUserPath(options.source),
        exclude: options.exclude,
        delete: options.delete,
        deleteExcluded: options.deleteExcluded,
        maxDelete: options.maxDelete,
        acceptDeletes: options.acceptDeletes,
        scope: options.paths.map(scopePath),
        checksum: options.checksum,
        maxSize: options.maxSize,
        oneFileSystem: options.oneFileSystem,
        settle: options.settle,
        numericIds: options.numericIds,
        pace: { intervalMs: options.intervalMs, cpuShare: options.cpuShare },
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
    for await (const event of this.#events) {
      this.#board.note(event);
      if (this.#report.isNews(event)) yield event;
    }
    const bug = await done;
    this.#steering.close(new ReplicaError('ERR_SOCKET', 'the push ended'));
    if (bug !== undefined) throw bug;
    yield { kind: 'end', outcome: this.#outcome };
  }

  /**
   * `run`, for whoever wants to know no more than each time that source and replica became equal.
   * Throws the ReplicaError that ended it; ends when the signal is aborted, or with `once`.
   */
  async *cycles(): AsyncGenerator<Cycle> {
    for await (const event of this.run()) {
      if (event.kind === 'synced') yield { entries: event.entries, special: event.special };
      else if (event.kind === 'end' && event.outcome.error !== undefined) throw event.outcome.error;
    }
  }

  // -- asked while it runs ------------------------------------------------------------------------

  /**
   * Resolves when everything that was at the source at this call is durable at the replica, an edit
   * made just before it included. Rejects when paused, when the source is gone, when the sender
   * ends, or when `signal` is aborted.
   */
  flush(signal?: AbortSignal): Promise<Flushed> {
    return this.#steering.flush(signal);
  }

  /** Looks at nothing and sends nothing new until `resume`; the connection stays. */
  pause(): void {
    this.#steering.pause();
  }

  resume(): void {
    this.#steering.resume();
  }

  /**
   * What becomes of held deletes: 'approve' carries them out, 'reject' leaves those entries at the
   * replica for as long as this sender runs, 'undo' has what was rejected judged anew. Returns how
   * many there were.
   */
  async decide(verdict: Verdict): Promise<number> {
    const count = await this.#scanner.call('decide', verdict);
    this.#steering.hurry();
    return count;
  }

  /** What is known about one path of the source (relative to it, as a user gives it). */
  explain(path: string): Promise<Explanation> {
    return this.#scanner.call('explain', { path: fromUserPath(path) });
  }

  /**
   * One line for each change that is under way, oldest first, and then for each delete that is held;
   * at most `limit`.
   */
  async pending(limit: number): Promise<string[]> {
    const lines: string[] = [];
    for (const change of this.#transfer?.underWay() ?? []) {
      if (lines.length >= limit) break;
      lines.push(itemize(change));
    }
    const held = await this.#scanner.call('heldDeletes', limit - lines.length);
    return [...lines, ...held.map(itemizeHeld)];
  }

  get status(): SenderStatus {
    return this.#board.status({
      isPaused: this.#steering.isPaused,
      isSynced: this.#report.isSynced,
      outstanding: this.#transfer?.outstanding ?? 0,
      content: this.#transfer && { ...this.#transfer.content, isPartial: this.#report.isLooking },
      wireBytes: this.#transfer?.wireBytes ?? 0,
      oldestMs: this.#transfer?.oldestMs ?? this.#report.deferredSinceMs,
      ...this.#report.tree,
      poll: this.#report.figures,
    });
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
    const patience = new Patience(timeoutMs);
    let doubts = 0;
    let refusals = 0;
    let isKnown = false;
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        // A stop ends connecting and agreeing at once; after that the commit under way is finished.
        const untilAgreed = new AbortController();
        const stopping = onAbort(signal, () => untilAgreed.abort());
        const connection = await this.#options.connect(untilAgreed.signal).finally(stopping.forget);
        patience.reached();
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
        const hasProgress = this.#report.takeProgress() || this.#hasProgress;
        if (hasProgress) attempt = 0;
        this.#hasProgress = false;
        const retryInMs = reconnectDelayMs(attempt, Math.random());
        if (patience.isOver(hasProgress, retryInMs) && once) {
          const message = `gave up after --timeout: ${error.message}`;
          // A disk that is full is no matter of patience.
          const code = error.code === 'ERR_IO' ? 'ERR_IO' : 'ERR_TIMEOUT';
          return this.#fail(new ReplicaError(code, message, { cause: error }));
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
    const report = this.#report;
    const steering = this.#steering;
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
    const factor = await this.#reader.call('begin', {
      root: fromUserPath(this.#options.source),
      jobs: this.#options.scanJobs,
      folder: this.#options.stateFolder,
      secret: new Uint8Array(welcome.secret),
      checkSecret: this.#checkSecret,
    });
    const parts = { scanner: this.#scanner, events: this.#events };
    const transfer = new Transfer({
      ...parts,
      ...{ connection, factor, reader: this.#reader, watermark: welcome.watermark },
      optimize: this.#options.optimize ?? senderDefaults.optimize,
    });
    this.#transfer = transfer;
    const ticker = new Ticker(this.#options, { ...parts, report, steering }, transfer);
    const stopped = onAbort(this.#options.signal, () => {});
    const over = new AbortController();
    try {
      const broken = this.#receive(messages, transfer);
      const sending = transfer.run();
      const ticking = ticker.run().then(outcome => {
        if (outcome !== undefined) this.#outcome = outcome;
        return outcome !== undefined;
      });
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
      this.#transfer = undefined;
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
}

/** Of the heap of a worker: by default a thread takes three times as much before it tidies up. */
const youngGenerationMib = 6;

function newWorker(file: string): Worker {
  const resourceLimits = { maxYoungGenerationSizeMb: youngGenerationMib };
  return new Worker(new URL(file, import.meta.url), { execArgv: [], resourceLimits });
}
