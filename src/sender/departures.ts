// What later changes of a node build on: a file change names the version it makes, but another one
// may have been made instead, or none.
import { queuedChangesMax } from '../limits.ts';
import type { FileChange } from './change.ts';

/** Remembered departures: more than changes are queued, since queued changes may count on them. */
const departuresMax = 2 * queuedChangesMax;

export class Departures {
  /** By node and version, newest last. */
  readonly #departures = new Map<string, number | 'failed'>();

  /** The change made `version`: its own, the one before with the same content, or none. */
  note({ entry }: FileChange, version: number | 'failed'): void {
    const key = `${entry.id}.${entry.version}`;
    this.#departures.delete(key);
    if (version === entry.version) return;
    this.#departures.set(key, version);
    for (const oldest of this.#departures.keys()) {
      if (this.#departures.size <= departuresMax) break;
      this.#departures.delete(oldest);
    }
  }

  /** The version that was made where `version` was to be. */
  versionOf({ id, version }: FileChange['entry']): number | 'failed' {
    return this.#departures.get(`${id}.${version}`) ?? version;
  }
}
