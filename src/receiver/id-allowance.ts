// Node ids are never used twice, so a peer that skips them uses up the 2^47 of the replica. However
// often it connects, what it may skip is a burst, and after that no more than time brings.
import { idsPerSecondMax, idsSkippedMax } from '../limits.ts';
import { nodeIdMax } from '../snapshot/entry.ts';

export class IdAllowance {
  #end: number;
  #atMs: number;

  /** `nextId`: the smallest never used; `nowMs`: monotonic, as below. */
  constructor(nextId: number, nowMs: number) {
    this.#end = nextId + idsSkippedMax;
    this.#atMs = nowMs;
  }

  /** New ids are below it. */
  endAt(nextId: number, nowMs: number): number {
    const grown = this.#end + Math.floor(((nowMs - this.#atMs) * idsPerSecondMax) / 1000);
    if (grown > this.#end) {
      this.#end = Math.min(grown, nextId + idsSkippedMax);
      this.#atMs = nowMs;
    }
    return Math.min(this.#end, nodeIdMax);
  }
}
