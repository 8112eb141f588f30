// What the receiver does by itself, a little at a time: compares its tree with the records, and
// removes kept content that is due.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../log.ts';
import type { Lost } from '../wire/messages.ts';
import { cleanKept, type KeptOptions } from './kept.ts';
import { Sweep, type SweepOptions } from './sweep.ts';

export interface CaretakerOptions extends KeptOptions, SweepOptions {
  readonly log: Log;
  /** False while commits fail, or before the first sender came. */
  readonly isReady: () => boolean;
  readonly onLost: (entries: Lost['entries']) => void;
  readonly onFailure: (error: unknown) => void;
  readonly pauses: CaretakerPauses;
}

export interface CaretakerPauses {
  /** Between slices of 5 ms: 1% of a core. */
  readonly sliceMs: number;
  /** Between the end of a sweep and the next. */
  readonly sweepMs: number;
  readonly cleanMs: number;
}

export const caretakerPauses: CaretakerPauses = {
  sliceMs: 500,
  sweepMs: 60_000,
  cleanMs: 5 * 60_000,
};

export class Caretaker {
  readonly #options: CaretakerOptions;
  readonly #sweep: Sweep;
  readonly #stop = new AbortController();
  readonly #ended: Promise<unknown>;
  #driftCount = 0;

  constructor(options: CaretakerOptions) {
    this.#options = options;
    this.#sweep = new Sweep(options);
    this.#ended = Promise.all([this.#keepSweeping(), this.#keepCleaning()]);
  }

  /** Differences found and put aside so far. */
  get driftCount(): number {
    return this.#driftCount;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#ended;
  }

  async #keepSweeping(): Promise<void> {
    const { pauses, exclusive, isReady, onLost } = this.#options;
    let pauseMs = pauses.sliceMs;
    while (await this.#pause(pauseMs)) {
      pauseMs = pauses.sliceMs;
      if (!isReady()) continue;
      const isDone = await this.#guard(async () => {
        const swept = await exclusive.run(() => this.#sweep.slice());
        this.#driftCount += swept.driftCount;
        if (swept.lost.length > 0) onLost(swept.lost);
        if (swept.isComplete) pauseMs = pauses.sweepMs;
      });
      if (!isDone) pauseMs = pauses.sweepMs;
    }
  }

  async #keepCleaning(): Promise<void> {
    const { pauses, isReady } = this.#options;
    while (await this.#pause(pauses.cleanMs)) {
      if (isReady()) await this.#guard(() => cleanKept(this.#options));
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
