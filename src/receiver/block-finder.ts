// Finds what a version under construction is made of: blocks and base versions, in content that was
// staged a moment ago, in the tree, or in unfinished stages. Whatever the records say, a block counts by its hash.
import fs from 'node:fs';
import QuickLru from 'quick-lru';
import { blockId } from '../blocks/block-id.ts';
import type { BlockList } from '../blocks/block-list.ts';
import { systemCode } from '../errors.ts';
import { pendingBlocksMax } from '../limits.ts';
import type { NodeId } from '../snapshot/entry.ts';
import type { Name } from '../snapshot/name.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';
import { ReadBuffer } from '../tree/read-buffer.ts';
import {
  type BlockHint,
  BlockSource,
  type FoundBlocks,
  type OpenVersion,
  type WantedBlock,
} from './block-source.ts';
import type { Folders } from './folders.ts';
import { turn } from './turn.ts';
import type { UnfinishedStages } from './unfinished.ts';

/** Where a staged file lies until its commit is applied; one object a file. */
export interface StagedPlace {
  readonly directory: ConfinedDirectory;
  readonly name: Name;
}

/** A block that came with a staged file. */
interface StagedBlock {
  readonly place: StagedPlace;
  readonly offset: number;
  readonly size: number;
}

/** The commit that a staged file belongs to. */
export interface PendingCommit {
  /** Its CommitEnd came. Until then it waits for messages itself: nobody must wait for it. */
  readonly isComplete: boolean;
  /** Resolves when it is over. */
  readonly done: Promise<void>;
}

/** A complete staged file whose commit is not durable yet. */
interface StagedVersion {
  readonly place: StagedPlace;
  readonly version: number;
  readonly list: BlockList;
  /** Of its blocks. */
  readonly keys: readonly string[];
  readonly commit: PendingCommit;
}

export interface BlockFinderOptions {
  readonly store: ReplicaStore;
  readonly folders: Folders;
  readonly unfinished: UnfinishedStages;
}

/** It holds up to twice as many. */
const maxSize = pendingBlocksMax / 2;

/** `pause` after each turn of the event loop, `clear` when nothing is to be found: BlockSource. */
export class BlockFinder {
  readonly #store: ReplicaStore;
  readonly #unfinished: UnfinishedStages;
  readonly #source: BlockSource;
  /** Nobody else's: other tasks read between finding a block and writing it. */
  readonly #buffer = new ReadBuffer();
  /** By block id; promised: the sender was told to send it. */
  readonly #blocks = new QuickLru<string, StagedBlock | 'promised'>({ maxSize });
  /** By file id: the newest staged version. */
  readonly #newest = new Map<NodeId, StagedVersion>();
  /** Blocks that turned out not to be where records say. */
  readonly #absent = new QuickLru<string, true>({ maxSize });
  readonly #unsettled = new Map<StagedPlace, StagedVersion>();

  constructor(options: BlockFinderOptions) {
    this.#store = options.store;
    this.#unfinished = options.unfinished;
    this.#source = new BlockSource({ ...options, buffer: this.#buffer });
  }

  /** Is the block here, or on its way? If not, it counts as on its way from now on. */
  expect(id: Buffer): boolean {
    const key = keyOf(id);
    if (this.#blocks.has(key)) return true;
    const isKnown = this.#store.hasBlock(id) || this.#unfinished.has(id);
    if (isKnown && !this.#absent.has(key)) return true;
    this.#blocks.set(key, 'promised');
    return false;
  }

  /** The first of these blocks, and what follows with it; `own`: the file that is to have it, open. */
  async find(
    wanted: readonly [WantedBlock, ...WantedBlock[]],
    own: { readonly place: StagedPlace; readonly fd: number },
  ): Promise<FoundBlocks | undefined> {
    const [{ id, size }] = wanted;
    const staged = this.#blocks.get(keyOf(id));
    const bytes = this.#readStaged(id, size, own);
    const found = bytes ? { bytes, count: 1 } : this.#source.read(wanted);
    if (found) return found;
    const kept = this.#unfinished.read(id, size, this.#buffer);
    if (kept) return { bytes: kept, count: 1 };
    if (staged !== undefined && staged !== 'promised' && (await this.#isSettled(staged.place))) {
      // Renamed into place meanwhile; the index has it now.
      const late = this.#source.read(wanted);
      if (late) return late;
    }
    // A file that was to bring it was given up, or is slow to come: the next to need it sends it.
    if (staged === 'promised') this.#blocks.delete(keyOf(id));
    this.#absent.set(keyOf(id), true);
    return undefined;
  }

  /** Version `version` of file `id`, staged or in the tree; the caller closes it. */
  async openVersion(id: NodeId, version: number): Promise<OpenVersion | undefined> {
    const staged = this.#newest.get(id);
    if (staged?.version === version) {
      try {
        return { fd: openPlace(staged.place), list: staged.list };
      } catch (error) {
        if (systemCode(error) === undefined) throw error;
        await this.#isSettled(staged.place);
      }
    }
    return this.#source.openVersion(id, version);
  }

  /** A block came; its key is to be dropped with the file. */
  addBlock(id: Buffer, block: StagedBlock): string {
    const key = keyOf(id);
    this.#absent.delete(key);
    this.#blocks.set(key, block);
    return key;
  }

  addVersion(id: NodeId, version: StagedVersion): void {
    this.#newest.set(id, version);
    this.#unsettled.set(version.place, version);
  }

  /** The commit of the file is over: the index has it, or it is gone. */
  settle(id: NodeId, place: StagedPlace): void {
    if (this.#newest.get(id)?.place === place) this.#newest.delete(id);
    this.drop(place, this.#unsettled.get(place)?.keys ?? []);
    this.#unsettled.delete(place);
  }

  /** The blocks that came with the file are not there any more. */
  drop(place: StagedPlace, keys: readonly string[]): void {
    for (const key of keys) {
      const block = this.#blocks.peek(key);
      if (block !== 'promised' && block?.place === place) this.#blocks.delete(key);
    }
  }

  takeBadHints(): readonly BlockHint[] {
    return this.#source.takeBadHints();
  }

  /** Lets other tasks have their turn. */
  turn(): Promise<void> {
    this.pause();
    return turn();
  }

  /** To be called whenever other tasks have had their turn. */
  pause(): void {
    this.#source.pause();
  }

  /** Closes what was opened to find blocks. */
  clear(): void {
    this.#source.clear();
    this.#unfinished.clear();
  }

  close(): void {
    this.#unfinished.clear();
    this.#source.close();
  }

  /** Waits until the commit of the file is over; false if that cannot be waited for. */
  async #isSettled(place: StagedPlace): Promise<boolean> {
    const commit = this.#unsettled.get(place)?.commit;
    if (!commit?.isComplete) return false;
    this.#source.clear();
    await commit.done;
    return true;
  }

  #readStaged(
    id: Buffer,
    size: number,
    own: { readonly place: StagedPlace; readonly fd: number },
  ): Buffer | undefined {
    const block = this.#blocks.get(keyOf(id));
    if (block === undefined || block === 'promised' || block.size !== size) return undefined;
    const isOwn = block.place === own.place;
    try {
      const fd = isOwn ? own.fd : openPlace(block.place);
      try {
        const bytes = this.#buffer.read(fd, block.offset, size);
        return blockId(this.#store.secret, bytes).equals(id) ? bytes : undefined;
      } finally {
        if (!isOwn) fs.closeSync(fd);
      }
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      return undefined;
    }
  }
}

function keyOf(id: Buffer): string {
  return id.toString('latin1');
}

function openPlace({ directory, name }: StagedPlace): number {
  return directory.openRead(name);
}
