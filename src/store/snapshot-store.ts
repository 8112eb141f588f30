// The sender's confirmed layer: what is durable on the receiver, as far as the sender knows. It is
// a cache of the receiver's truth: losing it costs a reconciliation, never a wrong operation.
//
//   pages   u48 directory | first name      -> page (snapshot/listing.ts)
//   dirs    u48 directory                   -> u48 parent | name
//   inodes  u64 ino | i64 birthtimeNs       -> (u48 parent | u48 id | u8 length | name)*   newest first
//   files   u48 file                        -> u32 version | u32 blocks | list (18 each) | checks (16 each)
//   recent  u48 node                        -> u48 parent | name     content not yet trusted
//   meta    text                            -> bytes
import { BlockList } from '../blocks/block-list.ts';
import type { Basis } from '../blocks/content-matcher.ts';
import { ReplicaError } from '../errors.ts';
import { type NodeId, rootId } from '../snapshot/entry.ts';
import { hasMore, type Known, packPage, pageEntriesMax, unpackPage } from '../snapshot/listing.ts';
import type { Name } from '../snapshot/name.ts';
import { writeInt64 } from '../snapshot/wide-integers.ts';
import { StateDatabase, type Table } from './database.ts';

export const snapshotSchema = 2;

/** Places remembered of one inode; a file with more names is found as long as one of them stays. */
export const inodePlacesMax = 16;

/** Where a node is: a name in a directory. */
export interface Place {
  readonly parent: NodeId;
  readonly name: Name;
}

export interface InodePlace extends Place {
  readonly id: NodeId;
}

const tables = ['pages', 'dirs', 'inodes', 'files', 'recent', 'meta'] as const;

interface OpenPage {
  readonly key: Buffer;
  readonly entries: Map<Name, Known>;
  readonly more: boolean;
}

export class SnapshotStore {
  readonly #database: StateDatabase<(typeof tables)[number]>;
  readonly #pages: Table;
  readonly #dirs: Table;
  readonly #inodes: Table;
  readonly #files: Table;
  readonly #recent: Table;
  readonly #meta: Table;

  private constructor(database: StateDatabase<(typeof tables)[number]>) {
    this.#database = database;
    this.#pages = database.tables.pages;
    this.#dirs = database.tables.dirs;
    this.#inodes = database.tables.inodes;
    this.#files = database.tables.files;
    this.#recent = database.tables.recent;
    this.#meta = database.tables.meta;
  }

  /** Opens or makes the store in `folder`; throws ERR_STATE when it is damaged or of another schema. */
  static open(folder: string): SnapshotStore {
    const store = new SnapshotStore(StateDatabase.open({ folder, tables, durable: true }));
    const schema = store.readMeta('schema')?.readUInt32BE(0);
    if (schema === snapshotSchema) return store;
    if (schema !== undefined) {
      void store.close();
      throw new ReplicaError(
        'ERR_STATE',
        `'${folder}' has schema ${schema}, not ${snapshotSchema}`,
      );
    }
    store.transaction(() => store.#writeSchema());
    return store;
  }

  #writeSchema(): void {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(snapshotSchema);
    this.writeMeta('schema', bytes);
  }

  close(): Promise<void> {
    return this.#database.close();
  }

  /** Runs `work` as one durable transaction. */
  transaction<T>(work: () => T): T {
    return this.#database.transact(work);
  }

  /** Forgets everything but the secret that keys checks: readers go on using it. */
  clear(): void {
    const checkSecret = this.readMeta('check-secret');
    this.transaction(() => {
      for (const table of [this.#pages, this.#dirs, this.#inodes, this.#files, this.#recent]) {
        table.clearSync();
      }
      this.#meta.clearSync();
      this.#writeSchema();
      if (checkSecret !== undefined) this.writeMeta('check-secret', checkSecret);
    });
  }

  readMeta(key: string): Buffer | undefined {
    return this.#meta.get(Buffer.from(key));
  }

  writeMeta(key: string, value: Buffer): void {
    this.#meta.putSync(Buffer.from(key), value);
  }

  dropMeta(key: string): void {
    this.#meta.removeSync(Buffer.from(key));
  }

  // -- listings ---------------------------------------------------------------------------------

  /** All pages of a directory in name order; none when the directory is unknown or empty. */
  pages(directory: NodeId): Buffer[] {
    const first = this.#pages.get(pageKey(directory, ''));
    if (first === undefined) return [];
    if (!hasMore(first)) return [first];
    const found: Buffer[] = [];
    const range = { start: pageKey(directory, ''), end: idKey(directory + 1) };
    for (const { value } of this.#pages.getRange(range)) found.push(Buffer.from(value));
    return found;
  }

  /** All entries of a directory in name order. */
  listing(directory: NodeId): Known[] {
    return this.pages(directory).flatMap(unpackPage);
  }

  /**
   * Sets (or with undefined removes) names of one directory; returns what those names were before.
   * Inside a transaction. A page that outgrows its bound is split.
   */
  update(
    directory: NodeId,
    changes: ReadonlyMap<Name, Known | undefined>,
  ): ReadonlyMap<Name, Known> {
    const before = new Map<Name, Known>();
    const pages = new Map<string, OpenPage>();
    for (const [name, known] of changes) {
      const key = this.#pageKeyOf(directory, name);
      const id = key.toString('latin1');
      const page = pages.get(id) ?? this.#openPage(key);
      pages.set(id, page);
      const old = page.entries.get(name);
      if (old !== undefined) before.set(name, old);
      if (known === undefined) page.entries.delete(name);
      else page.entries.set(name, known);
    }
    for (const page of pages.values()) this.#writePage(directory, page);
    return before;
  }

  find(directory: NodeId, name: Name): Known | undefined {
    return this.#openPage(this.#pageKeyOf(directory, name)).entries.get(name);
  }

  /** Key of the page whose range holds `name`. */
  #pageKeyOf(directory: NodeId, name: Name): Buffer {
    const firstKey = pageKey(directory, '');
    const first = this.#pages.get(firstKey);
    if (first === undefined || !hasMore(first)) return firstKey;
    const range = { start: pageKey(directory, name), reverse: true, limit: 1 };
    for (const key of this.#pages.getKeys(range)) return Buffer.from(key);
    return firstKey;
  }

  #openPage(key: Buffer): OpenPage {
    const page = this.#pages.get(key);
    const entries = new Map<Name, Known>();
    if (page === undefined) return { key, entries, more: false };
    for (const known of unpackPage(page)) entries.set(known.name, known);
    return { key, entries, more: hasMore(page) };
  }

  #writePage(directory: NodeId, page: OpenPage): void {
    const isFirst = page.key.length === 6;
    const sorted = [...page.entries.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    if (sorted.length === 0 && !isFirst) {
      this.#pages.removeSync(page.key);
      return;
    }
    const pieceCount = Math.ceil(sorted.length / pageEntriesMax) || 1;
    const pieceSize = Math.ceil(sorted.length / pieceCount);
    // Only the first page says that more follow; it stays even when it is empty.
    const more = isFirst && (page.more || pieceCount > 1);
    for (let i = 0; i < pieceCount; i++) {
      const piece = sorted.slice(i * pieceSize, (i + 1) * pieceSize);
      const key = i === 0 ? page.key : pageKey(directory, piece[0]?.name ?? '');
      this.#pages.putSync(key, packPage(piece, i === 0 && more));
    }
  }

  dropListing(directory: NodeId): void {
    const range = { start: pageKey(directory, ''), end: idKey(directory + 1) };
    const keys = [...this.#pages.getKeys(range)].map(key => Buffer.from(key));
    for (const key of keys) this.#pages.removeSync(key);
  }

  /** Every directory that has a listing, in id order. */
  *directories(): Generator<NodeId> {
    let last = -1;
    for (const key of this.#pages.getKeys({})) {
      const id = key.readUIntBE(0, 6);
      if (id === last) continue;
      last = id;
      yield id as NodeId;
    }
  }

  // -- places -----------------------------------------------------------------------------------

  placeOfDirectory(id: NodeId): Place | undefined {
    const value = this.#dirs.get(idKey(id));
    return value && decodePlace(value);
  }

  setDirectory(id: NodeId, place: Place): void {
    this.#dirs.putSync(idKey(id), encodePlace(place));
  }

  dropDirectory(id: NodeId): void {
    this.#dirs.removeSync(idKey(id));
    if (id !== rootId) this.dropListing(id);
  }

  /** Where nodes of the inode are, those that were looked at last first. */
  placesOfInode(ino: bigint, birthtimeNs: bigint): InodePlace[] {
    const value = this.#inodes.get(inodeKey(ino, birthtimeNs));
    return value === undefined ? [] : decodeInodePlaces(value);
  }

  setInode(ino: bigint, birthtimeNs: bigint, places: readonly InodePlace[]): void {
    const key = inodeKey(ino, birthtimeNs);
    if (places.length === 0) this.#inodes.removeSync(key);
    else this.#inodes.putSync(key, encodeInodePlaces(places.slice(0, inodePlacesMax)));
  }

  // -- content ----------------------------------------------------------------------------------

  /** Blocks of the file's version `version`; undefined when only another version is known. */
  basis(id: NodeId, version: number): Basis | undefined {
    const value = this.#files.get(idKey(id));
    if (value === undefined || value.readUInt32BE(0) !== version) return undefined;
    const count = value.readUInt32BE(4);
    const listEnd = 8 + count * 18;
    if (value.length !== listEnd + count * 16) return undefined;
    return {
      list: BlockList.from(Buffer.from(value.subarray(8, listEnd))),
      checks: Buffer.from(value.subarray(listEnd)),
    };
  }

  setBasis(id: NodeId, version: number, basis: Basis): void {
    const head = Buffer.allocUnsafe(8);
    head.writeUInt32BE(version, 0);
    head.writeUInt32BE(basis.list.count, 4);
    this.#files.putSync(idKey(id), Buffer.concat([head, basis.list.packed, basis.checks]));
  }

  dropBasis(id: NodeId): void {
    this.#files.removeSync(idKey(id));
  }

  setRecent(id: NodeId, place: Place): void {
    this.#recent.putSync(idKey(id), encodePlace(place));
  }

  dropRecent(id: NodeId): void {
    this.#recent.removeSync(idKey(id));
  }

  /** Nodes whose content is not yet trusted, at most `limit`. */
  recent(limit: number, after?: NodeId): { id: NodeId; place: Place }[] {
    const found: { id: NodeId; place: Place }[] = [];
    const start = after === undefined ? {} : { start: idKey(after + 1) };
    for (const { key, value } of this.#recent.getRange({ limit, ...start })) {
      found.push({ id: key.readUIntBE(0, 6) as NodeId, place: decodePlace(value) });
    }
    return found;
  }
}

function idKey(id: number): Buffer {
  const key = Buffer.allocUnsafe(6);
  key.writeUIntBE(id, 0, 6);
  return key;
}

function pageKey(directory: number, name: string): Buffer {
  const key = Buffer.allocUnsafe(6 + name.length);
  key.writeUIntBE(directory, 0, 6);
  key.write(name, 6, 'latin1');
  return key;
}

function inodeKey(ino: bigint, birthtimeNs: bigint): Buffer {
  const key = Buffer.allocUnsafe(16);
  writeInt64(key, 0, ino);
  writeInt64(key, 8, birthtimeNs);
  return key;
}

function encodePlace(place: Place): Buffer {
  const value = Buffer.allocUnsafe(6 + place.name.length);
  value.writeUIntBE(place.parent, 0, 6);
  value.write(place.name, 6, 'latin1');
  return value;
}

function decodePlace(value: Buffer): Place {
  return { parent: value.readUIntBE(0, 6) as NodeId, name: value.toString('latin1', 6) as Name };
}

function encodeInodePlaces(places: readonly InodePlace[]): Buffer {
  const size = places.reduce((sum, { name }) => sum + 13 + name.length, 0);
  const value = Buffer.allocUnsafe(size);
  let at = 0;
  for (const { parent, id, name } of places) {
    at = value.writeUIntBE(parent, at, 6);
    at = value.writeUIntBE(id, at, 6);
    at = value.writeUInt8(name.length, at);
    at += value.write(name, at, 'latin1');
  }
  return value;
}

function decodeInodePlaces(value: Buffer): InodePlace[] {
  const places: InodePlace[] = [];
  for (let at = 0; at < value.length; ) {
    const end = at + 13 + value.readUInt8(at + 12);
    places.push({
      parent: value.readUIntBE(at, 6) as NodeId,
      id: value.readUIntBE(at + 6, 6) as NodeId,
      name: value.toString('latin1', at + 13, end) as Name,
    });
    at = end;
  }
  return places;
}
