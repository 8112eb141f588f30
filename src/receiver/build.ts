// One file version under construction in the staging folder: pieces in, content and block list out.
import assert from 'node:assert/strict';
import type fs from 'node:fs';
import { blockId, zeroBlockId } from '../blocks/block-id.ts';
import { BlockList, BlockListBuilder } from '../blocks/block-list.ts';
import { ReplicaError, systemCode } from '../errors.ts';
import { blockSizeMin, smallBlocksMax, stagingSliceBytes } from '../limits.ts';
import type { NodeId } from '../snapshot/entry.ts';
import type { Name } from '../snapshot/name.ts';
import { type FileAttributes, StagedFile } from '../tree/staged-file.ts';
import type { Piece } from '../wire/messages.ts';
import { BaseVersion } from './base-version.ts';
import type { StagedPlace } from './block-finder.ts';
import { blocksFrom, type FoundBlocks, type WantedBlock } from './block-source.ts';
import type { BuildOptions } from './build-options.ts';
import { isHollow } from './hole-count.ts';
import { holdsBlock } from './recorded-content.ts';
import { Rejection } from './rejection.ts';
import { addToRuns, type Run } from './steps.ts';
import type { Unfinished } from './unfinished.ts';
import type { UnfinishedList } from './unfinished-list.ts';

/** An unfinished stage that this one goes on with: blocks that are next in it stay where they are. */
interface Resumed {
  readonly stage: Unfinished;
  next: number;
}

type PatchPiece = Extract<Piece, { kind: 'patch' }>;
type BlockPiece = Exclude<Piece, { kind: 'copy' } | PatchPiece>;

export class Build {
  readonly id: NodeId;
  readonly #options: BuildOptions;
  readonly #blocks = new BlockListBuilder();
  readonly #fresh: Run[] = [];
  #name: Name;
  #place: StagedPlace;
  #file: StagedFile;
  /** Of the blocks that came with it. */
  #keys: string[] = [];
  #count = 0;
  #base: BaseVersion | undefined;
  #holeCount = 0;
  #fault: Rejection | undefined;
  /** Content and list do not agree any more: what follows is dropped. */
  #isTorn = false;
  #resumed: Resumed | undefined;
  #isResumed = false;
  #list: UnfinishedList | undefined;
  #listedCount = 0;

  constructor(options: BuildOptions) {
    this.#options = options;
    this.id = options.id;
    this.#name = options.name;
    this.#place = options.place;
    const { directory, name } = options.place;
    this.#file = StagedFile.create(directory, name, options.mode);
    if (!options.isListed) return;
    try {
      this.#list = options.unfinished.begin(options.name);
    } catch (error) {
      this.discard();
      throw error;
    }
  }

  get name(): Name {
    return this.#name;
  }

  get place(): StagedPlace {
    return this.#place;
  }

  get file(): StagedFile {
    return this.#file;
  }

  get fresh(): readonly Run[] {
    return this.#fresh;
  }

  get keys(): readonly string[] {
    return this.#keys;
  }

  get sizeMax(): number {
    return this.#options.sizeMax;
  }

  get isListed(): boolean {
    return this.#options.isListed;
  }

  /** Bytes so far. */
  get size(): number {
    return this.#file.size;
  }

  /**
   * Why the version cannot be completed. Whatever else comes for it is put together all the same:
   * the next try finds it here.
   */
  get fault(): Rejection | undefined {
    return this.#fault;
  }

  /** Was the base version altered while it was copied from? Then there is a fault. */
  checkBase(): void {
    if (this.#base?.isAltered) this.#fail('base', 'the base version was altered meanwhile');
  }

  async openBase(version: number): Promise<void> {
    const opened = await this.#options.finder.openVersion(this.id, version);
    if (opened) this.#base = new BaseVersion(opened);
    else this.#fail('base', `version ${version} of the file is not here`);
    const { cloning } = this.#options;
    if (this.#base && cloning) this.#file = cloning.begin(this.#file, this.#place, this.#base.fd);
  }

  /** Adds the piece at `at`, and perhaps some that follow; how many. */
  async add(pieces: readonly Piece[], at: number): Promise<number> {
    const taken = await this.#put(pieces, at);
    if (this.#count > this.#file.size / blockSizeMin + smallBlocksMax) {
      throw new ReplicaError('ERR_PROTOCOL', 'a file of more blocks than its size has');
    }
    return taken;
  }

  async #put(pieces: readonly Piece[], at: number): Promise<number> {
    const piece = pieces[at];
    assert(piece !== undefined);
    if (this.#isTorn) return 1;
    if (piece.kind === 'copy') {
      if (this.#resumed) await this.#diverge(this.#resumed);
      await this.#copy(piece);
      return 1;
    }
    const size = piece.kind === 'data' ? piece.bytes.length : piece.size;
    if (this.#file.size + size > this.#options.sizeMax) throw tooLong();
    if (piece.kind === 'patch') {
      if (this.#resumed) await this.#diverge(this.#resumed);
      this.#patch(piece);
      return 1;
    }
    if (piece.kind === 'zero' && !this.#zeroes(size).equals(piece.id)) {
      throw new ReplicaError('ERR_PROTOCOL', 'zeroes under the id of another block');
    }
    if (this.#count === 0 && this.#list && !this.#base && !this.#fault) this.#resume(piece, size);
    if (this.#resumed && (await this.#goOn(this.#resumed, piece, size))) return 1;
    switch (piece.kind) {
      case 'data':
        this.#note(piece.id, size, true);
        this.#file.write(piece.bytes);
        return 1;
      case 'zero':
        this.#hole(piece.id, size);
        return 1;
      case 'block': {
        const wanted = blocksFrom(piece, pieces, at);
        const found = await this.#find(wanted);
        if (!found) {
          this.#leaveOut(size, 'blocks', 'a block is not here');
          return 1;
        }
        const { bytes, count } = found;
        if (this.#file.size + bytes.length > this.#options.sizeMax) throw tooLong();
        for (const one of wanted.slice(0, count)) this.#note(one.id, one.size, false);
        this.#file.writeSparse(bytes);
        return count;
      }
    }
  }

  /** Makes what came so far known to the next run of the receiver. */
  log(): void {
    if (!this.#list || this.#resumed) return;
    this.#list.append(this.#blocks.packedFrom(this.#listedCount));
    this.#listedCount = this.#count;
  }

  /** The content is complete; the file stays open. */
  async finish(attributes: FileAttributes): Promise<{
    readonly stats: fs.BigIntStats;
    readonly list: BlockList;
  }> {
    if (this.#resumed) await this.#diverge(this.#resumed);
    this.log();
    const stats = this.#file.finish(attributes);
    this.#release();
    return { stats, list: this.#takeList() };
  }

  /** Gives the file up, but not the blocks that came with it. */
  setAside(): void {
    const { unfinished } = this.#options;
    const isWorthIt = this.#keys.length > 0 || this.#isResumed;
    if (!isWorthIt || isHollow(this.#holeCount, this.#count)) {
      this.discard();
      return;
    }
    if (this.#resumed) {
      const { stage, next } = this.#resumed;
      const count = stage.list.count - next;
      this.#blocks.addRun(stage.list, { from: next, count });
      this.#count += count;
    }
    this.#close();
    unfinished.keep(this.#place, this.#name, this.#takeList());
  }

  discard(): void {
    this.#close();
    const { directory, name } = this.#place;
    if (directory.lstat(name)) directory.unlink(name);
    if (this.#options.isListed) this.#options.unfinished.forget(this.#name);
  }

  #close(): void {
    this.#release();
    this.#file.close();
    this.#options.finder.drop(this.#place, this.#keys);
  }

  #release(): void {
    this.#options.holes.release(this.#holeCount);
    this.#holeCount = 0;
    this.#base?.close();
    this.#base = undefined;
    this.#list?.close();
    this.#list = undefined;
  }

  #takeList(): BlockList {
    return this.#count === 0 ? BlockList.empty : this.#blocks.build();
  }

  #fail(reason: 'base' | 'blocks', message: string): void {
    // Without its base the sender asks for blocks anew anyway.
    if (reason === 'base' || !this.#fault) this.#fault = new Rejection(reason, message);
  }

  async #copy(run: Run): Promise<void> {
    const base = this.#base;
    if (!base) {
      if (this.#fault) return;
      throw new ReplicaError('ERR_PROTOCOL', 'a copy without a base version');
    }
    const range = base.rangeOf(run);
    if (!range) {
      this.#fail('base', 'base version is shorter');
      return;
    }
    const { start, end } = range;
    if (this.#file.size + end - start > this.#options.sizeMax) throw tooLong();
    try {
      await this.#copyFrom(base.fd, start, end);
    } catch (error) {
      if (systemCode(error) !== 'EUNSTABLE') throw error;
      this.#isTorn = true;
      this.#fail('base', 'base was cut short');
      return;
    }
    this.#blocks.addRun(base.list, run);
    this.#count += run.count;
  }

  /** It may be gigabytes: others get their turn. */
  async #copyFrom(fd: number, start: number, end: number): Promise<void> {
    for (let at = start; at < end; at += stagingSliceBytes) {
      if (at > start) await this.#options.finder.turn();
      this.#file.copyFrom(fd, at, Math.min(stagingSliceBytes, end - at));
    }
  }

  /** Hashed, since what the sender found the same may only look so. */
  #patch({ id, size, patch }: PatchPiece): void {
    if (!this.#base && !this.#fault) {
      throw new ReplicaError('ERR_PROTOCOL', 'a patch without a base version');
    }
    const bytes = this.#base?.patched(patch, size);
    if (!bytes || !blockId(this.#options.secret, bytes).equals(id)) {
      this.#leaveOut(size, 'base', 'a patch does not make its block');
      return;
    }
    this.#note(id, size, true);
    this.#file.write(bytes);
  }

  #find(wanted: readonly [WantedBlock, ...WantedBlock[]]): Promise<FoundBlocks | undefined> {
    return this.#options.finder.find(wanted, { place: this.#place, fd: this.#file.fd });
  }

  /** Zeroes, also in the list, where a block should be. */
  #leaveOut(size: number, reason: 'base' | 'blocks', message: string): void {
    this.#fail(reason, message);
    this.#hole(this.#zeroes(size), size);
  }

  #hole(id: Buffer, size: number): void {
    const { holes } = this.#options;
    if (!holes.take()) {
      this.#isTorn = true;
      this.#fault = new Rejection('refused', `more than ${holes.blocksMax} blocks of zeroes`);
      return;
    }
    this.#holeCount++;
    this.#enter(id, size);
    this.#file.hole(size);
  }

  #zeroes(size: number): Buffer {
    return zeroBlockId(this.#options.secret, size);
  }

  #enter(id: Buffer, size: number): number {
    this.#blocks.add(id, size);
    return this.#count++;
  }

  /** Call it before the block is written. */
  #note(id: Buffer, size: number, isCarried: boolean): void {
    addToRuns(this.#fresh, this.#enter(id, size));
    if (!isCarried) return;
    const at = { place: this.#place, offset: this.#file.size, size };
    this.#keys.push(this.#options.finder.addBlock(id, at));
  }

  // Going on with an unfinished stage

  /** Takes the place of an unfinished stage that begins alike. */
  #resume(piece: BlockPiece, size: number): void {
    const { unfinished } = this.#options;
    const stage = unfinished.resume(piece.id, size);
    if (!stage) return;
    this.discard();
    const { name } = stage;
    this.#name = name;
    this.#place = { directory: this.#place.directory, name };
    this.#file = StagedFile.reopen(this.#place.directory, name);
    this.#resumed = { stage, next: 0 };
    this.#isResumed = true;
  }

  /** The piece is what comes next in the stage, or fills a gap in it: true, and it is there. */
  async #goOn(resumed: Resumed, piece: BlockPiece, size: number): Promise<boolean> {
    const { secret } = this.#options;
    const { list } = resumed.stage;
    const { next } = resumed;
    const isNext =
      next < list.count &&
      list.sizeAt(next) === size &&
      (list.isAt(next, piece.id) || list.isAt(next, this.#zeroes(size)));
    if (!isNext) {
      await this.#diverge(resumed);
      return false;
    }
    resumed.next++;
    if (piece.kind === 'data') {
      this.#note(piece.id, size, true);
      this.#file.write(piece.bytes);
      return true;
    }
    let bytes: Buffer | undefined;
    const at = { offset: this.#file.size, size };
    const isThere = holdsBlock(this.#file.fd, at, { id: piece.id, secret });
    // What is there was altered, or never came.
    if (!isThere && piece.kind === 'block') bytes = (await this.#find([piece]))?.bytes;
    const isHad = isThere || bytes !== undefined || piece.kind === 'zero';
    if (!isHad) this.#fail('blocks', 'a block is not here');
    if (isHad && piece.kind === 'block') this.#note(piece.id, size, false);
    else this.#enter(this.#zeroes(size), size);
    if (isThere) this.#file.keep(size);
    else this.#file.write(bytes ?? Buffer.alloc(size));
    return true;
  }

  /**
   * From here on it is another file. Behind the end of the stage it goes on in place; in the middle
   * what it has so far is copied, and the stage stays for its blocks.
   */
  async #diverge({ stage, next }: Resumed): Promise<void> {
    const { finder, unfinished } = this.#options;
    this.#resumed = undefined;
    if (next === stage.list.count) {
      this.#file.cut();
      this.#list = unfinished.rewrite(this.#name);
    } else {
      const { directory } = this.#place;
      const begun = this.#file;
      this.#name = this.#options.name;
      finder.drop(this.#place, this.#keys);
      this.#keys = [];
      this.#place = { directory, name: this.#name };
      this.#file = StagedFile.create(directory, this.#name);
      await this.#copyFrom(begun.fd, 0, begun.size);
      begun.close();
      unfinished.release(stage);
      this.#list = unfinished.begin(this.#name);
    }
    this.#listedCount = 0;
    this.log();
  }
}

function tooLong(): ReplicaError {
  return new ReplicaError('ERR_PROTOCOL', 'more content than the size of the file');
}
