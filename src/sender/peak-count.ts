// The largest number of entries of the last minutes.
import { clockMs } from './clock.ts';

/** Between one and two of these are remembered. */
const periodMs = 5 * 60 * 1000;
/** Deletes that somebody approved are durable by then, or somebody is asked again. */
const underWayMs = 30_000;

export class PeakCount {
  readonly #nowMs: () => number;
  #period: number;
  #now = 0;
  #before = 0;
  /** Until then what is counted may still have entries that are to go. */
  #underWayUntilMs = 0;

  constructor(nowMs: () => number = clockMs) {
    this.#nowMs = nowMs;
    this.#period = Math.floor(nowMs() / periodMs);
  }

  /** So many there are now. Returns the most there were. */
  note(count: number): number {
    const nowMs = this.#nowMs();
    const period = Math.floor(nowMs / periodMs);
    if (period !== this.#period) {
      this.#before = period === this.#period + 1 ? this.#now : 0;
      this.#now = 0;
      this.#period = period;
    }
    if (nowMs >= this.#underWayUntilMs) this.#now = Math.max(this.#now, count);
    return Math.max(this.#now, this.#before);
  }

  /** Of `there` so many go, and somebody said they should: what went before is forgotten as well. */
  lower(count: number, there: number): void {
    this.#now = Math.max(0, Math.min(this.#now, there) - count);
    this.#before = 0;
    this.#underWayUntilMs = this.#nowMs() + underWayMs;
  }
}
