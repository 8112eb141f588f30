// Finds the bytes of blocks and of file versions that the replica already has. What the index says
// is a hint: a block counts only if its bytes hash to its id.
import fs from 'node:fs';
import { blockId } from '../blocks/block-id.ts';
import type { BlockList } from '../blocks/block-list.ts';
import { systemCode } from '../errors.ts';
import { badHintsMax } from '../limits.ts';
import type { NodeId } from '../snapshot/entry.ts';
import { type FileRecord, sameLocalStamp, stampOf } from '../store/receiver-records.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import { readBytes } from '../tree/staged-file.ts';
import { Directories } from './directories.ts';
import type { Folders } from './folders.ts';

/** A file version that is open and as recorded. The owner closes `fd`. */
export interface OpenVersion {
  readonly fd: number;
  readonly list: BlockList;
}

interface CachedVersion extends OpenVersion {
  readonly key: string;
}

/** Block `blockId` may lie in file `id`. */
export interface BlockHint {
  readonly blockId: Buffer;
  readonly id: NodeId;
}

const cachedVersionsMax = 4;

/** Use it within one turn of the event loop, then `clear`: the tree changes in between. */
export class BlockSource {
  readonly #store: ReplicaStore;
  readonly #directories: Directories;
  #cache: CachedVersion[] = [];
  /** Hints that led nowhere, to be dropped from the index; the newest. */
  #badHints: BlockHint[] = [];

  constructor(options: { readonly store: ReplicaStore; readonly folders: Folders }) {
    this.#store = options.store;
    this.#directories = new Directories({
      folders: options.folders,
      lookUp: id => options.store.directory(id),
    });
  }

  /** Version `version` of file `id`, if the replica has it unaltered. */
  openVersion(id: NodeId, version: number): OpenVersion | undefined {
    const record = this.#store.file(id, version);
    return record && this.#openRecord(record);
  }

  /** The bytes of a block, valid until the next call; undefined if the replica has it nowhere. */
  read(id: Buffer, size: number): Buffer | undefined {
    for (const hint of this.#store.hints(id)) {
      const bytes = this.#readHint(id, hint.id, hint.block, size);
      if (bytes) return bytes;
      if (this.#badHints.length < badHintsMax) {
        this.#badHints.push({ blockId: Buffer.from(id), id: hint.id });
      }
    }
    return undefined;
  }

  /** Does the hint lead to the block? */
  holds({ blockId: id, id: file }: BlockHint): boolean {
    return this.#readHint(id, file, 0) !== undefined;
  }

  /** Closes what `read` opened. */
  clear(): void {
    for (const { fd } of this.#cache) fs.closeSync(fd);
    this.#cache = [];
    this.#directories.clear();
  }

  /** Gives the bad hints away. */
  takeBadHints(): readonly BlockHint[] {
    const taken = this.#badHints;
    this.#badHints = [];
    return taken;
  }

  close(): void {
    this.clear();
    this.#directories.close();
  }

  #readHint(id: Buffer, file: NodeId, near: number, size?: number): Buffer | undefined {
    for (const version of this.#store.versions(file)) {
      const open = this.#cached(file, version);
      if (!open) continue;
      const { list, fd } = open;
      const isHere = near < list.count && list.isAt(near, id);
      const block = isHere ? near : list.indexOf(id, near);
      if (block < 0 || (size !== undefined && list.sizeAt(block) !== size)) continue;
      const bytes = readIfThere(fd, list.offsetAt(block), list.sizeAt(block));
      if (bytes && blockId(this.#store.secret, bytes).equals(id)) return bytes;
    }
    return undefined;
  }

  #cached(id: NodeId, version: number): OpenVersion | undefined {
    const key = `${id}.${version}`;
    const found = this.#cache.find(one => one.key === key);
    if (found) return found;
    const open = this.openVersion(id, version);
    if (!open) return undefined;
    const cached = { ...open, key };
    this.#cache.unshift(cached);
    const last = this.#cache.length > cachedVersionsMax ? this.#cache.pop() : undefined;
    if (last) fs.closeSync(last.fd);
    return cached;
  }

  #openRecord(record: FileRecord): OpenVersion | undefined {
    for (const { parent, name } of record.places.toReversed()) {
      try {
        const resolution = this.#directories.open(parent);
        if (resolution.kind !== 'open') continue;
        const fd = resolution.directory.openRead(name);
        const stamp = stampOf(fs.fstatSync(fd, { bigint: true }));
        if (sameLocalStamp(stamp, record.stamp)) return { fd, list: record.list };
        fs.closeSync(fd);
      } catch (error) {
        // Not there, or not readable: content is sent again, which is slow but right.
        if (systemCode(error) === undefined) throw error;
      }
    }
    return undefined;
  }
}

function readIfThere(fd: number, offset: number, size: number): Buffer | undefined {
  try {
    return readBytes(fd, offset, size);
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return undefined;
  }
}
