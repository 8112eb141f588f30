// Stages that were cut short: by the connection, by the end of either side, or by a block that was
// not there. Their blocks are used again, and a stage of the same content goes on in place. Bounded
// in bytes, number and age; what is left when the sender is in sync goes at once.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { blockId } from '../blocks/block-id.ts';
import type { BlockList } from '../blocks/block-list.ts';
import { systemCode } from '../errors.ts';
import { unfinishedAgeMs, unfinishedBytesMax, unfinishedCountMax } from '../limits.ts';
import type { Name } from '../snapshot/name.ts';
import type { ReadBuffer } from '../tree/read-buffer.ts';
import type { StagedPlace } from './block-finder.ts';
import type { Folders } from './folders.ts';
import { listName, readUnfinishedList, stageOfList, UnfinishedList } from './unfinished-list.ts';

export interface UnfinishedOptions {
  readonly folders: Folders;
  readonly secret: Buffer;
  readonly nowMs: () => number;
  readonly bytesMax?: number | undefined;
}

export interface Unfinished {
  readonly name: Name;
  readonly list: BlockList;
  /** On the disk. */
  readonly bytes: number;
  readonly timeMs: number;
}

export class UnfinishedStages {
  readonly #options: UnfinishedOptions;
  /** Oldest first. */
  readonly #idle = new Map<Name, Unfinished>();
  /** Those that a stage goes on with: their content is in the staging folder. */
  readonly #resumed = new Map<Name, Unfinished>();
  #open: { readonly name: Name; readonly fd: number } | undefined;

  constructor(options: UnfinishedOptions) {
    this.#options = options;
  }

  /** Bytes on the disk of what nobody goes on with at the moment. */
  get idleBytes(): number {
    let bytes = 0;
    for (const one of this.#idle.values()) bytes += one.bytes;
    return bytes;
  }

  /** Reads what the folder has; only after `salvage`. */
  load(): void {
    const { folders, secret } = this.#options;
    const { unfinished } = folders;
    this.clear();
    this.#idle.clear();
    this.#resumed.clear();
    const found: Unfinished[] = [];
    for (const file of unfinished.list()) {
      const name = stageOfList(file) ?? file;
      const content = unfinished.lstat(name);
      const listed = unfinished.lstat(listName(name));
      if (file !== name && content?.isFile() && content.nlink === 1n && listed) {
        const list = readUnfinishedList(unfinished, name, secret);
        const bytes = Number(content.blocks + listed.blocks) * 512;
        if (list) {
          found.push({ name, list, bytes, timeMs: Number(listed.mtimeMs) });
          continue;
        }
      }
      if (file !== name || !listed) this.#remove(name);
    }
    found.sort((a, b) => a.timeMs - b.timeMs);
    for (const one of found) this.#idle.set(one.name, one);
    this.clean();
  }

  /** A list that grows with a new stage. */
  begin(stage: Name): UnfinishedList {
    const { folders, secret } = this.#options;
    return UnfinishedList.create(folders.unfinished, stage, secret);
  }

  /** An unfinished stage that begins with this block goes on: it is moved to the staging folder. */
  resume(id: Buffer, size: number): Unfinished | undefined {
    const { staging, unfinished } = this.#options.folders;
    for (const one of [...this.#idle.values()].reverse()) {
      const { name, list } = one;
      if (!list.isAt(0, id) || list.sizeAt(0) !== size) continue;
      this.clear();
      unfinished.rename(name, staging, name);
      this.#idle.delete(name);
      this.#resumed.set(name, one);
      return one;
    }
    return undefined;
  }

  /** A new list in place of the one there is. */
  rewrite(stage: Name): UnfinishedList {
    this.#options.folders.unfinished.removeTree(listName(stage));
    return this.begin(stage);
  }

  /** The stage turned out to be another: what was there stays for its blocks. */
  release(one: Unfinished): void {
    const { staging, unfinished } = this.#options.folders;
    this.clear();
    staging.rename(one.name, unfinished, one.name);
    this.#resumed.delete(one.name);
    this.#idle.set(one.name, one);
  }

  /** A staged file that will not be complete, with its blocks so far, one at least; it is closed. */
  keep(place: StagedPlace, name: Name, list: BlockList): void {
    assert(list.count > 0);
    const { folders, nowMs } = this.#options;
    const { unfinished } = folders;
    try {
      this.#drop(name);
      const log = this.begin(name);
      log.append(list.packed);
      log.close();
      place.directory.chmod(place.name, 0o600);
      place.directory.rename(place.name, unfinished, name);
      const bytes = Number(unfinished.lstat(name)?.blocks ?? 0n) * 512 + list.packed.length;
      this.#idle.set(name, { name, list, bytes, timeMs: nowMs() });
      this.clean();
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      // The disk is full, or the like: what arrived is sent again.
      this.#remove(name);
      place.directory.removeTree(place.name);
    }
  }

  /** The stage is complete and its commit over, or it is of no use. */
  forget(stage: Name): void {
    this.#drop(stage);
  }

  has(id: Buffer): boolean {
    for (const stages of [this.#idle, this.#resumed]) {
      for (const { list } of stages.values()) if (list.indexOf(id) >= 0) return true;
    }
    return false;
  }

  /** The bytes of a block, in `buffer`; what was opened stays so until `clear`. */
  read(id: Buffer, size: number, buffer: ReadBuffer): Buffer | undefined {
    const { staging, unfinished } = this.#options.folders;
    for (const folder of [unfinished, staging]) {
      const stages = folder === unfinished ? this.#idle : this.#resumed;
      for (const { name, list } of stages.values()) {
        const block = list.indexOf(id);
        if (block < 0 || list.sizeAt(block) !== size) continue;
        try {
          if (this.#open?.name !== name) {
            this.clear();
            this.#open = { name, fd: folder.openRead(name) };
          }
          const bytes = buffer.read(this.#open.fd, list.offsetAt(block), size);
          if (blockId(this.#options.secret, bytes).equals(id)) return bytes;
        } catch (error) {
          if (systemCode(error) === undefined) throw error;
        }
      }
    }
    return undefined;
  }

  /** Closes what `read` opened. */
  clear(): void {
    if (this.#open) fs.closeSync(this.#open.fd);
    this.#open = undefined;
  }

  /** Removes what is too old, and the oldest of what is too much. */
  clean(): void {
    const { folders, nowMs, bytesMax = unfinishedBytesMax } = this.#options;
    const { bavail, bsize } = folders.unfinished.statFileSystem();
    let bytes = this.idleBytes;
    const allowed = Math.min(bytesMax, Number(bavail * bsize));
    for (const one of this.#idle.values()) {
      const isOld = nowMs() - one.timeMs >= unfinishedAgeMs;
      if (!isOld && bytes <= allowed && this.#idle.size <= unfinishedCountMax) continue;
      this.#drop(one.name);
      bytes -= one.bytes;
    }
  }

  /** The sender is in sync: no stage will go on with any of them. */
  forgetIdle(): void {
    for (const name of this.#idle.keys()) this.#drop(name);
  }

  #drop(name: Name): void {
    if (this.#open?.name === name) this.clear();
    this.#idle.delete(name);
    this.#resumed.delete(name);
    this.#remove(name);
  }

  #remove(name: Name): void {
    const { unfinished } = this.#options.folders;
    unfinished.removeTree(name);
    unfinished.removeTree(listName(name));
  }
}

/** At open, when intents are done: staged files with a block list are unfinished, the others go. */
export function salvage({ staging, unfinished }: Folders): void {
  for (const name of staging.list()) {
    const stats = staging.lstat(name);
    // A second name of a file that is in the tree already must never be written to.
    const isOurs = stats?.isFile() === true && stats.nlink === 1n;
    if (!isOurs || !unfinished.lstat(listName(name))) {
      staging.removeTree(name);
      continue;
    }
    staging.chmod(name, 0o600);
    staging.rename(name, unfinished, name);
  }
}
