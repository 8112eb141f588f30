// What users ask of a sender that is running, until its ticks come to it.
import { ReplicaError } from '../errors.ts';
import { onAbort } from './waiting.ts';

/** What a flush found when everything it waited for was durable. */
export interface Flushed {
  /** Entries of the tree. */
  readonly entries: number;
  /** Entries that could not be read, or not be held by the receiver. */
  readonly problems: number;
  /** Deletes held back. */
  readonly held: number;
}

/** Settled once, by whoever comes to it first. */
export class Flush {
  readonly result: Promise<Flushed>;
  #resolve: (value: Flushed) => void = () => {};
  #reject: (error: ReplicaError) => void = () => {};
  #isOver = false;
  /** What was paused is tried again once, however many sessions and sweeps it takes. */
  hasLifted = false;

  constructor() {
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.result.catch(() => {}); // Nobody may be waiting any more.
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  done(value: Flushed): void {
    this.#isOver = true;
    this.#resolve(value);
  }

  fail(error: ReplicaError): void {
    this.#isOver = true;
    this.#reject(error);
  }
}

export class Steering {
  #flushes: Flush[] = [];
  #isPaused = false;
  #closed: ReplicaError | undefined;
  /** Wakes the tick that waits; there is one. */
  #wake: () => void = () => {};

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Nothing is looked at or sent until `resume`; what is under way is finished. */
  pause(): void {
    this.#isPaused = true;
    for (const flush of this.flushes()) flush.fail(paused());
    this.#wake();
  }

  resume(): void {
    this.#isPaused = false;
    this.#wake();
  }

  /** Something was asked that the next tick is to see to: it begins at once. */
  hurry(): void {
    this.#wake();
  }

  /** Rejects with ERR_USAGE while paused, or the error the sender ended with. */
  flush(signal?: AbortSignal): Promise<Flushed> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (this.#isPaused) return Promise.reject(paused());
    const flush = new Flush();
    // Not into the list that a tick under way has: that one may have looked already.
    this.#flushes = [...this.#flushes, flush];
    this.#wake();
    if (signal === undefined) return flush.result;
    const abandon = onAbort(signal, () => flush.fail(abandoned()));
    return flush.result.finally(abandon.forget);
  }

  /** Those that nobody came to yet. */
  flushes(): readonly Flush[] {
    this.#flushes = this.#flushes.filter(flush => !flush.isOver);
    return this.#flushes;
  }

  /** The sender ended: nobody will come to what is asked. */
  close(error: ReplicaError): void {
    this.#closed = error;
    for (const flush of this.flushes()) flush.fail(error);
    this.#wake();
  }

  /** Resolves when not paused, or when the signal is aborted. */
  async resumed(signal: AbortSignal): Promise<void> {
    while (this.#isPaused && !signal.aborted) await this.#woken(undefined, signal);
  }

  /** Resolves after `ms`, or as soon as something is asked or the signal is aborted. */
  async asked(ms: number, signal: AbortSignal): Promise<void> {
    if (this.flushes().length > 0) return;
    await this.#woken(ms, signal);
  }

  async #woken(ms: number | undefined, signal: AbortSignal): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const woken = new Promise<void>(resolve => {
      this.#wake = resolve;
      if (ms !== undefined) timer = setTimeout(resolve, ms);
    });
    const aborted = onAbort(signal, () => {});
    await Promise.race([woken, aborted.done]);
    aborted.forget();
    clearTimeout(timer);
  }
}

function paused(): ReplicaError {
  return new ReplicaError('ERR_USAGE', "the push is paused: 'replica resume' first");
}

function abandoned(): ReplicaError {
  return new ReplicaError('ERR_TIMEOUT', 'the flush was abandoned');
}
