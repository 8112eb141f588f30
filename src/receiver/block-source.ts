// Finds the bytes of blocks and of file versions that the replica already has. What the index says
// is a hint: a block counts only if its bytes hash to its id.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { blockId } from '../blocks/block-id.ts';
import type { BlockList } from '../blocks/block-list.ts';
import { systemCode } from '../errors.ts';
import { badHintsMax, blockRunSizeMax } from '../limits.ts';
import type { NodeId } from '../snapshot/entry.ts';
import { type FileRecord, sameLocalStamp, stampOf } from '../store/receiver-records.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import { ReadBuffer } from '../tree/read-buffer.ts';
import type { Piece } from '../wire/messages.ts';
import { Directories } from './directories.ts';
import type { Folders } from './folders.ts';

/** A file version that is open and as recorded. The owner closes `fd`. */
export interface OpenVersion {
  readonly fd: number;
  readonly list: BlockList;
}

interface CachedVersion extends OpenVersion {
  readonly id: NodeId;
  readonly version: number;
}

/** A block as pieces name it. */
export interface WantedBlock {
  readonly id: Buffer;
  readonly size: number;
}

/** The bytes of the first `count` blocks wanted, valid until the next call of the same object. */
export interface FoundBlocks {
  readonly bytes: Buffer;
  readonly count: number;
}

/** Block `blockId` may lie in file `id`. */
export interface BlockHint {
  readonly blockId: Buffer;
  readonly id: NodeId;
}

const cachedVersionsMax = 4;

/**
 * After each turn of the event loop call `pause`, because the tree changes in between; `clear` when
 * there is nothing more to find for now. Files stay open over a pause: what is read from them is
 * hashed, whatever became of their names.
 */
export class BlockSource {
  readonly #store: ReplicaStore;
  readonly #directories: Directories;
  readonly #buffer: ReadBuffer;
  #cache: CachedVersion[] = [];
  /** Versions that are not as recorded, until the next pause: each look reads its whole list. */
  readonly #unread = new Set<string>();
  /** Hints that led nowhere, to be dropped from the index; the newest. */
  #badHints: BlockHint[] = [];

  constructor(options: {
    readonly store: ReplicaStore;
    readonly folders: Folders;
    readonly buffer?: ReadBuffer;
  }) {
    this.#store = options.store;
    this.#buffer = options.buffer ?? new ReadBuffer();
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

  /**
   * The bytes of the first of these blocks, and of those that follow it in the file where it is
   * found; undefined if the replica has the first nowhere.
   */
  read(wanted: readonly WantedBlock[]): FoundBlocks | undefined {
    const id = wanted[0]?.id;
    assert(id !== undefined);
    for (const hint of this.#store.hints(id)) {
      const found = this.#readHint(wanted, hint.id, hint.block);
      if (found) return found;
      if (this.#badHints.length < badHintsMax) {
        this.#badHints.push({ blockId: Buffer.from(id), id: hint.id });
      }
    }
    return undefined;
  }

  /** Does the hint lead to the block? */
  holds({ blockId: id, id: file }: BlockHint): boolean {
    for (const { list, fd } of this.#openVersions(file)) {
      const block = list.indexOf(id);
      if (block < 0) continue;
      if (this.#readRun({ list, fd }, block, [{ id, size: list.sizeAt(block) }])) return true;
    }
    return false;
  }

  /** To be called when other tasks get their turn. */
  pause(): void {
    this.#directories.clear();
    this.#unread.clear();
  }

  /** Closes what `read` opened. */
  clear(): void {
    for (const { fd } of this.#cache) fs.closeSync(fd);
    this.#cache = [];
    this.pause();
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

  #readHint(wanted: readonly WantedBlock[], file: NodeId, near: number): FoundBlocks | undefined {
    const [first] = wanted;
    if (first === undefined) return undefined;
    for (const open of this.#openVersions(file)) {
      const { list } = open;
      const isHere = near < list.count && list.isAt(near, first.id);
      const block = isHere ? near : list.indexOf(first.id, near);
      if (block < 0 || list.sizeAt(block) !== first.size) continue;
      const found = this.#readRun(open, block, wanted);
      if (found) return found;
    }
    return undefined;
  }

  /** Reads at once what lies side by side, and hashes it block by block. */
  #readRun(
    { list, fd }: OpenVersion,
    from: number,
    wanted: readonly WantedBlock[],
  ): FoundBlocks | undefined {
    let size = 0;
    let count = 0;
    for (const one of wanted) {
      const block = from + count;
      if (block >= list.count || size + one.size > blockRunSizeMax) break;
      if (list.sizeAt(block) !== one.size || !list.isAt(block, one.id)) break;
      size += one.size;
      count++;
    }
    const bytes = this.#readIfThere(fd, list.offsetAt(from), size);
    if (!bytes) return undefined;
    let end = 0;
    for (const [i, one] of wanted.slice(0, count).entries()) {
      const part = bytes.subarray(end, end + one.size);
      if (!blockId(this.#store.secret, part).equals(one.id)) {
        return i === 0 ? undefined : { bytes: bytes.subarray(0, end), count: i };
      }
      end += one.size;
    }
    return { bytes, count };
  }

  #readIfThere(fd: number, offset: number, size: number): Buffer | undefined {
    try {
      return this.#buffer.read(fd, offset, size);
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      return undefined;
    }
  }

  /** The versions of a file that can be read, those that are open first. */
  *#openVersions(id: NodeId): Generator<OpenVersion> {
    const open = this.#cache.filter(one => one.id === id);
    yield* open;
    for (const version of this.#store.versions(id)) {
      const key = `${id}.${version}`;
      if (open.some(one => one.version === version) || this.#unread.has(key)) continue;
      const opened = this.openVersion(id, version);
      if (!opened) {
        this.#unread.add(key);
        continue;
      }
      this.#cache.unshift({ ...opened, id, version });
      const last = this.#cache.length > cachedVersionsMax ? this.#cache.pop() : undefined;
      if (last) fs.closeSync(last.fd);
      yield opened;
    }
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

/** `first`, which is at `at`, and the block pieces that follow it, as far as one read may go. */
export function blocksFrom(
  first: WantedBlock,
  pieces: readonly Piece[],
  at: number,
): [WantedBlock, ...WantedBlock[]] {
  const blocks: [WantedBlock, ...WantedBlock[]] = [first];
  let size = first.size;
  for (let i = at + 1; i < pieces.length; i++) {
    const piece = pieces[i];
    if (piece?.kind !== 'block' || size + piece.size > blockRunSizeMax) break;
    blocks.push(piece);
    size += piece.size;
  }
  return blocks;
}
