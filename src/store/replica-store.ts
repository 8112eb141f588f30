// What the receiver knows of its tree: entries, local stamps, block lists, where blocks lie, and
// the intents of commits under way. Reads are from here; writes are collected in a Changes and
// made in one transaction, so that records, digest and watermark never disagree.
import { randomBytes } from 'node:crypto';
import { entryDigest } from '../blocks/block-id.ts';
import { ReplicaError } from '../errors.ts';
import { type Entry, type NodeId, rootId } from '../snapshot/entry.ts';
import { decodeEntry } from '../snapshot/entry-codec.ts';
import type { Name } from '../snapshot/name.ts';
import { countContent } from './content-size.ts';
import { StateDatabase } from './database.ts';
import { decodeHead, digestSize, emptyHead, encodeHead, type Head } from './head.ts';
import {
  blockKey,
  type DirectoryRecord,
  decodeDirectory,
  decodeFile,
  decodeFileKey,
  decodeHints,
  decodeIdKey,
  decodeKept,
  decodeNameKey,
  type FileRecord,
  fileKey,
  type Hint,
  idKey,
  type KeptRecord,
  nameKey,
  type ParentId,
} from './receiver-records.ts';

const schema = 1;
export const receiverTables = [
  'names',
  'dirs',
  'files',
  'blocks',
  'kept',
  'orphans',
  'intents',
  'meta',
] as const;
export type ReceiverTable = (typeof receiverTables)[number];

/** Instances remembered as fenced: a handful come back after a long sleep, not more. */
const fencedMax = 64;

export interface Source {
  readonly id: Buffer;
  readonly label: string;
}

/** What became of the names below a directory that left the tree. */
export type OrphanKind =
  /** The directory is in kept content: what was below keeps its records there. */
  | 'kept'
  /** It is not there any more: what was below is forgotten. */
  | 'lost'
  /** It was removed from kept content: what was below is forgotten there. */
  | 'purged';

export interface NameRow {
  readonly parent: ParentId;
  readonly name: Name;
  /** encodeEntry(name, entry). */
  readonly bytes: Buffer;
}

export class ReplicaStore {
  readonly database: StateDatabase<ReceiverTable>;
  /** Random, made with the store. */
  readonly epoch: Buffer;
  readonly secret: Buffer;
  #head: Head;
  #contentBytes: number | undefined;
  #source: Source | undefined;
  #fenced: readonly Buffer[];
  #instance: Buffer | undefined;

  /**
   * Opens what is in `folder`; undefined if it was never completed by `create`. Throws ERR_STATE
   * when it cannot be used: it must be moved aside and made anew.
   */
  static async open(options: {
    folder: string;
    durable: boolean;
  }): Promise<ReplicaStore | undefined> {
    const database = StateDatabase.open({ ...options, tables: receiverTables });
    try {
      const identity = database.tables.meta.get(metaKey.identity);
      if (identity !== undefined) return new ReplicaStore(database, identity);
    } catch (error) {
      await database.close();
      throw error;
    }
    await database.close();
    return undefined;
  }

  /** Makes a store in an empty folder. It counts as made only once `complete` was called. */
  static create(options: { folder: string; durable: boolean }): ReplicaStore {
    const database = StateDatabase.open({ ...options, tables: receiverTables });
    const identity = Buffer.concat([Buffer.alloc(4), randomBytes(16), randomBytes(32)]);
    identity.writeUInt32BE(schema);
    return new ReplicaStore(database, identity);
  }

  private constructor(database: StateDatabase<ReceiverTable>, identity: Buffer) {
    const found = identity.length === 52 ? identity.readUInt32BE(0) : 0;
    if (found !== schema) {
      throw new ReplicaError('ERR_STATE', `state of schema ${found}, not ${schema}`);
    }
    this.database = database;
    this.epoch = Buffer.from(identity.subarray(4, 20));
    this.secret = Buffer.from(identity.subarray(20));
    const { meta } = database.tables;
    const head = meta.get(metaKey.head);
    this.#head = head ? decodeHead(head) : emptyHead;
    const source = meta.get(metaKey.source);
    this.#source = source && decodeSource(source);
    const instance = meta.get(metaKey.instance);
    this.#instance = instance && Buffer.from(instance);
    this.#fenced = decodeFenced(meta.get(metaKey.fenced) ?? Buffer.alloc(0));
  }

  /** From now on `open` finds this store. */
  async complete(): Promise<void> {
    const identity = Buffer.alloc(52);
    identity.writeUInt32BE(schema);
    this.epoch.copy(identity, 4);
    this.secret.copy(identity, 20);
    await this.database.write(() => {
      this.database.put('meta', metaKey.identity, identity);
    });
  }

  async close(): Promise<void> {
    await this.database.close();
  }

  get head(): Head {
    return this.#head;
  }

  get source(): Source | undefined {
    return this.#source;
  }

  entry(parent: ParentId, name: Name | ''): Entry | undefined {
    const bytes = this.entryBytes(parent, name);
    return bytes && decodeEntry(bytes, { root: true }).entry;
  }

  /** As encodeEntry made it. */
  entryBytes(parent: ParentId, name: Name | ''): Buffer | undefined {
    return this.database.tables.names.get(nameKey(parent, name));
  }

  directory(id: NodeId): DirectoryRecord | undefined {
    const bytes = this.database.tables.dirs.get(idKey(id));
    return bytes && decodeDirectory(bytes);
  }

  file(id: NodeId, version: number): FileRecord | undefined {
    const bytes = this.database.tables.files.get(fileKey(id, version));
    return bytes && decodeFile(bytes);
  }

  /** The versions held of a file, newest first. */
  versions(id: NodeId): number[] {
    const keys = this.database.tables.files.getKeys({
      start: fileKey(id, 0xffffffff),
      end: fileKey(id, 0),
      reverse: true,
      inclusiveEnd: true,
      limit: versionsMax,
    });
    return [...keys].map(key => decodeFileKey(key).version);
  }

  hints(blockId: Buffer): Hint[] {
    const bytes = this.database.tables.blocks.get(blockKey(blockId));
    return bytes ? decodeHints(bytes) : [];
  }

  /** Is there an entry that leads to a file? Only reading it there can tell more. */
  hasBlock(blockId: Buffer): boolean {
    return this.hints(blockId).some(({ id }) => this.#hasFile(id));
  }

  #hasFile(id: NodeId): boolean {
    const { files } = this.database.tables;
    const range = { start: fileKey(id, 0), end: idKey(id + 1), limit: 1 };
    for (const _ of files.getKeys(range)) return true;
    return false;
  }

  kept(parent: ParentId, name: Name): KeptRecord | undefined {
    const bytes = this.database.tables.kept.get(nameKey(parent, name));
    return bytes && decodeKept(bytes);
  }

  /** What in the records contradicts their digest, or cannot be read; undefined: nothing found. */
  fault(): string | undefined {
    const digest = Buffer.alloc(digestSize);
    let count = 0;
    try {
      for (const { key, value } of this.database.tables.names.getRange({ start: idKey(rootId) })) {
        // The keys of this table begin with a parent's id.
        const of = this.digestOf(key.readUIntBE(0, 6) as NodeId, value);
        for (let i = 0; i < digestSize; i++) digest[i] = (digest[i] ?? 0) ^ (of[i] ?? 0);
        count++;
      }
      for (const table of receiverTables)
        for (const _ of this.database.tables[table].getRange({ limit: 1 }));
    } catch (error) {
      return `its records cannot be read: ${error instanceof Error ? error.message : error}`;
    }
    const { head } = this;
    if (count !== head.entryCount) return `it has ${count} entries, not ${head.entryCount}`;
    return digest.equals(head.digest) ? undefined : 'its records were altered';
  }

  /** Up to `limit` names of one directory in byte order, after `after`. */
  names(parent: ParentId, options: { after?: Name | undefined; limit: number }): NameRow[] {
    const rows = this.database.tables.names.getRange({
      ...rangeOf(parent, options.after),
      limit: options.limit,
    });
    return Array.from(rows, ({ key, value }) => ({ ...decodeNameKey(key), bytes: value }));
  }

  /** Up to `limit` names of the whole tree in key order, behind a place. The root is left out. */
  allNames(options: {
    after?: { parent: ParentId; name: Name } | undefined;
    limit: number;
  }): NameRow[] {
    const { after } = options;
    const rows = this.database.tables.names.getRange({
      start: after ? nameKey(after.parent, after.name) : idKey(rootId),
      exclusiveStart: after !== undefined,
      limit: options.limit,
    });
    return Array.from(rows, ({ key, value }) => ({ ...decodeNameKey(key), bytes: value }));
  }

  /** Up to `limit` rows of kept content below one parent, after `after`. */
  keptBelow(
    parent: ParentId,
    options: { after?: Name | undefined; limit: number },
  ): { readonly name: Name; readonly record: KeptRecord }[] {
    const rows = this.database.tables.kept.getRange({
      ...rangeOf(parent, options.after),
      limit: options.limit,
    });
    return Array.from(rows, ({ key, value }) => ({
      name: decodeNameKey(key).name,
      record: decodeKept(value),
    }));
  }

  /** The recorded directory with the smallest id above `id`, in the tree or kept. */
  nextDirectory(id: number): NodeId | undefined {
    const keys = this.database.tables.dirs.getKeys({ start: idKey(id + 1), limit: 1 });
    for (const key of keys) return decodeIdKey(key);
    return undefined;
  }

  /** One directory whose names are still to be forgotten. */
  orphan(): { readonly id: NodeId; readonly kind: OrphanKind } | undefined {
    for (const { key, value } of this.database.tables.orphans.getRange({ limit: 1 })) {
      return { id: decodeIdKey(key), kind: orphanKinds[value[0] ?? 0] ?? 'lost' };
    }
    return undefined;
  }

  /** Intents in the order of their commits. */
  intents(): { readonly commit: bigint; readonly bytes: Buffer }[] {
    const rows = this.database.tables.intents.getRange({});
    return Array.from(rows, ({ key, value }) => ({
      commit: key.readBigUInt64BE(0),
      bytes: Buffer.from(value),
    }));
  }

  /** Resolves when the intents are durable. */
  async writeIntents(
    intents: readonly { readonly commit: bigint; readonly bytes: Buffer }[],
  ): Promise<void> {
    const values = intents.map(({ bytes }) => bytes);
    await this.database.write(() => {
      for (const { commit, bytes } of intents)
        this.database.put('intents', commitKey(commit), bytes);
    }, values);
  }

  /** Digest of one row as it counts for `head.digest`. */
  digestOf(parent: ParentId, entryBytes: Buffer): Buffer {
    return entryDigest(this.secret, parent, entryBytes);
  }

  /** Bytes of all files, each name counted. The first call reads every record. */
  get contentBytes(): number {
    this.#contentBytes ??= countContent(this);
    return this.#contentBytes;
  }

  /** `rows` are put, or removed where the value is undefined; then `head` is what counts. */
  async write(rows: readonly Row[], head: Head, contentGrowth: number): Promise<void> {
    const sorted = rows.toSorted(compareRows);
    const headBytes = encodeHead(head);
    const values = sorted.map(({ value }) => value);
    await this.database.write(() => {
      for (const { table, key, value } of sorted) this.database.put(table, key, value);
      this.database.put('meta', metaKey.head, headBytes);
    }, values);
    this.#head = head;
    if (this.#contentBytes !== undefined) this.#contentBytes += contentGrowth;
  }

  /** Entries of the block index, beside any commit. */
  async writeIndex(rows: readonly Row[]): Promise<void> {
    const sorted = rows.toSorted(compareRows);
    const values = sorted.map(({ value }) => value);
    await this.database.write(() => {
      for (const { table, key, value } of sorted) this.database.put(table, key, value);
    }, values);
  }

  /** The replica belongs to `source` from now on. */
  async setSource(source: Source): Promise<void> {
    const bytes = Buffer.concat([source.id, Buffer.from(source.label, 'utf8')]);
    await this.database.write(() => {
      this.database.put('meta', metaKey.source, bytes);
    });
    this.#source = source;
  }

  /** The sender process accepted last. */
  get instance(): Buffer | undefined {
    return this.#instance;
  }

  async setInstance(instanceId: Buffer): Promise<void> {
    await this.database.write(() => {
      this.database.put('meta', metaKey.instance, instanceId);
    });
    this.#instance = instanceId;
  }

  isFenced(instanceId: Buffer): boolean {
    return this.#fenced.some(id => id.equals(instanceId));
  }

  /** `instanceId` is never served again. */
  async fence(instanceId: Buffer): Promise<void> {
    const fenced = [...this.#fenced, instanceId].slice(-fencedMax);
    const bytes = Buffer.concat(fenced);
    await this.database.write(() => {
      this.database.put('meta', metaKey.fenced, bytes);
    });
    this.#fenced = fenced;
  }
}

/** One put, or one removal. */
export interface Row {
  readonly table: ReceiverTable;
  readonly key: Buffer;
  readonly value: Buffer | undefined;
}

/** Newest versions looked at when a block is wanted: the current one and what is kept of it. */
const versionsMax = 4;

export const metaKey = {
  identity: Buffer.from('identity'),
  head: Buffer.from('head'),
  source: Buffer.from('source'),
  fenced: Buffer.from('fenced'),
  instance: Buffer.from('instance'),
};

export const orphanCodes = { kept: 1, lost: 2, purged: 3 } as const;
const orphanKinds: readonly (OrphanKind | undefined)[] = [undefined, 'kept', 'lost', 'purged'];

export function commitKey(commit: bigint): Buffer {
  const key = Buffer.allocUnsafe(8);
  key.writeBigUInt64BE(commit);
  return key;
}

function compareRows(a: Row, b: Row): number {
  if (a.table !== b.table) return a.table < b.table ? -1 : 1;
  return Buffer.compare(a.key, b.key);
}

/** Keys of one parent, behind `after`. */
function rangeOf(
  parent: ParentId,
  after: Name | undefined,
): { start: Buffer; exclusiveStart: boolean; end: Buffer } {
  return {
    start: after === undefined ? idKey(parent) : nameKey(parent, after),
    exclusiveStart: after !== undefined,
    end: idKey(parent + 1),
  };
}

export function decodeSource(bytes: Buffer): Source {
  return { id: Buffer.from(bytes.subarray(0, 16)), label: bytes.toString('utf8', 16) };
}

function decodeFenced(bytes: Buffer): Buffer[] {
  const ids: Buffer[] = [];
  for (let at = 0; at + 16 <= bytes.length; at += 16) {
    ids.push(Buffer.from(bytes.subarray(at, at + 16)));
  }
  return ids;
}
