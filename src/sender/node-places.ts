// Where the confirmed layer finds a node: by its inode, a directory by its id as well.
import { type Entry, type NodeId, sameStamp } from '../snapshot/entry.ts';
import type { Known } from '../snapshot/listing.ts';
import type { Name } from '../snapshot/name.ts';
import type { InodePlace, Place, SnapshotStore } from '../store/snapshot-store.ts';

export class NodePlaces {
  readonly #store: SnapshotStore;
  readonly #splits: { id: NodeId; place: Place }[] = [];

  constructor(store: SnapshotStore) {
    this.#store = store;
  }

  set(parent: NodeId, name: Name, entry: Entry): void {
    const { ino, birthtimeNs } = entry.stamp;
    if (entry.kind !== 'link' && ino !== 0n) {
      this.#store.setInode(ino, birthtimeNs, { parent, name, id: entry.id });
    }
    if (entry.kind === 'directory') this.#store.setDirectory(entry.id, { parent, name });
  }

  /** The name `old` goes, or becomes `next`: its inode is not found there any more. */
  drop(parent: NodeId, old: Known, next: Known | undefined): void {
    const { ino, birthtimeNs } = old.entry.stamp;
    if (next?.entry.stamp.ino === ino && next.entry.stamp.birthtimeNs === birthtimeNs) return;
    const place = this.#store.placeOfInode(ino, birthtimeNs);
    if (place?.parent === parent && place.name === old.name)
      this.#store.dropInode(ino, birthtimeNs);
  }

  /** The other name of a file, by its inode; undefined: it has none, or it is not known. */
  twinOf(parent: NodeId, name: Name, entry: Entry): InodePlace | undefined {
    const { ino, birthtimeNs } = entry.stamp;
    if (entry.kind !== 'file' || ino === 0n) return undefined;
    const twin = this.#store.placeOfInode(ino, birthtimeNs);
    if (twin === undefined || (twin.parent === parent && twin.name === name)) return undefined;
    return twin;
  }

  /** Two nodes of one inode and one stamp: names that should be linked and are not. */
  noteSplit(parent: NodeId, name: Name, entry: Entry): void {
    const twin = this.twinOf(parent, name, entry);
    if (twin === undefined || twin.id === entry.id) return;
    const other = this.#store.find(twin.parent, twin.name);
    if (other?.entry.id !== twin.id || !sameStamp(other.entry.stamp, entry.stamp)) return;
    this.#splits.push({ id: twin.id, place: { parent: twin.parent, name: twin.name } });
  }

  /** Names to be linked to the node that has their inode. */
  takeSplits(): { id: NodeId; place: Place }[] {
    return this.#splits.splice(0);
  }
}
