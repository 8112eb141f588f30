// When the content of a file that was just read is due for another look. What is due needs no entry:
// only files of the last seconds have one, however many there are in the tree.
import { trustAfterMs } from '../limits.ts';
import type { NodeId } from '../snapshot/entry.ts';
import { clockMs } from './clock.ts';

export class TrustTimes {
  readonly #nowMs: () => number;
  /** Those since the last turn, and those of the turn before. */
  #young = new Map<NodeId, number>();
  #old = new Map<NodeId, number>();
  #turnedMs: number;
  /** Another process may have read it just before this one began. */
  readonly #firstProofMs: number;

  constructor(nowMs: () => number = clockMs) {
    this.#nowMs = nowMs;
    this.#turnedMs = nowMs();
    this.#firstProofMs = this.#turnedMs + trustAfterMs;
  }

  /** The file was read now. */
  postpone(id: NodeId): void {
    const nowMs = this.#nowMs();
    if (nowMs - this.#turnedMs >= trustAfterMs) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#turnedMs = nowMs;
    }
    this.#young.set(id, nowMs + trustAfterMs);
  }

  /** Is it time for another look? */
  isDue(id: NodeId, nowMs: number): boolean {
    return (this.#young.get(id) ?? this.#old.get(id) ?? 0) <= nowMs;
  }

  /** Does a look that begins now come late enough after the first one for times to be trusted? */
  isProof(id: NodeId, nowMs: number): boolean {
    return (this.#young.get(id) ?? this.#old.get(id) ?? this.#firstProofMs) <= nowMs;
  }

  forget(id: NodeId): void {
    this.#young.delete(id);
    this.#old.delete(id);
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }
}
