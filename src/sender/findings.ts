// What a sweep hands out: changes up to the room there is, problems, and counts of both.
import type { Problem } from '../errors.ts';
import type { Change } from './change.ts';

const noCounts = {
  directories: 0,
  changes: 0,
  deferred: 0,
  problems: 0,
};

export class Findings {
  #changes: Change[] = [];
  #problems: Problem[] = [];
  /** Changes that may be handed out before `take`. */
  room = 0;
  /** There was no room for a change since `begin`. */
  isFull = false;
  /** Since `begin`. */
  counts = { ...noCounts };

  get changeCount(): number {
    return this.#changes.length;
  }

  /** A tick begins. */
  begin(): void {
    this.counts = { ...noCounts };
    this.isFull = false;
  }

  take(): { changes: readonly Change[]; problems: readonly Problem[] } {
    const taken = { changes: this.#changes, problems: this.#problems };
    this.#changes = [];
    this.#problems = [];
    return taken;
  }

  hasRoom(): boolean {
    if (this.#changes.length < this.room) return true;
    this.isFull = true;
    this.defer();
    return false;
  }

  hand(change: Change): void {
    this.counts.changes++;
    this.#changes.push(change);
  }

  problem(path: string, code: string, message: string): void {
    this.report({ path, code, message });
  }

  report(problem: Problem): void {
    this.counts.problems++;
    this.#problems.push(problem);
  }

  /** A second look, which is no change. */
  look(change: Change): void {
    this.#changes.push(change);
  }

  /** Something was seen and put off. */
  defer(): void {
    this.counts.deferred++;
  }
}
