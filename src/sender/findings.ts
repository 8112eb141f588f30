// What a sweep hands out: changes up to the room there is, problems, and counts of both.
import type { Problem } from '../errors.ts';
import type { NodeId } from '../snapshot/entry.ts';
import type { Change } from './change.ts';

const noCounts = {
  directories: 0,
  changes: 0,
  deferred: 0,
  settling: 0,
  paused: 0,
  problems: 0,
};

export class Findings {
  #changes: Change[] = [];
  #problems: Problem[] = [];
  /** New directories that wait until they are visited, so that what is in them follows at once. */
  readonly #directories = new Map<NodeId, Change>();
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

  /** What waits will never be handed out. */
  clear(): void {
    this.#directories.clear();
  }

  hasRoom(): boolean {
    if (this.#changes.length + this.#directories.size < this.room) return true;
    this.isFull = true;
    this.defer();
    return false;
  }

  hand(change: Change): void {
    this.counts.changes++;
    this.#changes.push(change);
  }

  /** A new directory: `visit` it, or `endVisits`. Nothing else names it before. */
  handDirectory(id: NodeId, change: Change): void {
    this.counts.changes++;
    this.#directories.set(id, change);
  }

  /** Changes of what is in the directory come next. */
  visit(id: NodeId): void {
    const change = this.#directories.get(id);
    if (change === undefined) return;
    this.#directories.delete(id);
    this.#changes.push(change);
  }

  /** Directories that waited for a visit are visited another time. */
  endVisits(): void {
    for (const id of this.#directories.keys()) this.visit(id);
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

  /** What could not be read, or not be done by the receiver, was put off. */
  pause(): void {
    this.counts.paused++;
    this.defer();
  }

  /** A file was put off until it has been left alone for long enough. */
  settle(): void {
    this.counts.settling++;
    this.defer();
  }
}
