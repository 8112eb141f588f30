// What the receiver does by itself, a little at a time: compares its tree with the records, and
// removes kept content that is due.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../log.ts';
import type { Lost } from '../wire/messages.ts';
import { cleanKept, type KeptOptions } from './kept.ts';
import { Sweep, type SweepOptions } from './sweep.ts';
import type { UnfinishedStages } from './unfinished.ts';

export interface CaretakerOptions extends KeptOptions, SweepOptions {
  readonly log: Log;
  readonly unfinished: UnfinishedStages;
  /** False while commits fail, or before the first sender came. */
  readonly isReady: () => boolean;
  readonly onLost: (entries: Lost['entries']) => void;
  readonly onFailure: (error: unknown) => void;
  readonly pauses: CaretakerPauses;
}

export interface CaretakerPauses {
  /** Between slices of 5 ms: a third of 1% of a core. */
  readonly sliceMs: number;
  /** The same until the tree was looked at once: what changed while nobody looked is found soon. */
  readonly firstSliceMs: number;
  /** Between the end of a sweep and the next. */
  readonly sweepMs: number;
  readonly cleanMs: number;
}

export const caretakerPauses: CaretakerPauses = {
  sliceMs: 1500,
  firstSliceMs: 5,
  sweepMs: 60_000,
  cleanMs: 5 * 60_000,
};

export class Caretaker {
  readonly #options: CaretakerOptions;
  readonly #sweep: Sweep;
  readonly #stop = new AbortController();
  readonly #ended: Promise<unknown>;
  #driftCount = 0;
  #sweepCount = 0;
  #waiters: (() => void)[] = [];

  constructor(options: CaretakerOptions) {
    this.#options = options;
    this.#sweep = new Sweep(options);
    this.#ended = Promise.all([this.#keepSweeping(), this.#keepCleaning()]);
  }

  /** Differences found and put aside so far. */
  get driftCount(): number {
    return this.#driftCount;
  }

  /** Complete looks at the tree so far. */
  get sweepCount(): number {
    return this.#sweepCount;
  }

  /** Resolves when the tree was looked at once, but after `limitMs` at the latest. */
  async firstSweep(limitMs: number): Promise<void> {
    if (this.#sweepCount > 0 || this.#options.pauses.firstSliceMs > limitMs) return;
    const ended = new AbortController();
    const done = new Promise<void>(resolve => this.#waiters.push(resolve));
    await Promise.race([done, sleep(limitMs, undefined, { signal: ended.signal }).catch(() => {})]);
    ended.abort();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#ended;
  }

  async #keepSweeping(): Promise<void> {
    const { pauses, exclusive, isReady } = this.#options;
    let pauseMs = pauses.firstSliceMs;
    while (await this.#pause(pauseMs)) {
      const sweepCount = this.#sweepCount;
      const isFine = await this.#guard(() => exclusive.run(() => this.#slice()));
      if (!isFine || this.#sweepCount > sweepCount) pauseMs = pauses.sweepMs;
      else pauseMs = sweepCount === 0 && isReady() ? pauses.firstSliceMs : pauses.sliceMs;
    }
    this.#wake();
  }

  async #slice(): Promise<void> {
    const { isReady, onLost } = this.#options;
    if (!isReady()) return this.#wake();
    const swept = await this.#sweep.slice();
    this.#driftCount += swept.driftCount;
    if (swept.lost.length > 0) onLost(swept.lost);
    if (!swept.isComplete) return;
    this.#sweepCount++;
    this.#wake();
  }

  /** Nobody has to wait for the first sweep any longer. */
  #wake(): void {
    for (const wake of this.#waiters) wake();
    this.#waiters = [];
  }

  async #keepCleaning(): Promise<void> {
    const { pauses, isReady } = this.#options;
    while (await this.#pause(pauses.cleanMs)) {
      if (!isReady()) continue;
      await this.#guard(async () => this.#options.unfinished.clean());
      await this.#guard(() => cleanKept(this.#options));
    }
  }

  async #guard(act: () => Promise<void>): Promise<boolean> {
    try {
      await act();
      return true;
    } catch (error) {
      this.#options.onFailure(error);
      return false;
    }
  }

  /** False when it is time to stop. */
  async #pause(ms: number): Promise<boolean> {
    try {
      await sleep(ms, undefined, { signal: this.#stop.signal, ref: false });
      return true;
    } catch {
      return false;
    }
  }
}
