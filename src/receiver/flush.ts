// What makes staged content and changed directories durable, by the cheapest way there is.
import fs from 'node:fs';
import { promisify } from 'node:util';
import { systemCode } from '../errors.ts';
import { singleFlushesMax } from '../limits.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';
import type { FlushFileSystem } from '../tree/durable.ts';
import type { StagedFile } from '../tree/staged-file.ts';

const fsync = promisify(fs.fsync);

/** As many as Node's thread pool has threads. */
export const flushesAtOnce = 4;

export interface FlushOptions {
  readonly root: ConfinedDirectory;
  /** False: nothing is flushed (--fsync off, or a file system in memory). */
  readonly isDurable: boolean;
  readonly flushFileSystem: FlushFileSystem | undefined;
}

export class Flush {
  readonly #options: FlushOptions;

  constructor(options: FlushOptions) {
    this.#options = options;
  }

  /** Must a staged file stay open to be flushed, when `count` of its commit do already? */
  keepsOpen(count: number): boolean {
    const { isDurable, flushFileSystem } = this.#options;
    return isDurable && (flushFileSystem === undefined || count < singleFlushesMax);
  }

  /** Of `count` staged nodes in `folders`, `files` are still open; closes them. */
  async staged(
    folders: readonly ConfinedDirectory[],
    files: readonly StagedFile[],
    count: number,
  ): Promise<void> {
    const { isDurable, root, flushFileSystem } = this.#options;
    try {
      if (!isDurable || count === 0) return;
      if (count > singleFlushesMax && flushFileSystem) return await flushFileSystem(root);
      await each(files, file => fsync(file.fd));
      await each(folders, syncDirectory);
    } finally {
      for (const file of files) file.close();
    }
  }

  /** How `count` changed inodes of the tree become durable. */
  wayOf(count: number): 'none' | 'each' | 'all' {
    const { isDurable, flushFileSystem } = this.#options;
    if (!isDurable) return 'none';
    return count > singleFlushesMax && flushFileSystem ? 'all' : 'each';
  }

  /** Everything that was written to the file system. */
  async all(): Promise<void> {
    await this.#options.flushFileSystem?.(this.#options.root);
  }

  /** Directories whose names changed, and descriptors of other changed inodes. */
  async each(directories: readonly ConfinedDirectory[], fds: readonly number[]): Promise<void> {
    await each(fds, fd => fsync(fd));
    await each(directories, syncDirectory);
  }
}

async function each<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  for (let i = 0; i < items.length; i += flushesAtOnce) {
    await Promise.all(items.slice(i, i + flushesAtOnce).map(act));
  }
}

async function syncDirectory(directory: ConfinedDirectory): Promise<void> {
  try {
    await fsync(directory.fd);
  } catch (error) {
    // Opened without read permission (O_PATH): it must be opened anew.
    if (systemCode(error) !== 'EBADF') throw error;
    directory.sync();
  }
}
