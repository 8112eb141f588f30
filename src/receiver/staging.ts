// Puts new file versions together in the staging folder, from pieces as they arrive.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { ReplicaError } from '../errors.ts';
import {
  holeBlocksMax,
  largeFileSize,
  openStagesMax,
  stagingSliceBytes,
  stagingSliceMs,
} from '../limits.ts';
import type { Entry, NodeId } from '../snapshot/entry.ts';
import { type Name, toName } from '../snapshot/name.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';
import type { StagedFile } from '../tree/staged-file.ts';
import type { Piece } from '../wire/messages.ts';
import { BlockFinder, type PendingCommit, type StagedPlace } from './block-finder.ts';
import type { BlockHint } from './block-source.ts';
import { Build } from './build.ts';
import { Cloning } from './cloning.ts';
import type { Folders } from './folders.ts';
import { HoleCount } from './hole-count.ts';
import type { LocalAttributes } from './local-attributes.ts';
import type { StagedContent, StagedNode } from './steps.ts';
import type { UnfinishedStages } from './unfinished.ts';

/** A new directory whose files are completed in it before it is renamed into place. */
export interface StagedFolder {
  readonly directory: ConfinedDirectory;
  /** Names that operations of the commit have used in it. */
  readonly names: Set<Name>;
}

export interface StagingOptions {
  readonly store: ReplicaStore;
  readonly folders: Folders;
  readonly unfinished: UnfinishedStages;
  readonly attributes: LocalAttributes;
  /** Files stay open until they were flushed one by one. */
  readonly keepOpen: () => boolean;
  /** For tests. */
  readonly holeBlocksMax?: number;
}

export interface Staged {
  readonly content: StagedContent;
  /** Still open if the options asked for it; the owner flushes and closes it. */
  readonly file: StagedFile | undefined;
}

/** A complete file of a commit. */
export interface StagedOf {
  readonly id: NodeId;
  readonly content: StagedContent;
}

/** The staging of one connection. */
export class Staging {
  readonly #options: StagingOptions;
  readonly #finder: BlockFinder;
  readonly #cloning = new Cloning();
  readonly #holes: HoleCount;
  readonly #prefix = randomBytes(6).toString('hex');
  #count = 0;
  #sliceBytes = 0;
  #sliceEndMs = 0;
  readonly #stages = new Map<number, Build>();
  /** By staged name: where complete files lie until their commit is over. */
  readonly #places = new Map<Name, StagedPlace>();
  /** Complete large files: if their commit comes to nothing they go on being unfinished. */
  readonly #large = new Set<Name>();

  constructor(options: StagingOptions) {
    this.#options = options;
    this.#holes = new HoleCount(options.holeBlocksMax ?? holeBlocksMax);
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
    options: { readonly commit: PendingCommit; readonly within: StagedPlace | undefined },
  ): Promise<Staged> {
    const { commit, within } = options;
    const build = this.#create(entry.id, entry.size, {
      within,
      mode: this.#options.attributes.modeOf(entry),
    });
    try {
      if (content.baseVersion > 0) await build.openBase(content.baseVersion);
      await this.#add(build, content.pieces);
      return await this.#finish(build, entry, commit);
    } catch (error) {
      giveUp(build, error);
      throw error;
    } finally {
      this.#finder.clear();
    }
  }

  /** A directory as it is before its names, times and mode come. Throws Rejection. */
  stageDirectory(entry: Entry): StagedNode {
    const { staging } = this.#options.folders;
    const name = this.#newName();
    staging.mkdir(name, 0o700);
    const { ino } = statsOf(staging, name);
    try {
      const { xattrs } = this.#options.attributes;
      if (entry.xattrs) staging.pinned(name, ino, pin => xattrs.set(entry, pin));
      return { name, ino };
    } catch (error) {
      staging.rmdir(name);
      throw error;
    }
  }

  /** Files of a staged directory may be staged in it; the caller releases it. */
  openFolder({ name }: StagedNode): StagedFolder {
    return { directory: this.#options.folders.staging.sub(name), names: new Set() };
  }

  stageLink(entry: Entry): StagedNode {
    const { staging } = this.#options.folders;
    const name = this.#newName();
    staging.symlink(entry.target, name);
    const now = statsOf(staging, name);
    const { ino } = now;
    const chown = (uid: number, gid: number): void => staging.chown(name, ino, { uid, gid });
    this.#options.attributes.setOwner(entry, now, chown);
    staging.setTimes(name, entry.mtimeNs);
    return { name, ino };
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
    const isListed = size >= largeFileSize;
    const build = this.#create(id, size, { isListed, cloning: this.#cloning });
    this.#stages.set(stage, build);
    if (baseVersion > 0) await build.openBase(baseVersion);
  }

  hasStage(stage: number): boolean {
    return this.#stages.has(stage);
  }

  async addToStage(stage: number, pieces: readonly Piece[]): Promise<void> {
    const build = this.#stage(stage);
    await this.#add(build, pieces);
    build.log();
    this.#finder.pause();
  }

  /** What a stage is to have in the end. Throws ERR_PROTOCOL. */
  sizeOf(stage: number): number {
    return this.#stage(stage).sizeMax;
  }

  /** Unlike an aborted one it leaves nothing; nor need it have got as far as being open. */
  dropStage(stage: number): void {
    this.#finder.clear();
    this.#stages.get(stage)?.discard();
    this.#stages.delete(stage);
  }

  abortStage(stage: number): void {
    const build = this.#stage(stage);
    this.#stages.delete(stage);
    this.#finder.clear();
    build.setAside();
  }

  /** The stage is complete and becomes the content of `entry`. Throws Rejection, ERR_PROTOCOL. */
  async finishStage(stage: number, entry: Entry, commit: PendingCommit): Promise<Staged> {
    const build = this.#stage(stage);
    this.#stages.delete(stage);
    this.#finder.clear();
    try {
      if (build.id !== entry.id) {
        throw new ReplicaError('ERR_PROTOCOL', `stage ${stage} is for another file`);
      }
      return await this.#finish(build, entry, commit);
    } catch (error) {
      giveUp(build, error);
      throw error;
    }
  }

  /** The commit of these files is over: the store has them, or they are gone. */
  settle(contents: Iterable<StagedOf>): void {
    for (const { id, content } of contents) {
      const { name } = content;
      const place = this.#places.get(name);
      if (place) this.#finder.settle(id, place);
      this.#places.delete(name);
      if (this.#large.delete(name)) this.#options.unfinished.forget(name);
    }
  }

  /** The commit of these files will never be complete; they are closed. */
  setAside(contents: Iterable<StagedOf>): void {
    const { folders, unfinished } = this.#options;
    for (const { content } of contents) {
      const { name, list } = content;
      if (!this.#large.delete(name)) continue;
      // What was announced as large may have come to nothing.
      if (list.count === 0) unfinished.forget(name);
      else unfinished.keep({ directory: folders.staging, name }, name, list);
    }
  }

  takeBadHints(): readonly BlockHint[] {
    return this.#finder.takeBadHints();
  }

  /** Removes what belongs to no complete commit. */
  close(): void {
    for (const build of this.#stages.values()) build.setAside();
    this.#stages.clear();
    this.#finder.close();
  }

  #create(
    id: NodeId,
    sizeMax: number,
    options: {
      within?: StagedPlace | undefined;
      isListed?: boolean;
      cloning?: Cloning;
      mode?: number;
    },
  ): Build {
    const { folders, store, unfinished } = this.#options;
    const name = this.#newName();
    return new Build({
      name,
      place: options.within ?? { directory: folders.staging, name },
      id,
      mode: options.mode ?? 0o600,
      sizeMax,
      secret: store.secret,
      finder: this.#finder,
      unfinished,
      isListed: options.isListed ?? false,
      cloning: options.cloning,
      holes: this.#holes,
    });
  }

  #newName(): Name {
    return toName(`${this.#prefix}.${this.#count++}`);
  }

  #stage(stage: number): Build {
    const build = this.#stages.get(stage);
    if (!build) throw new ReplicaError('ERR_PROTOCOL', `stage ${stage} is not open`);
    return build;
  }

  async #add(build: Build, pieces: readonly Piece[]): Promise<void> {
    for (let at = 0; at < pieces.length; ) {
      const { size } = build;
      at += await build.add(pieces, at);
      this.#sliceBytes += build.size - size;
      const isShort = performance.now() < this.#sliceEndMs;
      if (this.#sliceBytes < stagingSliceBytes && isShort) continue;
      this.#sliceBytes = 0;
      await this.#finder.turn();
      this.#sliceEndMs = performance.now() + stagingSliceMs;
    }
  }

  async #finish(build: Build, entry: Entry, commit: PendingCommit): Promise<Staged> {
    build.checkBase();
    if (build.fault) throw build.fault;
    if (build.size !== entry.size) {
      const text = `content of ${build.size} bytes for a file of ${entry.size}`;
      throw new ReplicaError('ERR_PROTOCOL', text);
    }
    const { attributes } = this.#options;
    const { stats, list } = await build.finish({
      mode: attributes.modeOf(entry),
      mtimeNs: entry.mtimeNs,
      own: entry.owner && ((now, chown) => attributes.setOwner(entry, now, chown)),
      xattrs: attributes.xattrs.of(entry),
    });
    const { name, place, file, fresh, keys } = build;
    const content: StagedContent = {
      name,
      ino: stats.ino,
      isWithin: place.directory !== this.#options.folders.staging,
      mtimeNs: stats.mtimeNs,
      ctimeNs: stats.ctimeNs,
      list,
      fresh,
    };
    this.#places.set(name, place);
    if (build.isListed) this.#large.add(name);
    this.#finder.addVersion(entry.id, { place, version: entry.version, list, keys, commit });
    if (this.#options.keepOpen()) return { content, file };
    file.close();
    return { content, file: undefined };
  }
}

/** A breach of the protocol leaves nothing behind. */
function giveUp(build: Build, error: unknown): void {
  if (error instanceof ReplicaError && error.code === 'ERR_PROTOCOL') build.discard();
  else build.setAside();
}

function statsOf(directory: ConfinedDirectory, name: Name): BigIntStats {
  const stats = directory.lstat(name);
  assert(stats, 'what was just made is there');
  return stats;
}
