// What a group of commits changes, kept in memory until it is written in one transaction. Reads
// see the changes made so far, then the store.
import type { BlockList } from '../blocks/block-list.ts';
import { type Entry, type NodeId, nodeIdMax } from '../snapshot/entry.ts';
import { decodeEntry, encodeEntry } from '../snapshot/entry-codec.ts';
import type { Name } from '../snapshot/name.ts';
import { contentSize } from './content-size.ts';
import type { Head } from './head.ts';
import { IndexChanges, indexBlocksPerCommit } from './index-changes.ts';
import {
  type DirectoryRecord,
  decodeNameKey,
  encodeDirectory,
  encodeFile,
  encodeKept,
  type FileRecord,
  fileKey,
  idKey,
  type KeptRecord,
  nameKey,
  type ParentId,
  type Place,
} from './receiver-records.ts';
import {
  commitKey,
  type OrphanKind,
  orphanCodes,
  type ReplicaStore,
  type Row,
} from './replica-store.ts';

interface NameChange {
  readonly key: Buffer;
  entry: Entry | undefined;
  bytes: Buffer | undefined;
  isChanged: boolean;
}

export class Changes {
  readonly #store: ReplicaStore;
  readonly #names = new Map<string, NameChange>();
  readonly #directories = new Map<NodeId, DirectoryRecord | undefined>();
  /** The store has no names in them. */
  readonly #newDirectories = new Set<ParentId>();
  /** By file, then by version. */
  readonly #files = new Map<NodeId, Map<number, FileRecord | undefined>>();
  readonly #index: IndexChanges;
  readonly #kept = new Map<string, { key: Buffer; record: KeptRecord | undefined }>();
  readonly #orphans = new Map<NodeId, OrphanKind | undefined>();
  readonly #intentsDone: bigint[] = [];
  readonly #digest: Buffer;
  #entryCount: number;
  /** Bytes of files, each name counted. */
  #contentGrowth = 0;
  #nextId: number;
  #keptNext: number;
  watermark: bigint;

  constructor(store: ReplicaStore) {
    const { head } = store;
    this.#store = store;
    this.#digest = Buffer.from(head.digest);
    this.#entryCount = head.entryCount;
    this.#nextId = head.nextId;
    this.#keptNext = head.keptNext;
    this.watermark = head.watermark;
    this.#index = new IndexChanges({
      hints: blockId => store.hints(blockId),
      listsOf: id => this.versions(id).flatMap(version => this.file(id, version)?.list ?? []),
    });
  }

  /** That block ids are keyed with. */
  get secret(): Buffer {
    return this.#store.secret;
  }

  entry(parent: ParentId, name: Name | ''): Entry | undefined {
    return this.#name(parent, name).entry;
  }

  setEntry(parent: ParentId, name: Name | '', entry: Entry): void {
    this.#nextId = Math.max(this.#nextId, Math.min(entry.id + 1, nodeIdMax));
    this.#change(parent, name, entry);
  }

  deleteEntry(parent: ParentId, name: Name): void {
    this.#change(parent, name, undefined);
  }

  directory(id: NodeId): DirectoryRecord | undefined {
    if (this.#directories.has(id)) return this.#directories.get(id);
    return this.#store.directory(id);
  }

  setDirectory(id: NodeId, record: DirectoryRecord | undefined): void {
    if (record && !this.#store.directory(id)) this.#newDirectories.add(id);
    this.#directories.set(id, record);
  }

  file(id: NodeId, version: number): FileRecord | undefined {
    const versions = this.#files.get(id);
    return versions?.has(version) ? versions.get(version) : this.#store.file(id, version);
  }

  setFile(id: NodeId, version: number, record: FileRecord | undefined): void {
    const versions = this.#files.get(id);
    if (versions) versions.set(version, record);
    else this.#files.set(id, new Map([[version, record]]));
  }

  /** The versions held of a file, newest first. */
  versions(id: NodeId): number[] {
    const versions = new Set(this.#store.versions(id));
    for (const [version, record] of this.#files.get(id) ?? []) {
      if (record) versions.add(version);
      else versions.delete(version);
    }
    return [...versions].sort((a, b) => b - a);
  }

  /** Blocks `from` and following of file `id` may be found there from now on. */
  addHints(
    id: NodeId,
    list: BlockList,
    run: { readonly from: number; readonly count: number },
  ): void {
    this.#index.add(id, list, run);
  }

  /** A version of file `id` with these blocks was removed. */
  forgetHints(id: NodeId, list: BlockList): void {
    this.#index.forget(id, list);
  }

  /** The block is not there, or not in file `id` any more. */
  dropHint(blockId: Buffer, id: NodeId): void {
    this.#index.drop(blockId, id);
  }

  kept(parent: ParentId, name: Name): KeptRecord | undefined {
    const change = this.#kept.get(`${parent}/${name}`);
    return change ? change.record : this.#store.kept(parent, name);
  }

  setKept(parent: ParentId, name: Name, record: KeptRecord | undefined): void {
    this.#kept.set(`${parent}/${name}`, { key: nameKey(parent, name), record });
  }

  /** What was below directory `id` is still to be forgotten; undefined: all done. */
  setOrphan(id: NodeId, kind: OrphanKind | undefined): void {
    this.#orphans.set(id, kind);
  }

  /** A number no other kept content has. */
  nextKept(): number {
    return this.#keptNext++;
  }

  endIntent(commit: bigint): void {
    this.#intentsDone.push(commit);
  }

  /** Names that were set, but for the root. */
  *changedNames(): Generator<Place> {
    for (const { key, entry, isChanged } of this.#names.values()) {
      if (isChanged && entry && key.length > 6) yield decodeNameKey(key);
    }
  }

  /** Would writing it change anything but the head? */
  get isEmpty(): boolean {
    const maps = [this.#directories, this.#files, this.#kept, this.#orphans];
    if (maps.some(map => map.size > 0) || this.#intentsDone.length > 0) return false;
    if (!this.#index.isEmpty) return false;
    for (const { isChanged } of this.#names.values()) if (isChanged) return false;
    return true;
  }

  /** Makes the store what was changed. */
  async write(): Promise<void> {
    await this.writeRecords();
    await this.writeIndex();
  }

  /** All but most of a large file's hints, in one transaction. Call writeIndex afterwards. */
  async writeRecords(): Promise<void> {
    await this.#store.write(this.#rows(), this.#head, this.#contentGrowth);
    this.#contentGrowth = 0;
  }

  /** What is left of the hints: nobody has to wait for them. */
  async writeIndex(): Promise<void> {
    while (!this.#index.isEmpty) await this.#store.writeIndex(this.#index.rows());
  }

  get #head(): Head {
    return {
      watermark: this.watermark,
      digest: this.#digest,
      entryCount: this.#entryCount,
      nextId: this.#nextId as NodeId,
      keptNext: this.#keptNext,
    };
  }

  #rows(): Row[] {
    const rows: Row[] = [...this.#index.rows(indexBlocksPerCommit)];
    for (const { key, bytes, isChanged } of this.#names.values()) {
      if (isChanged) rows.push({ table: 'names', key, value: bytes });
    }
    for (const [id, record] of this.#directories) {
      rows.push({ table: 'dirs', key: idKey(id), value: record && encodeDirectory(record) });
    }
    for (const [id, versions] of this.#files) {
      for (const [version, record] of versions) {
        const key = fileKey(id, version);
        rows.push({ table: 'files', key, value: record && encodeFile(record) });
      }
    }
    for (const { key, record } of this.#kept.values()) {
      rows.push({ table: 'kept', key, value: record && encodeKept(record) });
    }
    for (const [id, kind] of this.#orphans) {
      const value = kind && Buffer.from([orphanCodes[kind]]);
      rows.push({ table: 'orphans', key: idKey(id), value });
    }
    for (const commit of this.#intentsDone) {
      rows.push({ table: 'intents', key: commitKey(commit), value: undefined });
    }
    return rows;
  }

  #change(parent: ParentId, name: Name | '', entry: Entry | undefined): void {
    const change = this.#name(parent, name);
    const bytes = entry && encodeEntry(name, entry);
    if (name !== '') {
      if (change.bytes) this.#count(parent, change.bytes, -1);
      if (bytes) this.#count(parent, bytes, 1);
      this.#contentGrowth += contentSize(entry) - contentSize(change.entry);
    }
    change.entry = entry;
    change.bytes = bytes;
    change.isChanged = true;
  }

  #count(parent: ParentId, bytes: Buffer, by: 1 | -1): void {
    const digest = this.#store.digestOf(parent, bytes);
    for (let i = 0; i < digest.length; i++) {
      this.#digest[i] = (this.#digest[i] ?? 0) ^ (digest[i] ?? 0);
    }
    this.#entryCount += by;
  }

  #name(parent: ParentId, name: Name | ''): NameChange {
    const id = `${parent}/${name}`;
    let change = this.#names.get(id);
    if (!change) {
      const isNew = this.#newDirectories.has(parent);
      const bytes = isNew ? undefined : this.#store.entryBytes(parent, name);
      const entry = bytes && decodeEntry(bytes, { root: true }).entry;
      change = { key: nameKey(parent, name), entry, bytes, isChanged: false };
      this.#names.set(id, change);
    }
    return change;
  }
}
