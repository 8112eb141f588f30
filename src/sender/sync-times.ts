// Since when a name is at the replica as it is, for people who ask. In memory only: what was durable
// before this push began, or so long ago that it was forgotten, is known to be no newer than that.
import { syncTimesMax } from '../limits.ts';
import type { NodeId } from '../snapshot/entry.ts';
import type { Name } from '../snapshot/name.ts';

export interface Since {
  /** Since 1970. */
  readonly timeMs: number;
  /** False: then, or before. */
  readonly isExact: boolean;
}

export class SyncTimes {
  readonly #nowMs: () => number;
  /** Oldest first. */
  readonly #times = new Map<string, number>();
  /** No time that is not here is later. */
  #horizonMs: number;

  constructor(nowMs: () => number = Date.now) {
    this.#nowMs = nowMs;
    this.#horizonMs = nowMs();
  }

  /** A change of the name became durable. */
  note(parent: NodeId, name: Name): void {
    const key = `${parent}/${name}`;
    this.#times.delete(key);
    this.#times.set(key, this.#nowMs());
    if (this.#times.size <= syncTimesMax) return;
    for (const [oldest, timeMs] of this.#times) {
      this.#times.delete(oldest);
      this.#horizonMs = timeMs;
      return;
    }
  }

  since(parent: NodeId, name: Name): Since {
    const timeMs = this.#times.get(`${parent}/${name}`);
    if (timeMs !== undefined) return { timeMs, isExact: true };
    return { timeMs: this.#horizonMs, isExact: false };
  }
}
