// Names that are not tried again for a while: by growing pauses, so that what cannot be done costs
// next to nothing.
import { pausedNamesMax } from '../limits.ts';
import type { NodeId } from '../snapshot/entry.ts';
import type { Name } from '../snapshot/name.ts';
import type { Place } from '../store/snapshot-store.ts';
import { clockMs } from './clock.ts';

/**
 * unstable: the file keeps changing. unreadable: it cannot be read. refused: the receiver cannot hold
 * it, or not let it go.
 */
export type PauseReason = 'unstable' | 'unreadable' | 'refused';

export interface Pause {
  readonly reason: PauseReason;
  readonly untilMs: number;
  readonly delayMs: number;
}

const boundsMs = {
  unstable: { min: 100, max: 10_000 },
  unreadable: { min: 5_000, max: 300_000 },
  refused: { min: 5_000, max: 300_000 },
} as const;

const fleeting: ReadonlySet<PauseReason> = new Set(['unstable']);
const all: ReadonlySet<PauseReason> = new Set(['unstable', 'unreadable', 'refused']);

export class Pauses {
  readonly #pauses = new Map<NodeId, Map<Name, Pause>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Longer than the one before, if that was for the same reason. */
  begin({ parent, name }: Place, reason: PauseReason): void {
    const before = this.#pauses.get(parent)?.get(name);
    const { min, max } = boundsMs[reason];
    const lastMs = before?.reason === reason ? before.delayMs : min / 2;
    const delayMs = Math.min(lastMs * 2, max);
    this.end({ parent, name });
    this.#set({ parent, name }, { reason, untilMs: clockMs() + delayMs, delayMs });
    if (this.#size > pausedNamesMax) this.#dropOldest();
  }

  end({ parent, name }: Place): void {
    const names = this.#pauses.get(parent);
    if (names?.delete(name) !== true) return;
    this.#size--;
    if (names.size === 0) this.#pauses.delete(parent);
  }

  /** Why a name is not tried again before when; undefined once its time has come. */
  of({ parent, name }: Place): Pause | undefined {
    const pause = this.#pauses.get(parent)?.get(name);
    return pause !== undefined && pause.untilMs > clockMs() ? pause : undefined;
  }

  /** A name went from the directory, which may have been in the way of others: they are tried again. */
  makeRoom(parent: NodeId): void {
    for (const [name, pause] of this.#pauses.get(parent) ?? []) {
      if (pause.reason === 'refused') this.#set({ parent, name }, { ...pause, untilMs: 0 });
    }
  }

  /**
   * The next look tries again what was paused ('fleeting': as it kept changing); the pause after that
   * is longer all the same.
   */
  lift(which: 'fleeting' | 'all'): void {
    const reasons = which === 'all' ? all : fleeting;
    for (const [parent, names] of this.#pauses) {
      for (const [name, pause] of names) {
        if (reasons.has(pause.reason)) this.#set({ parent, name }, { ...pause, untilMs: 0 });
      }
    }
  }

  #set({ parent, name }: Place, pause: Pause): void {
    const names = this.#pauses.get(parent) ?? new Map<Name, Pause>();
    if (!names.has(name)) this.#size++;
    this.#pauses.set(parent, names.set(name, pause));
  }

  /** Names that are gone from the source are ended by nothing else. */
  #dropOldest(): void {
    for (const [parent, names] of this.#pauses) {
      for (const name of names.keys()) {
        this.end({ parent, name });
        return;
      }
    }
  }
}
