// The confirmed layer: the snapshot store, and the digest and counts kept with it.
import { entryDigest } from '../blocks/block-id.ts';
import { type Entry, type NodeId, type PlacedEntry, rootId, toNodeId } from '../snapshot/entry.ts';
import { decodeEntry, encodeEntry } from '../snapshot/entry-codec.ts';
import type { RootIdentity } from '../snapshot/guard.ts';
import type { Known } from '../snapshot/listing.ts';
import type { Name } from '../snapshot/name.ts';
import type { InodePlace, Place, SnapshotStore } from '../store/snapshot-store.ts';
import { Adoption } from './adoption.ts';
import type { Confirmation } from './change.ts';
import { DirectoryLinks } from './directory-links.ts';
import { NodePlaces } from './node-places.ts';

/** What a change does to one name; undefined: the name goes. */
export interface Effect {
  readonly parent: NodeId;
  readonly name: Name;
  readonly known: Known | undefined;
  /** With undefined: of what goes. If the name leads to another node, the receiver leaves it. */
  readonly id?: NodeId;
}

export interface ReceiverState {
  readonly epoch: Buffer;
  readonly digest: Buffer;
  readonly nextId: NodeId;
  readonly secret: Buffer;
}

const digestSize = 16;

export class ConfirmedLayer {
  readonly #store: SnapshotStore;
  #secret: Buffer = Buffer.alloc(32);
  #digest: Buffer = Buffer.alloc(digestSize);
  #nextId = 2;
  #mentioned = new Set<NodeId>();
  readonly #links: DirectoryLinks;
  /** The layer was the receiver's before: what differs now was on its way. */
  #isContinued = false;
  readonly #places: NodePlaces;
  readonly #adoption: Adoption;
  entryCount = 0;

  constructor(store: SnapshotStore) {
    this.#store = store;
    this.#links = new DirectoryLinks(store);
    this.#places = new NodePlaces(store);
    this.#adoption = new Adoption(store, this.#links, this.#places);
    this.#digest = store.readMeta('digest') ?? Buffer.alloc(digestSize);
    this.entryCount = Number(store.readMeta('entries')?.readBigUInt64BE() ?? 0n);
  }

  /** XOR of the digests of all entries, kept step by step. */
  get digest(): Buffer {
    return Buffer.from(this.#digest);
  }

  // -- agreement with the receiver --------------------------------------------------------------

  /** Is the layer what the receiver holds? Otherwise compareDigests, adopt and finish follow. */
  connect(receiver: ReceiverState): boolean {
    this.#isContinued = this.#store.readMeta('epoch')?.equals(receiver.epoch) === true;
    if (!this.#isContinued) {
      this.#store.clear();
      this.#store.transaction(() => this.#store.writeMeta('epoch', receiver.epoch));
      this.#links.begin();
      this.#digest = Buffer.alloc(digestSize);
      this.entryCount = 0;
      this.#nextId = 2;
    }
    this.#secret = receiver.secret;
    this.#nextId = Math.max(this.#nextId, receiver.nextId);
    this.#mentioned.clear();
    const isSame = this.#digest.equals(receiver.digest);
    if (isSame) this.#links.settle();
    return isSame;
  }

  /** Directories of the receiver whose names differ from the layer's. */
  compareDigests(directories: readonly { id: NodeId; digest: Buffer }[], last: boolean): NodeId[] {
    const differing: NodeId[] = [];
    for (const { id, digest } of directories) {
      this.#mentioned.add(id);
      if (!this.#digestOf(id).equals(digest)) differing.push(id);
    }
    if (last) {
      const dropped = [...this.#store.directories()].filter(id => !this.#mentioned.has(id));
      if (dropped.length > 0) this.#forgetDigest();
      this.#store.transaction(() => this.#adoption.dropListings(dropped));
      this.#mentioned.clear();
    }
    return differing;
  }

  /** Takes over the receiver's entries of the directories `ids` (all of them must be asked for). */
  beginAdopt(ids: readonly NodeId[]): void {
    if (ids.length > 0) this.#forgetDigest();
    this.#adoption.begin(ids, { isContinued: this.#isContinued });
  }

  /** Of a layer that is being made anew: if that breaks off, the next agreement must not believe it. */
  #forgetDigest(): void {
    this.#digest = Buffer.alloc(digestSize, 0xff);
    this.#store.transaction(() => this.#writeCounts());
  }

  adopt(entries: readonly PlacedEntry[]): void {
    this.#adoption.add(entries);
  }

  /** A directory is about to be sent: whether it arrives, the next agreement tells. */
  noteSent(known: Known): void {
    this.#links.note(known);
  }

  /** Counts everything anew; false when the layer still is not what the receiver holds. */
  finish(digest: Buffer): boolean {
    this.#adoption.end();
    const total = Buffer.alloc(digestSize);
    let count = 0;
    for (const id of this.#store.directories()) {
      for (const known of this.#store.listing(id)) {
        xorInto(total, this.#entryDigest(id, known));
        count++;
      }
    }
    this.#digest = total;
    this.entryCount = count;
    this.#store.transaction(() => this.#writeCounts());
    const isSame = total.equals(digest);
    if (isSame) this.#links.settle();
    return isSame;
  }

  clear(): void {
    const epoch = this.#store.readMeta('epoch');
    this.#links.keep(this.#store.directories());
    this.#store.transaction(() => {
      this.#store.clear();
      if (epoch !== undefined) this.#store.writeMeta('epoch', epoch);
      this.#links.restore();
    });
    this.#digest = Buffer.alloc(digestSize);
    this.entryCount = 0;
  }

  #digestOf(directory: NodeId): Buffer {
    const digest = Buffer.alloc(digestSize);
    for (const known of this.#store.listing(directory)) {
      xorInto(digest, this.#entryDigest(directory, known));
    }
    return digest;
  }

  #entryDigest(parent: NodeId, known: Known): Buffer {
    return entryDigest(this.#secret, parent, encodeEntry(known.name, known.entry));
  }

  /** Throws ERR_PROTOCOL when a receiver says that its ids are used up. */
  newId(): NodeId {
    return toNodeId(this.#nextId++);
  }

  // -- reading ----------------------------------------------------------------------------------

  listing(directory: NodeId): Known[] {
    return this.#store.listing(directory);
  }

  find(directory: NodeId, name: Name): Known | undefined {
    return this.#store.find(directory, name);
  }

  placesOfInode(ino: bigint, birthtimeNs: bigint): InodePlace[] {
    return this.#store.placesOfInode(ino, birthtimeNs);
  }

  placeOfDirectory(id: NodeId): Place | undefined {
    return this.#store.placeOfDirectory(id);
  }

  recent(limit: number, after?: NodeId): { id: NodeId; place: Place }[] {
    return this.#store.recent(limit, after);
  }

  /** Entries below a directory. */
  countBelow(directory: NodeId): number {
    let count = 0;
    const stack = [directory];
    for (let id = stack.pop(); id !== undefined; id = stack.pop()) {
      for (const { entry } of this.#store.listing(id)) {
        count++;
        if (entry.kind === 'directory') stack.push(entry.id);
      }
    }
    return count;
  }

  rootEntry(): Entry | undefined {
    const bytes = this.#store.readMeta('root');
    return bytes === undefined ? undefined : decodeEntry(bytes, { root: true }).entry;
  }

  rootIdentity(): RootIdentity | undefined {
    const bytes = this.#store.readMeta('identity');
    if (bytes === undefined) return undefined;
    return { ino: bytes.readBigUInt64BE(0), birthtimeNs: bytes.readBigInt64BE(8) };
  }

  setRootIdentity(identity: RootIdentity): void {
    const known = this.rootIdentity();
    if (known?.ino === identity.ino && known.birthtimeNs === identity.birthtimeNs) return;
    const bytes = Buffer.alloc(16);
    bytes.writeBigUInt64BE(identity.ino, 0);
    bytes.writeBigInt64BE(identity.birthtimeNs, 8);
    this.#store.transaction(() => this.#store.writeMeta('identity', bytes));
  }

  // -- writing ----------------------------------------------------------------------------------

  /** Applies durable changes in their order, in one transaction. */
  apply(
    batch: readonly { effects: readonly Effect[]; confirmation: Confirmation }[],
    rootEntry: Entry | undefined,
  ): void {
    this.#store.transaction(() => {
      const changes = new Map<NodeId, Map<Name, Known | undefined>>();
      for (const { effects, confirmation } of batch) {
        for (const effect of effects) this.#stageEffect(changes, effect, confirmation);
      }
      this.#write(changes);
      if (rootEntry !== undefined) this.#store.writeMeta('root', encodeEntry('', rootEntry));
      this.#writeCounts();
    });
  }

  #stageEffect(
    changes: Map<NodeId, Map<Name, Known | undefined>>,
    effect: Effect,
    confirmation: Confirmation,
  ): void {
    const { parent, name } = effect;
    let { known } = effect;
    if (known !== undefined && confirmation.version !== undefined) {
      known = { ...known, entry: { ...known.entry, version: confirmation.version } };
    }
    const names = changes.get(parent) ?? new Map<Name, Known | undefined>();
    if (effect.id !== undefined) {
      // What was to replace it first may not have been carried out.
      const before = names.has(name) ? names.get(name) : this.find(parent, name);
      if (before?.entry.id !== effect.id) return;
    }
    changes.set(parent, names.set(name, known));
    if (known?.entry.kind !== 'file') return;
    const { id, version } = known.entry;
    if (confirmation.basis !== undefined) this.#store.setBasis(id, version, confirmation.basis);
    if (confirmation.trusted === true) this.#store.dropRecent(id);
    else this.#store.setRecent(id, { parent, name });
  }

  /** Sets names and drops the nodes that no name leads to any more. */
  #write(changes: ReadonlyMap<NodeId, ReadonlyMap<Name, Known | undefined>>): void {
    const placed = new Set<NodeId>();
    const displaced: Known[] = [];
    for (const [parent, names] of changes) {
      const before = this.#store.update(parent, names);
      for (const [name, known] of names) {
        const old = before.get(name);
        if (old !== undefined) {
          xorInto(this.#digest, this.#entryDigest(parent, old));
          this.entryCount--;
          this.#places.drop(parent, old, known);
          if (old.entry.id !== known?.entry.id) displaced.push(old);
        }
        if (known === undefined) continue;
        xorInto(this.#digest, this.#entryDigest(parent, known));
        this.entryCount++;
        placed.add(known.entry.id);
      }
    }
    for (const [parent, names] of changes) {
      for (const [name, known] of names) {
        if (known === undefined) continue;
        const mayBeLinked = known.entry.kind === 'file' && known.nlink !== 1;
        if (mayBeLinked) this.#places.noteSplit(parent, name, known.entry);
        this.#places.set(parent, known);
      }
    }
    for (const known of displaced) if (!placed.has(known.entry.id)) this.#drop(known);
  }

  /** Drops a node that has no name any more, a directory with everything below. */
  #drop(known: Known): void {
    const { entry } = known;
    if (entry.kind === 'file' && known.nlink < 2) {
      this.#store.dropBasis(entry.id);
      this.#store.dropRecent(entry.id);
    }
    if (entry.kind !== 'directory' || entry.id === rootId) return;
    for (const child of this.#store.listing(entry.id)) {
      xorInto(this.#digest, this.#entryDigest(entry.id, child));
      this.entryCount--;
      this.#places.drop(entry.id, child, undefined);
      this.#drop(child);
    }
    this.#store.dropDirectory(entry.id);
  }

  /** Names to be linked to the node that has their inode. */
  takeSplits(): { id: NodeId; place: Place }[] {
    return this.#places.takeSplits();
  }

  /** The same entries, with link counts that were not known. */
  setLinkCounts(parent: NodeId, entries: readonly Known[]): void {
    this.#store.transaction(() => {
      this.#store.update(parent, new Map(entries.map(known => [known.name, known])));
    });
  }

  /** The receiver does not have these names: neither does the layer any more. */
  forget(effects: readonly Effect[]): void {
    this.#store.transaction(() => {
      const changes = new Map<NodeId, Map<Name, undefined>>();
      for (const { parent, name } of effects) {
        const names = changes.get(parent) ?? new Map<Name, undefined>();
        changes.set(parent, names.set(name, undefined));
      }
      this.#write(changes);
      this.#writeCounts();
    });
  }

  forgetBasis(effects: readonly Effect[]): void {
    this.#store.transaction(() => {
      for (const { known } of effects)
        if (known !== undefined) this.#store.dropBasis(known.entry.id);
    });
  }

  trust(id: NodeId): void {
    this.#store.transaction(() => this.#store.dropRecent(id));
  }

  #writeCounts(): void {
    const count = Buffer.alloc(8);
    count.writeBigUInt64BE(BigInt(this.entryCount));
    this.#store.writeMeta('entries', count);
    this.#store.writeMeta('digest', Buffer.from(this.#digest));
  }
}

function xorInto(target: Buffer, bytes: Buffer): void {
  for (let i = 0; i < digestSize; i++) target[i] = (target[i] ?? 0) ^ (bytes[i] ?? 0);
}
