// Puts new file versions together in the staging folder, from pieces as they arrive.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { blockId, zeroBlockId } from '../blocks/block-id.ts';
import { BlockList, BlockListBuilder } from '../blocks/block-list.ts';
import { applyPatch } from '../blocks/block-patch.ts';
import { ReplicaError, systemCode } from '../errors.ts';
import { blockRunSizeMax, openStagesMax, stagingSliceBytes } from '../limits.ts';
import type { Entry, NodeId } from '../snapshot/entry.ts';
import { type Name, toName } from '../snapshot/name.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';
import { StagedFile } from '../tree/staged-file.ts';
import type { Piece } from '../wire/messages.ts';
import { BlockFinder, type StagedPlace } from './block-finder.ts';
import type { BlockHint, OpenVersion, WantedBlock } from './block-source.ts';
import type { Folders } from './folders.ts';
import { Rejection } from './rejection.ts';
import type { Run, StagedContent, StagedNode } from './steps.ts';

/** A new directory whose files are completed in it before it is renamed into place. */
export interface StagedFolder {
  readonly directory: ConfinedDirectory;
  /** Names that operations of the commit have used in it. */
  readonly names: Set<Name>;
}

/** A file version under construction. */
interface Build {
  /** Its name in the staging folder, unless it lies in a staged directory. */
  readonly name: Name;
  readonly place: StagedPlace;
  readonly file: StagedFile;
  readonly id: NodeId;
  readonly sizeMax: number;
  readonly blocks: BlockListBuilder;
  readonly fresh: Run[];
  /** Of the blocks that came with it. */
  readonly keys: string[];
  blockCount: number;
  base: OpenVersion | undefined;
  /** Why the version cannot be completed; what follows for it is read and dropped. */
  fault: Rejection | undefined;
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
  readonly #finder: BlockFinder;
  readonly #prefix = randomBytes(6).toString('hex');
  #count = 0;
  #sliceBytes = 0;
  readonly #stages = new Map<number, Build>();
  /** By staged name: where complete files lie until their commit is over. */
  readonly #places = new Map<Name, StagedPlace>();

  constructor(options: StagingOptions) {
    this.#options = options;
    this.#finder = new BlockFinder(options);
  }

  /** Is the block here, or on its way? If not, it counts as on its way from now on. */
  expect(id: Buffer): boolean {
    return this.#finder.expect(id);
  }

  /** The whole content of a small file. Throws Rejection, or ERR_PROTOCOL. */
  async stageInline(
    entry: Entry,
    content: { readonly baseVersion: number; readonly pieces: readonly Piece[] },
    options: { readonly done: Promise<void>; readonly within: StagedPlace | undefined },
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
      this.#finder.clear();
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
    this.#finder.pause();
  }

  abortStage(stage: number): void {
    const build = this.#stage(stage);
    this.#stages.delete(stage);
    this.#finder.clear();
    this.#discard(build);
  }

  /** The stage is complete and becomes the content of `entry`. Throws Rejection, ERR_PROTOCOL. */
  finishStage(stage: number, entry: Entry, done: Promise<void>): Staged {
    const build = this.#stage(stage);
    this.#stages.delete(stage);
    this.#finder.clear();
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
      const place = this.#places.get(name);
      if (place) this.#finder.settle(id, place);
      this.#places.delete(name);
    }
  }

  takeBadHints(): readonly BlockHint[] {
    return this.#finder.takeBadHints();
  }

  /** Removes what belongs to no complete commit. */
  close(): void {
    for (const build of this.#stages.values()) this.#discard(build);
    this.#stages.clear();
    this.#finder.close();
  }

  #create(id: NodeId, sizeMax: number, within?: StagedPlace): Build {
    const name = this.#newName();
    const place = within ?? { directory: this.#options.folders.staging, name };
    const file = StagedFile.create(place.directory, place.name);
    return {
      name,
      place,
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
    for (let at = 0; at < pieces.length; ) {
      const size = build.file.size;
      at += await this.#addPieces(build, pieces, at);
      this.#sliceBytes += build.file.size - size;
      if (this.#sliceBytes < stagingSliceBytes) continue;
      this.#sliceBytes = 0;
      this.#finder.pause();
      await new Promise(setImmediate);
    }
  }

  /** Adds the piece at `at`, and perhaps some that follow; how many. */
  async #addPieces(build: Build, pieces: readonly Piece[], at: number): Promise<number> {
    const piece = pieces[at];
    assert(piece !== undefined);
    switch (piece.kind) {
      case 'data':
        this.#refuseOver(build, piece.bytes.length);
        this.#noteBlock(build, piece.id, piece.bytes.length, true);
        build.file.write(piece.bytes);
        return 1;
      case 'patch': {
        this.#refuseOver(build, piece.size);
        const bytes = this.#patched(build, piece);
        this.#noteBlock(build, piece.id, piece.size, true);
        build.file.write(bytes);
        return 1;
      }
      case 'zero': {
        this.#refuseOver(build, piece.size);
        if (!zeroBlockId(this.#options.store.secret, piece.size).equals(piece.id)) {
          throw new ReplicaError('ERR_PROTOCOL', 'zeroes under the id of another block');
        }
        build.blocks.add(piece.id, piece.size);
        build.blockCount++;
        build.file.hole(piece.size);
        return 1;
      }
      case 'copy':
        this.#copy(build, piece);
        return 1;
      case 'block': {
        const { place, file } = build;
        const wanted = blocksFrom(piece, pieces, at);
        const found = await this.#finder.find(wanted, { place, fd: file.fd });
        if (!found) throw new Rejection('missing', 'a block is not here');
        this.#refuseOver(build, found.bytes.length);
        for (const { id, size } of wanted.slice(0, found.count)) {
          this.#noteBlock(build, id, size, false);
        }
        file.writeSparse(found.bytes);
        return found.count;
      }
    }
  }

  /** Hashed, since what the sender found the same may only look so. */
  #patched({ base }: Build, { id, size, patch }: Extract<Piece, { kind: 'patch' }>): Buffer {
    if (!base) throw new ReplicaError('ERR_PROTOCOL', 'a patch without a base version');
    const bytes = applyPatch(patch, size, (from, into) => {
      if (fs.readSync(base.fd, into, 0, into.length, from) === into.length) return;
      throw new Rejection('missing', 'base version is shorter');
    });
    if (blockId(this.#options.store.secret, bytes).equals(id)) return bytes;
    throw new Rejection('missing', 'a patch does not make its block');
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
    const { place, file } = build;
    build.keys.push(this.#finder.addBlock(id, { place, offset: file.size, size }));
  }

  async #openBase(id: NodeId, version: number): Promise<OpenVersion> {
    const base = await this.#finder.openVersion(id, version);
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
      isWithin: build.place.directory !== this.#options.folders.staging,
      mtimeNs: stats.mtimeNs,
      ctimeNs: stats.ctimeNs,
      list,
      fresh: build.fresh,
    };
    const { keys, place } = build;
    this.#places.set(build.name, place);
    this.#finder.addVersion(entry.id, { place, version: entry.version, list, keys, done });
    if (this.#options.keepOpen()) return { content, file: build.file };
    build.file.close();
    return { content, file: undefined };
  }

  #discard(build: Build): void {
    if (build.base) fs.closeSync(build.base.fd);
    build.base = undefined;
    build.file.close();
    const { directory, name } = build.place;
    if (directory.lstat(name)) directory.unlink(name);
    this.#finder.drop(build.place, build.keys);
  }
}

/** `first`, which is at `at`, and the block pieces that follow it, as far as one read may go. */
function blocksFrom(
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

function inodeOf(directory: ConfinedDirectory, name: Name): bigint {
  const stats = directory.lstat(name);
  assert(stats, 'what was just made is there');
  return stats.ino;
}
