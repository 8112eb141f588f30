// Since when a name is at the replica as it is, for people who ask. In memory only: what was durable
// before this push began, or so long ago that it was forgotten, is known to be no newer than that.
import QuickLru from 'quick-lru';
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
  readonly #times: QuickLru<string, number>;
  /** No time that is not here is later. */
  #horizonMs: number;

  constructor(nowMs: () => number = Date.now) {
    this.#nowMs = nowMs;
    this.#horizonMs = nowMs();
    this.#times = new QuickLru({
      maxSize: syncTimesMax / 2, // It holds up to twice as many.
      onEviction: (_, timeMs) => {
        this.#horizonMs = Math.max(this.#horizonMs, timeMs);
      },
    });
  }

  /** A change of the name became durable. */
  note(parent: NodeId, name: Name): void {
    this.#times.set(`${parent}/${name}`, this.#nowMs());
  }

  since(parent: NodeId, name: Name): Since {
    const timeMs = this.#times.peek(`${parent}/${name}`);
    if (timeMs !== undefined) return { timeMs, isExact: true };
    return { timeMs: this.#horizonMs, isExact: false };
  }
}
