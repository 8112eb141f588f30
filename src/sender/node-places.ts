// Where the confirmed layer finds a node: by its inode, a directory by its id as well. Of a file with
// several names all are remembered: whichever of them goes, the others lead to it.
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

  /** `isNewest`: others of the file lag behind it. */
  set(parent: NodeId, { name, entry, nlink }: Known, { isNewest = true } = {}): void {
    const { ino, birthtimeNs } = entry.stamp;
    if (entry.kind === 'directory') this.#store.setDirectory(entry.id, { parent, name });
    if (entry.kind === 'link' || ino === 0n) return;
    const place = { parent, name, id: entry.id };
    const mayBeLinked = entry.kind === 'file' && nlink !== 1;
    const others = mayBeLinked ? this.#othersOf(place, entry) : [];
    this.#store.setInode(ino, birthtimeNs, isNewest ? [place, ...others] : [...others, place]);
  }

  /** The name `old` goes, or becomes `next`: its inode is not found there any more. */
  drop(parent: NodeId, old: Known, next: Known | undefined): void {
    const { ino, birthtimeNs } = old.entry.stamp;
    if (next?.entry.stamp.ino === ino && next.entry.stamp.birthtimeNs === birthtimeNs) return;
    const places = this.#store.placesOfInode(ino, birthtimeNs);
    const others = places.filter(place => place.parent !== parent || place.name !== old.name);
    if (others.length < places.length) this.#store.setInode(ino, birthtimeNs, others);
  }

  /** Another name of a file, by its inode; undefined: it has none, or none is known. */
  twinOf(parent: NodeId, name: Name, entry: Entry): InodePlace | undefined {
    if (entry.kind !== 'file' || entry.stamp.ino === 0n) return undefined;
    return this.#othersOf({ parent, name }, entry)[0];
  }

  #othersOf({ parent, name }: Place, { stamp }: Entry): InodePlace[] {
    const places = this.#store.placesOfInode(stamp.ino, stamp.birthtimeNs);
    return places.filter(place => place.parent !== parent || place.name !== name);
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
