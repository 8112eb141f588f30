// Which directories are to be looked at out of turn: at once, again because something in them was
// put off, or in each tick because they changed lately.
import { hotFoldersMax, hotMs } from '../limits.ts';
import type { KnownFolder } from './folder-table.ts';

export class HotFolders {
  readonly #urgent = new Set<KnownFolder>();
  readonly #retries = new Map<KnownFolder, 'deferred' | 'problem'>();
  /** Until when; those looked at last come last. */
  readonly #hot = new Map<KnownFolder, number>();

  get size(): number {
    return this.#hot.size;
  }

  /** Directories in which something was put off. */
  get deferredCount(): number {
    let count = 0;
    for (const reason of this.#retries.values()) if (reason === 'deferred') count++;
    return count;
  }

  get hasUrgent(): boolean {
    return this.#urgent.size > 0;
  }

  clear(): void {
    this.#urgent.clear();
    this.#retries.clear();
    this.#hot.clear();
  }

  addUrgent(folder: KnownFolder): void {
    this.#urgent.add(folder);
  }

  /** The one nearest to the root: what becomes of it decides about those below. */
  takeUrgent(): KnownFolder[] {
    const folders = [...this.#urgent].sort((a, b) => a.depth - b.depth);
    this.#urgent.clear();
    return folders;
  }

  /** It was looked at: what came of it decides when it is looked at again. */
  looked(
    folder: KnownFolder,
    found: { isChanged: boolean; retry: 'deferred' | 'problem' | undefined },
    nowMs: number,
  ): void {
    this.#urgent.delete(folder);
    this.#retries.delete(folder);
    if (found.retry !== undefined) this.#retries.set(folder, found.retry);
    const untilMs = found.isChanged ? nowMs + hotMs : (this.#hot.get(folder) ?? 0);
    this.#hot.delete(folder);
    if (untilMs <= nowMs || folder.slot < 0) return;
    this.#hot.set(folder, untilMs);
    if (this.#hot.size <= hotFoldersMax) return;
    for (const oldest of this.#hot.keys()) {
      this.#hot.delete(oldest);
      return;
    }
  }

  /** All directories for this tick, those not looked at for longest first. */
  *turn(): Generator<KnownFolder> {
    for (const folder of [...this.#retries.keys(), ...this.#hot.keys()]) {
      if (folder.slot >= 0) yield folder;
      else this.#forget(folder);
    }
  }

  #forget(folder: KnownFolder): void {
    this.#retries.delete(folder);
    this.#hot.delete(folder);
  }
}
