// Puts new file versions together in the staging folder, from pieces as they arrive.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { blockId, zeroBlockId } from '../blocks/block-id.ts';
import { BlockList, BlockListBuilder } from '../blocks/block-list.ts';
import { ReplicaError, systemCode } from '../errors.ts';
import { openStagesMax, pendingBlocksMax, stagingSliceBytes } from '../limits.ts';
import type { Entry, NodeId } from '../snapshot/entry.ts';
import { type Name, toName } from '../snapshot/name.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';
import { readBytes, StagedFile } from '../tree/staged-file.ts';
import type { Piece } from '../wire/messages.ts';
import { type BlockHint, BlockSource, type OpenVersion } from './block-source.ts';
import type { Folders } from './folders.ts';
import { Rejection } from './rejection.ts';
import type { Run, StagedContent, StagedNode } from './steps.ts';

/** A complete staged file whose commit is not durable yet. */
interface Pending {
  readonly name: Name;
  readonly version: number;
  readonly list: BlockList;
}

interface PendingBlock {
  readonly name: Name;
  readonly offset: number;
  readonly size: number;
}

/** A new directory whose files are completed in it before it is renamed into place. */
export interface StagedFolder {
  readonly directory: ConfinedDirectory;
  /** Names that operations of the commit have used in it. */
  readonly names: Set<Name>;
}

/** Where a staged file lies, if not under its staged name in the staging folder. */
interface Within {
  readonly directory: ConfinedDirectory;
  readonly name: Name;
}

/** A file version under construction. */
interface Build {
  readonly name: Name;
  readonly within: Within | undefined;
  readonly file: StagedFile;
  readonly id: NodeId;
  readonly sizeMax: number;
  readonly blocks: BlockListBuilder;
  readonly fresh: Run[];
  /** Of the pending blocks that lie in it. */
  readonly keys: string[];
  blockCount: number;
  base: OpenVersion | undefined;
  /** Why the version cannot be completed; what follows for it is read and dropped. */
  fault: Rejection | undefined;
}

export interface StagingCounters {
  bytesReceived: number;
  bytesReused: number;
}

export interface StagingOptions {
  readonly store: ReplicaStore;
  readonly folders: Folders;
  readonly specialBits: boolean;
  /** Files stay open until they were flushed one by one. */
  readonly keepOpen: () => boolean;
}

export interface Staged {
  readonly content: StagedContent;
  /** Still open if the options asked for it; the owner flushes and closes it. */
  readonly file: StagedFile | undefined;
}

/** The staging of one connection. */
export class Staging {
  readonly #options: StagingOptions;
  readonly #source: BlockSource;
  readonly #prefix = randomBytes(6).toString('hex');
  readonly counters: StagingCounters = { bytesReceived: 0, bytesReused: 0 };
  #count = 0;
  #sliceBytes = 0;
  readonly #stages = new Map<number, Build>();
  /** By file id: the newest staged version. */
  readonly #pending = new Map<NodeId, Pending>();
  readonly #pendingBlocks = new Map<string, PendingBlock>();
  readonly #within = new Map<Name, Within>();
  /** By staged name: its pending blocks, and when its commit is over. */
  readonly #unsettled = new Map<
    Name,
    { readonly keys: readonly string[]; readonly done: Promise<void> }
  >();

  constructor(options: StagingOptions) {
    this.#options = options;
    this.#source = new BlockSource(options);
  }

  /** Is the block here, or on its way? If not, it counts as on its way from now on. */
  expect(id: Buffer): boolean {
    if (this.#options.store.hasBlock(id)) return true;
    const key = id.toString('latin1');
    if (this.#pendingBlocks.has(key)) return true;
    this.#addPending(key, promised);
    return false;
  }

  /** The whole content of a small file. Throws Rejection, or ERR_PROTOCOL. */
  async stageInline(
    entry: Entry,
    content: { readonly baseVersion: number; readonly pieces: readonly Piece[] },
    options: { readonly done: Promise<void>; readonly within: Within | undefined },
  ): Promise<Staged> {
    const { done, within } = options;
    const build = this.#create(entry.id, entry.size, within);
    try {
      if (content.baseVersion > 0) build.base = await this.#openBase(entry.id, content.baseVersion);
      await this.#add(build, content.pieces);
      return this.#finish(build, entry, done);
    } catch (error) {
      this.#discard(build);
      throw error;
    } finally {
      this.#source.clear();
    }
  }

  /** A directory as it is before its names and attributes come. */
  stageDirectory(): StagedNode {
    const { staging } = this.#options.folders;
    const name = this.#newName();
    staging.mkdir(name, 0o700);
    return { name, ino: inodeOf(staging, name) };
  }

  /** Files of a staged directory may be staged in it; the caller releases it. */
  openFolder({ name }: StagedNode): StagedFolder {
    return { directory: this.#options.folders.staging.sub(name), names: new Set() };
  }

  stageLink(entry: Entry): StagedNode {
    const { staging } = this.#options.folders;
    const name = this.#newName();
    staging.symlink(entry.target, name);
    staging.setTimes(name, entry.mtimeNs);
    return { name, ino: inodeOf(staging, name) };
  }

  async openStage(options: {
    readonly stage: number;
    readonly id: NodeId;
    readonly size: number;
    readonly baseVersion: number;
  }): Promise<void> {
    const { stage, id, size, baseVersion } = options;
    if (this.#stages.has(stage)) throw new ReplicaError('ERR_PROTOCOL', `stage ${stage} is open`);
    if (this.#stages.size >= openStagesMax) {
      throw new ReplicaError('ERR_PROTOCOL', `more than ${openStagesMax} stages are open`);
    }
    const build = this.#create(id, size);
    this.#stages.set(stage, build);
    if (baseVersion > 0)
      await this.#faultOf(build, async () => {
        build.base = await this.#openBase(id, baseVersion);
      });
  }

  async addToStage(stage: number, pieces: readonly Piece[]): Promise<void> {
    const build = this.#stage(stage);
    await this.#faultOf(build, () => this.#add(build, pieces));
    this.#source.clear();
  }

  abortStage(stage: number): void {
    const build = this.#stage(stage);
    this.#stages.delete(stage);
    this.#discard(build);
  }

  /** The stage is complete and becomes the content of `entry`. Throws Rejection, ERR_PROTOCOL. */
  finishStage(stage: number, entry: Entry, done: Promise<void>): Staged {
    const build = this.#stage(stage);
    this.#stages.delete(stage);
    try {
      if (build.id !== entry.id) {
        throw new ReplicaError('ERR_PROTOCOL', `stage ${stage} is for another file`);
      }
      if (build.fault) throw build.fault;
      return this.#finish(build, entry, done);
    } catch (error) {
      this.#discard(build);
      throw error;
    }
  }

  /** The commit of these files is over: the store has them, or they are gone. */
  settle(contents: Iterable<{ readonly id: NodeId; readonly content: StagedContent }>): void {
    for (const { id, content } of contents) {
      const { name } = content;
      if (this.#pending.get(id)?.name === name) this.#pending.delete(id);
      this.#dropBlocks(name, this.#unsettled.get(name)?.keys ?? []);
      this.#unsettled.delete(name);
      this.#within.delete(name);
    }
  }

  takeBadHints(): readonly BlockHint[] {
    return this.#source.takeBadHints();
  }

  /** Removes what belongs to no complete commit. */
  close(): void {
    for (const build of this.#stages.values()) this.#discard(build);
    this.#stages.clear();
    this.#source.close();
  }

  #create(id: NodeId, sizeMax: number, within?: Within): Build {
    const name = this.#newName();
    const { directory, name: fileName } = within ?? {
      directory: this.#options.folders.staging,
      name,
    };
    const file = StagedFile.create(directory, fileName);
    if (within) this.#within.set(name, within);
    return {
      name,
      within,
      file,
      id,
      sizeMax,
      blocks: new BlockListBuilder(),
      fresh: [],
      keys: [],
      blockCount: 0,
      base: undefined,
      fault: undefined,
    };
  }

  #openStaged(name: Name): number {
    const within = this.#within.get(name);
    return within
      ? within.directory.openRead(within.name)
      : this.#options.folders.staging.openRead(name);
  }

  #newName(): Name {
    return toName(`${this.#prefix}.${this.#count++}`);
  }

  #stage(stage: number): Build {
    const build = this.#stages.get(stage);
    if (!build) throw new ReplicaError('ERR_PROTOCOL', `stage ${stage} is not open`);
    return build;
  }

  /** A stage that cannot be completed stays open for the pieces under way. */
  async #faultOf(build: Build, act: () => Promise<void>): Promise<void> {
    if (build.fault) return;
    try {
      await act();
    } catch (error) {
      if (!(error instanceof Rejection)) throw error;
      build.fault = error;
    }
  }

  async #add(build: Build, pieces: readonly Piece[]): Promise<void> {
    for (const piece of pieces) {
      const size = build.file.size;
      await this.#addPiece(build, piece);
      this.#sliceBytes += build.file.size - size;
      if (this.#sliceBytes < stagingSliceBytes) continue;
      this.#sliceBytes = 0;
      this.#source.clear();
      await new Promise(setImmediate);
    }
  }

  async #addPiece(build: Build, piece: Piece): Promise<void> {
    switch (piece.kind) {
      case 'data':
        this.#refuseOver(build, piece.bytes.length);
        this.#noteBlock(build, piece.id, piece.bytes.length, true);
        build.file.write(piece.bytes);
        this.counters.bytesReceived += piece.bytes.length;
        return;
      case 'zero': {
        this.#refuseOver(build, piece.size);
        if (!zeroBlockId(this.#options.store.secret, piece.size).equals(piece.id)) {
          throw new ReplicaError('ERR_PROTOCOL', 'zeroes under the id of another block');
        }
        build.blocks.add(piece.id, piece.size);
        build.blockCount++;
        build.file.hole(piece.size);
        return;
      }
      case 'copy':
        this.#copy(build, piece);
        return;
      case 'block': {
        this.#refuseOver(build, piece.size);
        const bytes = await this.#find(build, piece.id, piece.size);
        this.#noteBlock(build, piece.id, piece.size, false);
        build.file.writeSparse(bytes);
        this.counters.bytesReused += piece.size;
        return;
      }
    }
  }

  #copy(build: Build, { from, count }: { readonly from: number; readonly count: number }): void {
    const { base } = build;
    if (!base) throw new ReplicaError('ERR_PROTOCOL', 'a copy without a base version');
    if (from + count > base.list.count) throw new Rejection('missing', 'base version is shorter');
    const offset = base.list.offsetAt(from);
    const size = base.list.offsetAt(from + count) - offset;
    this.#refuseOver(build, size);
    build.blocks.addRun(base.list, { from, count });
    build.blockCount += count;
    try {
      build.file.copyFrom(base.fd, offset, size);
    } catch (error) {
      if (systemCode(error) === 'EUNSTABLE') throw new Rejection('missing', 'base was cut short');
      throw error;
    }
    this.counters.bytesReused += size;
  }

  #refuseOver(build: Build, size: number): void {
    if (build.file.size + size <= build.sizeMax) return;
    throw new ReplicaError('ERR_PROTOCOL', 'more content than the size of the file');
  }

  #noteBlock(build: Build, id: Buffer, size: number, isCarried: boolean): void {
    const block = build.blockCount++;
    build.blocks.add(id, size);
    const last = build.fresh.at(-1);
    if (last && last.from + last.count === block) {
      build.fresh[build.fresh.length - 1] = { from: last.from, count: last.count + 1 };
    } else {
      build.fresh.push({ from: block, count: 1 });
    }
    if (!isCarried) return;
    const key = id.toString('latin1');
    build.keys.push(key);
    this.#addPending(key, { name: build.name, offset: build.file.size, size });
  }

  #addPending(key: string, block: PendingBlock): void {
    this.#pendingBlocks.set(key, block);
    if (this.#pendingBlocks.size <= pendingBlocksMax) return;
    for (const oldest of this.#pendingBlocks.keys()) {
      this.#pendingBlocks.delete(oldest);
      return;
    }
  }

  /** The bytes of a block, valid until the next call. */
  async #find(build: Build, id: Buffer, size: number): Promise<Buffer> {
    const pending = this.#pendingBlocks.get(id.toString('latin1'));
    const bytes = this.#readPending(build, pending, id, size) ?? this.#source.read(id, size);
    if (bytes) return bytes;
    const done = pending && this.#unsettled.get(pending.name)?.done;
    if (done) {
      // Renamed into place meanwhile; the index has it in a moment.
      this.#source.clear();
      await done;
      const late = this.#source.read(id, size);
      if (late) return late;
    }
    // A file that was to bring it was given up, or is slow to come: the next to need it sends it.
    if (pending === promised) this.#pendingBlocks.delete(id.toString('latin1'));
    throw new Rejection('missing', 'a block is not here');
  }

  #readPending(
    build: Build,
    pending: PendingBlock | undefined,
    id: Buffer,
    size: number,
  ): Buffer | undefined {
    if (!pending || pending === promised || pending.size !== size) return undefined;
    const isOwn = pending.name === build.name;
    try {
      const fd = isOwn ? build.file.fd : this.#openStaged(pending.name);
      try {
        const bytes = readBytes(fd, pending.offset, size);
        return blockId(this.#options.store.secret, bytes).equals(id) ? bytes : undefined;
      } finally {
        if (!isOwn) fs.closeSync(fd);
      }
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      return undefined;
    }
  }

  async #openBase(id: NodeId, version: number): Promise<OpenVersion> {
    const pending = this.#pending.get(id);
    if (pending?.version === version) {
      try {
        const fd = this.#openStaged(pending.name);
        return { fd, list: pending.list };
      } catch (error) {
        if (systemCode(error) === undefined) throw error;
        this.#source.clear();
        await this.#unsettled.get(pending.name)?.done;
      }
    }
    const base = this.#source.openVersion(id, version);
    if (!base) throw new Rejection('missing', `version ${version} of the file is not here`);
    return base;
  }

  #finish(build: Build, entry: Entry, done: Promise<void>): Staged {
    if (build.file.size !== entry.size) {
      const text = `content of ${build.file.size} bytes for a file of ${entry.size}`;
      throw new ReplicaError('ERR_PROTOCOL', text);
    }
    const bits = this.#options.specialBits ? 0o7777 : 0o777;
    const stats = build.file.finish({ mode: entry.mode & bits, mtimeNs: entry.mtimeNs });
    if (build.base) fs.closeSync(build.base.fd);
    build.base = undefined;
    const list = build.blockCount === 0 ? BlockList.empty : build.blocks.build();
    const content: StagedContent = {
      name: build.name,
      ino: stats.ino,
      isWithin: build.within !== undefined,
      mtimeNs: stats.mtimeNs,
      ctimeNs: stats.ctimeNs,
      list,
      fresh: build.fresh,
    };
    this.#pending.set(entry.id, { name: build.name, list, version: entry.version });
    this.#unsettled.set(build.name, { keys: build.keys, done });
    if (this.#options.keepOpen()) return { content, file: build.file };
    build.file.close();
    return { content, file: undefined };
  }

  #discard(build: Build): void {
    if (build.base) fs.closeSync(build.base.fd);
    build.base = undefined;
    build.file.close();
    const { directory, name } = build.within ?? {
      directory: this.#options.folders.staging,
      name: build.name,
    };
    if (directory.lstat(name)) directory.unlink(name);
    this.#within.delete(build.name);
    this.#dropBlocks(build.name, build.keys);
  }

  #dropBlocks(name: Name, keys: readonly string[]): void {
    for (const key of keys) {
      if (this.#pendingBlocks.get(key)?.name === name) this.#pendingBlocks.delete(key);
    }
  }
}

function inodeOf(directory: ConfinedDirectory, name: Name): bigint {
  const stats = directory.lstat(name);
  assert(stats, 'what was just made is there');
  return stats.ino;
}

/** The sender was told to send the block. */
const promised: PendingBlock = { name: toName('promised'), offset: 0, size: 0 };
