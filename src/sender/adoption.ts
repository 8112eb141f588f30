// What the receiver holds is taken over into the confirmed layer, after an agreement that failed.
import type { Entry, NodeId, PlacedEntry } from '../snapshot/entry.ts';
import type { Known } from '../snapshot/listing.ts';
import type { Name } from '../snapshot/name.ts';
import type { SnapshotStore } from '../store/snapshot-store.ts';
import type { DirectoryLinks } from './directory-links.ts';
import type { NodePlaces } from './node-places.ts';

type Listings = Map<NodeId, Map<Name, Known>>;

export class Adoption {
  readonly #store: SnapshotStore;
  readonly #links: DirectoryLinks;
  readonly #places: NodePlaces;
  /** The layer was the receiver's before: what differs now was on its way. */
  #isContinued = false;
  /** Files of the directories being taken over, by parent and name, as they were. */
  readonly #before = new Map<string, Entry>();

  constructor(store: SnapshotStore, links: DirectoryLinks, places: NodePlaces) {
    this.#store = store;
    this.#links = links;
    this.#places = places;
  }

  /** The receiver's entries of the directories `ids` follow. */
  begin(ids: readonly NodeId[], { isContinued }: { isContinued: boolean }): void {
    this.#isContinued = isContinued;
    this.#before.clear();
    this.#store.transaction(() => {
      for (const id of ids) {
        for (const { name, entry } of this.#store.listing(id)) {
          if (entry.kind === 'file') this.#before.set(`${id}/${name}`, entry);
        }
      }
      this.dropListings(ids);
    });
  }

  /** Within a transaction. */
  dropListings(ids: readonly NodeId[]): void {
    this.#links.keep(ids);
    for (const id of ids) {
      for (const known of this.#store.listing(id)) this.#places.drop(id, known, undefined);
      this.#store.dropListing(id);
    }
  }

  add(entries: readonly PlacedEntry[]): void {
    const listings: Listings = new Map();
    this.#store.transaction(() => {
      for (const placed of entries) this.#addTo(listings, placed);
      for (const [parent, names] of listings) this.#store.update(parent, names);
      for (const { parent, name, entry } of entries) {
        if (entry.kind === 'file') this.#places.noteSplit(parent, name, entry);
      }
    });
  }

  #addTo(listings: Listings, { parent, name, entry }: PlacedEntry): void {
    const set = (directory: NodeId, known: Known): void => {
      const names = listings.get(directory) ?? new Map<Name, Known>();
      listings.set(directory, names.set(known.name, known));
    };
    let nlink = entry.kind === 'directory' ? this.#links.of(entry.id) : 1;
    let isNewest = true;
    const twin = this.#places.twinOf(parent, name, entry);
    if (twin?.id === entry.id) {
      nlink = 2;
      const other =
        listings.get(twin.parent)?.get(twin.name) ?? this.#store.find(twin.parent, twin.name);
      if (other?.entry.id === entry.id) {
        set(twin.parent, { ...other, nlink });
        isNewest = !isNewer(other.entry, entry);
      }
    }
    set(parent, { name, entry, nlink });
    // Names that lag behind are linked to the one whose place is found first.
    this.#places.set(parent, { name, entry, nlink: 0 }, { isNewest });
    const before = this.#before.get(`${parent}/${name}`);
    if (this.#isUnconfirmed(before, entry)) this.#store.setRecent(entry.id, { parent, name });
    // A receiver that went back (to a snapshot of its disk, or over what was never flushed) counts the
    // same versions once more: the blocks known here may be those of other content.
    if (entry.kind === 'file' && !isSameContent(before, entry)) this.#store.dropBasis(entry.id);
  }

  /**
   * Content that was on its way when a connection broke: nobody has looked at it twice. Where all
   * state was lost this is not asked: then equal stamps must do.
   */
  #isUnconfirmed(before: Entry | undefined, entry: Entry): boolean {
    if (!this.#isContinued || entry.kind !== 'file') return false;
    return before?.id !== entry.id || before.version !== entry.version;
  }

  end(): void {
    this.#before.clear();
  }
}

function isSameContent(before: Entry | undefined, { id, version, size, mtimeNs }: Entry): boolean {
  if (before?.id !== id || before.version !== version) return false;
  return before.size === size && before.mtimeNs === mtimeNs;
}

/** Of two names of one file, the one that was looked at last. */
function isNewer(a: Entry, b: Entry): boolean {
  if (a.version !== b.version) return a.version > b.version;
  return a.stamp.ctimeNs > b.stamp.ctimeNs;
}
