// How fast the rolling sweep goes. A tree that is small enough is swept in each tick. A larger one is
// swept with the same share of a core, slower the larger it is, until that would take longer than a
// user waits for: from there on faster again, as far as the tick's budget goes.
import { sweepPeriodMs } from '../limits.ts';

/** Of --cpu-limit: what sweeping takes where that is enough. */
const sweepShareOfLimit = 0.2;

export interface SweepPaceOptions {
  readonly intervalMs: number;
  /** --cpu-limit, of one core; 0.1 is 10%. */
  readonly cpuShare: number;
}

export class SweepPace {
  readonly #share: number;
  readonly #intervalMs: number;
  #costMs = Number.POSITIVE_INFINITY;
  /** In the round under way. */
  #spentMs = 0;
  /** Work that is due; below zero after a directory that took more. */
  #creditMs = 0;
  #atMs = 0;

  constructor({ intervalMs, cpuShare }: SweepPaceOptions) {
    this.#share = cpuShare * sweepShareOfLimit;
    this.#intervalMs = intervalMs;
  }

  /** What the last complete round took, in ms of work; infinite before there was one. */
  get costMs(): number {
    return this.#costMs;
  }

  /** Is everything to be looked at in each tick? */
  get isEachTick(): boolean {
    return this.#costMs <= this.#share * this.#intervalMs;
  }

  /** All is listed anew, whatever was before. */
  beginRound(): void {
    this.#spentMs = 0;
  }

  /** Is it time for the next directory? Monotonic. */
  isDue(nowMs: number): boolean {
    const earned = this.#creditMs + (nowMs - this.#atMs) * this.#rate;
    // A round at most in either direction: neither a rush after a pause, nor the other way about.
    this.#creditMs = Math.max(-this.#costMs, Math.min(earned, this.#costMs));
    this.#atMs = nowMs;
    return this.#creditMs > 0;
  }

  /** A directory was listed, the first time in this round. */
  spend(ms: number): void {
    this.#spentMs += ms;
    this.#creditMs -= ms;
  }

  /** Everything was looked at; `isAtOnce`: in this tick. */
  endRound(nowMs: number, isAtOnce: boolean): void {
    this.#costMs = this.#spentMs;
    this.#spentMs = 0;
    if (!isAtOnce) return;
    this.#creditMs = 0;
    this.#atMs = nowMs;
  }

  /** Work per time: the next round is to take as much as the last one. */
  get #rate(): number {
    return Math.max(this.#share, this.#costMs / Math.max(sweepPeriodMs, this.#intervalMs));
  }
}
