// Link counts of directories on their way between the two layers. Only this side knows which
// directories are mount points (2; 1: none, 0: not known), so what an agreement takes over from the
// receiver is completed from here. Kept in the store: an agreement may be broken off, over and over,
// and the process may end between two of them.
import type { NodeId } from '../snapshot/entry.ts';
import type { Known } from '../snapshot/listing.ts';
import type { SnapshotStore } from '../store/snapshot-store.ts';

const key = 'links';
const recordSize = 7;

export class DirectoryLinks {
  readonly #store: SnapshotStore;
  /** All that are not 1. */
  readonly #counts = new Map<NodeId, number>();
  /** No state tells of directories that are not in the map: 0, otherwise they are 1. */
  #areUnknown = false;

  /** meta 'links' := u8 areUnknown | (u48 directory | u8 count)* */
  constructor(store: SnapshotStore) {
    this.#store = store;
    const bytes = store.readMeta(key);
    if (bytes === undefined) return;
    this.#areUnknown = bytes.readUInt8(0) === 1;
    for (let at = 1; at < bytes.length; at += recordSize) {
      this.#counts.set(bytes.readUIntBE(at, 6) as NodeId, bytes.readUInt8(at + 6));
    }
  }

  /** The count to give a directory that is taken over. */
  of(directory: NodeId): number {
    return this.#counts.get(directory) ?? (this.#areUnknown ? 0 : 1);
  }

  /** The store was emptied: it knew another replica. */
  begin(): void {
    this.#counts.clear();
    this.#areUnknown = true;
    this.restore();
  }

  /** A directory is about to be sent. */
  note({ entry: { id, kind }, nlink }: Known): void {
    if (kind !== 'directory' || (this.#counts.get(id) ?? 1) === nlink) return;
    if (nlink === 1) this.#counts.delete(id);
    else this.#counts.set(id, nlink);
    this.restore();
  }

  /** The listings of `directories` are about to be dropped. What was noted since is newer. */
  keep(directories: Iterable<NodeId>): void {
    const before = this.#counts.size;
    for (const directory of directories) {
      for (const { entry, nlink } of this.#store.listing(directory)) {
        if (entry.kind !== 'directory' || nlink === 1 || this.#counts.has(entry.id)) continue;
        this.#counts.set(entry.id, nlink);
      }
    }
    if (this.#counts.size > before) this.restore();
  }

  /** Agreed: the listings tell of all directories. */
  settle(): void {
    if (this.#counts.size === 0 && !this.#areUnknown) return;
    this.#counts.clear();
    this.#areUnknown = false;
    this.#store.transaction(() => this.#store.dropMeta(key));
  }

  /** Writes the record, also where the store was emptied. */
  restore(): void {
    const bytes = Buffer.alloc(1 + this.#counts.size * recordSize);
    bytes.writeUInt8(this.#areUnknown ? 1 : 0, 0);
    let at = 1;
    for (const [id, count] of this.#counts) {
      bytes.writeUIntBE(id, at, 6);
      bytes.writeUInt8(count, at + 6);
      at += recordSize;
    }
    this.#store.transaction(() => this.#store.writeMeta(key, bytes));
  }
}
