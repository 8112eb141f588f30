// Compares directories with their records, contents included, for a verifier. Changes nothing: not
// a name, not a time. A slice at a time and only between commits, so that nothing of ours is under
// way in what it looks at; answers go out between slices, so a slow verifier delays no commit.

import assert from 'node:assert/strict';
import fs, { type BigIntStats } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemCode } from '../errors.ts';
import { checkedBlocksMax, listingEntriesMax, payloadSizeMax } from '../limits.ts';
import { type Entry, type NodeId, rootId } from '../snapshot/entry.ts';
import { decodeEntry } from '../snapshot/entry-codec.ts';
import type { Name } from '../snapshot/name.ts';
import { type FileRecord, keptParent, sameLocalStamp, stampOf } from '../store/receiver-records.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';
import {
  type Checked,
  type CheckedEntry,
  type Finding,
  isAttribute,
  MessageType,
} from '../wire/messages.ts';
import { checkedEntrySize } from '../wire/verify-codec.ts';
import { Directories } from './directories.ts';
import type { Exclusive } from './exclusive.ts';
import type { Folders } from './folders.ts';
import type { LocalAttributes } from './local-attributes.ts';
import { blocksPerPiece, comparePiece } from './recorded-content.ts';
import { fatalMessage } from './rejection.ts';

export interface VerificationOptions {
  readonly folders: Folders;
  readonly store: ReplicaStore;
  readonly exclusive: Exclusive;
  readonly attributes: LocalAttributes;
  /** Between slices: what else the process may have to do gets that much. */
  readonly pauseMs: () => number;
  readonly isOver: () => boolean;
  /** The verifier can be told of hard links that are none, and of the root itself. */
  readonly seesLinksAndRoot: boolean;
  readonly send: (message: Checked) => Promise<void>;
}

/** Work of one slice: a commit waits that long at most. */
const sliceMs = 5;
const pageMax = 64;
const blockSize = 18;
/** Looks at a file that is replaced while it is read. */
const looksMax = 3;
/** Half a frame leaves room for the largest entry. */
const answerBytesMax = payloadSizeMax / 2;

/** What is at a recorded name. */
interface Found {
  readonly directory: ConfinedDirectory;
  readonly name: Name;
  readonly entry: Entry;
  readonly now: BigIntStats;
}

/** One answer to one Verify. */
export class Verification {
  readonly #options: VerificationOptions;
  #directories: Directories | undefined;
  #entries: CheckedEntry[] = [];
  #extras: Checked['extras'][number][] = [];
  #bytes = 0;

  constructor(options: VerificationOptions) {
    this.#options = options;
  }

  async run(ids: readonly NodeId[], content: boolean): Promise<void> {
    const { exclusive, isOver, pauseMs } = this.#options;
    const pass = this.#check(ids, content);
    for (let isDone = false; !isDone; ) {
      if (isOver()) return;
      isDone = await exclusive.run(async () => this.#slice(pass));
      if (this.#isFull || isDone) await this.#send(isDone);
      await sleep(pauseMs(), undefined, { ref: false });
    }
  }

  get #isFull(): boolean {
    const count = Math.max(this.#entries.length, this.#extras.length);
    return count >= listingEntriesMax - pageMax || this.#bytes >= answerBytesMax;
  }

  async #send(last: boolean): Promise<void> {
    const message = {
      type: MessageType.Checked,
      last,
      entries: this.#entries,
      extras: this.#extras,
    };
    this.#entries = [];
    this.#extras = [];
    this.#bytes = 0;
    await this.#options.send(message);
  }

  /** True when all is done. Descriptors are good for one slice: the tree changes in between. */
  #slice(pass: Generator<void, void>): boolean {
    const { folders, store } = this.#options;
    const end = performance.now() + sliceMs;
    this.#directories = new Directories({ folders, lookUp: id => store.directory(id) });
    try {
      do {
        if (pass.next().done) return true;
      } while (performance.now() < end && !this.#isFull);
      return false;
    } finally {
      this.#directories.close();
      this.#directories = undefined;
    }
  }

  *#check(ids: readonly NodeId[], content: boolean): Generator<void, void> {
    for (const id of ids) {
      if (id === rootId && this.#options.seesLinksAndRoot) yield* this.#root();
      yield* this.#recordedNames(id, content);
      for (const name of this.#list(id)) {
        this.#checkFound(id, name);
        yield;
      }
    }
  }

  *#root(): Generator<void, void> {
    const entry = this.#options.store.entry(keptParent, '');
    const directory = this.#open(rootId);
    if (!entry || !directory) return;
    const { xattrs } = this.#options.attributes;
    const isAttributed = (): boolean => xattrs.has(entry, directory.fd);
    const finding = this.#attributes(entry, directory.stat(), { isAttributed });
    yield* this.#add(
      { parent: rootId, name: '', entry, finding, from: 0, blocks: noBlocks },
      undefined,
    );
  }

  *#recordedNames(id: NodeId, content: boolean): Generator<void, void> {
    let after: Name | undefined;
    for (;;) {
      const rows = this.#options.store.names(id, { after, limit: pageMax });
      for (const { name } of rows) {
        yield* this.#name(id, name, content);
        after = name;
        yield;
      }
      if (rows.length < pageMax) return;
    }
  }

  *#name(id: NodeId, name: Name, content: boolean): Generator<void, void> {
    for (let look = 0; look < looksMax; look++) {
      const bytes = this.#options.store.entryBytes(id, name);
      if (!bytes) return;
      const { entry } = decodeEntry(bytes);
      const record = entry.kind === 'file' ? this.#record(entry) : undefined;
      let finding = this.#compare(id, name, entry, record);
      if (content && record && (finding === 'same' || isAttribute(finding))) {
        const found = yield* this.#compareContent(id, name, record);
        if (found === 'changed' && look + 1 < looksMax) continue;
        if (found !== 'same') finding = found === 'content' ? 'content' : 'unreadable';
      }
      yield* this.#add({ parent: id, name, entry, finding, from: 0, blocks: noBlocks }, record);
      return;
    }
  }

  /** A long list takes several entries. */
  *#add(first: CheckedEntry, record: FileRecord | undefined): Generator<void, void> {
    const isThere = first.finding === 'same' || isAttribute(first.finding);
    const list = isThere ? record?.list : undefined;
    let from = 0;
    do {
      const count = Math.min((list?.count ?? 0) - from, checkedBlocksMax);
      const blocks =
        list?.packed.subarray(from * blockSize, (from + count) * blockSize) ?? noBlocks;
      const entry = { ...first, from, blocks };
      this.#entries.push(entry);
      this.#bytes += checkedEntrySize(entry);
      from += count;
      if (list && from < list.count) yield;
    } while (list && from < list.count);
  }

  #record(entry: Entry): FileRecord | undefined {
    return this.#options.store.file(entry.id, entry.version);
  }

  /** All but the content. */
  #compare(id: NodeId, name: Name, entry: Entry, record: FileRecord | undefined): Finding {
    try {
      const directory = this.#open(id);
      const now = directory?.lstat(name);
      if (!directory || !now) return 'missing';
      const found = { directory, name, entry, now };
      switch (entry.kind) {
        case 'file':
          if (!now.isFile()) return 'type';
          if (!record) return 'unreadable';
          if (now.size !== record.stamp.size) return 'content';
          if (record.links > 1 && now.ino !== record.stamp.ino) {
            return this.#options.seesLinksAndRoot ? 'hard link' : 'type';
          }
          return this.#attributes(entry, now, {
            mtimeNs: record.stamp.mtimeNs,
            isAttributed: () => this.#isAttributed(found),
          });
        case 'directory':
          if (!now.isDirectory()) return 'type';
          // A mount point is somebody's wish.
          if (now.dev !== directory.stat().dev) return 'same';
          if (this.#options.store.directory(entry.id)?.ino !== now.ino) return 'type';
          return this.#attributes(entry, now, { isAttributed: () => this.#isAttributed(found) });
        case 'link':
          if (!now.isSymbolicLink()) return 'type';
          if (directory.readlink(name) !== entry.target) return 'content';
          if (!this.#options.attributes.hasOwner(entry, now)) return 'owner';
          return now.mtimeNs / 1000n === entry.mtimeNs / 1000n ? 'same' : 'time';
      }
    } catch (error) {
      return unreadable(error);
    }
  }

  #attributes(
    entry: Entry,
    now: BigIntStats,
    of: { readonly mtimeNs?: bigint; readonly isAttributed: () => boolean },
  ): Finding {
    const { attributes } = this.#options;
    if (!attributes.hasMode(entry, now)) return 'mode';
    if (!attributes.hasOwner(entry, now)) return 'owner';
    if (!of.isAttributed()) return 'xattrs';
    const isSame = now.mtimeNs === of.mtimeNs || now.mtimeNs / 1000n === entry.mtimeNs / 1000n;
    return isSame ? 'same' : 'time';
  }

  #isAttributed({ directory, name, entry, now }: Found): boolean {
    if (entry.xattrs === undefined) return true;
    const { xattrs } = this.#options.attributes;
    return directory.pinned(name, now.ino, pin => xattrs.has(entry, pin)) ?? true;
  }

  /** 'changed': it was replaced meanwhile, by a commit or by anybody. */
  *#compareContent(
    id: NodeId,
    name: Name,
    record: FileRecord,
  ): Generator<void, 'same' | 'content' | 'changed' | 'unreadable'> {
    let first: BigIntStats | undefined;
    for (let block = 0; ; block += blocksPerPiece) {
      let fd: number | undefined;
      try {
        fd = this.#open(id)?.openRead(name);
        if (fd === undefined) return 'changed';
        const now = fs.fstatSync(fd, { bigint: true });
        first ??= now;
        if (!sameLocalStamp(stampOf(now), stampOf(first))) return 'changed';
        const found = comparePiece(fd, block, record, this.#options.store.secret);
        if (found === 'other') return 'content';
        if (found === 'same') return 'same';
      } catch (error) {
        const code = systemCode(error);
        if (code === 'ENOENT' || code === 'EUNSTABLE') return 'changed';
        unreadable(error);
        return 'unreadable';
      } finally {
        if (fd !== undefined) fs.closeSync(fd);
      }
      yield;
    }
  }

  #list(id: NodeId): Name[] {
    const { folders } = this.#options;
    try {
      const names = this.#open(id)?.list() ?? [];
      return id === rootId ? names.filter(name => !folders.isReserved(name)) : names;
    } catch (error) {
      unreadable(error);
      return [];
    }
  }

  #checkFound(id: NodeId, name: Name): void {
    if (this.#options.store.entryBytes(id, name)) return;
    try {
      const directory = this.#open(id);
      const now = directory?.lstat(name);
      if (!directory || !now) return;
      const isOurs = now.isFile() || now.isSymbolicLink() || now.isDirectory();
      if (!isOurs || now.dev !== directory.stat().dev) return;
      this.#extras.push({ parent: id, name });
      this.#bytes += 7 + name.length;
    } catch (error) {
      unreadable(error);
    }
  }

  #open(id: NodeId): ConfinedDirectory | undefined {
    assert(this.#directories, 'a look goes on within a slice only');
    const resolution = this.#directories.open(id);
    return resolution.kind === 'open' && !resolution.isKept ? resolution.directory : undefined;
  }
}

const noBlocks = Buffer.alloc(0);

/** Rethrows what concerns the whole destination. */
function unreadable(error: unknown): 'unreadable' {
  if (systemCode(error) === undefined || fatalMessage(error)) throw error;
  return 'unreadable';
}
