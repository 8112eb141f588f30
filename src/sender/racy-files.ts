// A file may be edited in the very tick of the file system's clock in which it was read: its times
// then tell nothing ("racily clean": git, Documentation/technical/racy-git.txt). A push that runs on
// looks at what it read a second time, 2 s later. One that ends leaves that to the next, which reads
// again what was read less than a minute after it had changed, and believes the times of the rest.
import type { NodeId } from '../snapshot/entry.ts';
import type { SnapshotStore } from '../store/snapshot-store.ts';
import type { Observed } from './observed.ts';

/** How far the clock of a file server may be behind this machine's. */
const clockSkewMs = 60_000;
const batchRows = 8192;
/** f64, ms since the epoch: what is not yet trusted was read then or later. */
const sinceKey = 'recent-since';

/** Of one process. */
export class RacyFiles {
  readonly #store: SnapshotStore;
  readonly #observed: Observed;
  readonly #beganMs: number;
  #isUnread = false;

  /** `beganMs`: before this process read its first file, in ms since the epoch. */
  constructor(options: { store: SnapshotStore; observed: Observed; beganMs: number }) {
    this.#store = options.store;
    this.#observed = options.observed;
    this.#beganMs = options.beganMs;
  }

  /** Before the first look of a session; `isOnce`: the process ends when both sides are equal. */
  begin(isOnce: boolean): void {
    if (this.#store.recent(1).length === 0) this.#writeSince();
    if (!isOnce) return;
    const racyFromMs = (this.#store.readMeta(sinceKey)?.readDoubleBE(0) ?? 0) - clockSkewMs;
    for (let after: NodeId | undefined; ; ) {
      const rows = this.#store.recent(batchRows, after);
      this.#store.transaction(() => {
        for (const { id, place } of rows) {
          const known = this.#store.find(place.parent, place.name);
          const isRacy = known?.entry.id === id && changedMs(known.entry.stamp) >= racyFromMs;
          if (isRacy) this.#observed.doubt(id, place);
          else this.#observed.trust(id);
        }
      });
      after = rows.at(-1)?.id;
      if (rows.length < batchRows) return;
    }
  }

  /** `isSame` undefined: the file could not be read. */
  looked(isSame: boolean | undefined): void {
    if (isSame === undefined) this.#isUnread = true;
  }

  /** All that `begin` had doubts about was looked at, if it could be. */
  end(): void {
    if (!this.#isUnread) this.#writeSince();
  }

  #writeSince(): void {
    const value = Buffer.alloc(8);
    value.writeDoubleBE(this.#beganMs);
    this.#store.transaction(() => this.#store.writeMeta(sinceKey, value));
  }
}

function changedMs({ ctimeNs }: { readonly ctimeNs: bigint }): number {
  return Number(ctimeNs / 1_000_000n);
}
