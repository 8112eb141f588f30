// What makes staged content and changed directories durable, by the cheapest way there is.
import fs from 'node:fs';
import { promisify } from 'node:util';
import { systemCode } from '../errors.ts';
import { singleFlushesMax } from '../limits.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';
import type { FlushFileSystem } from '../tree/durable.ts';
import type { StagedFile } from '../tree/staged-file.ts';

const fsync = promisify(fs.fsync);

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

  /** Directories whose names changed, and descriptors of other changed inodes. */
  async tree(directories: readonly ConfinedDirectory[], fds: readonly number[]): Promise<void> {
    const { isDurable, root, flushFileSystem } = this.#options;
    if (!isDurable) return;
    if (directories.length + fds.length > singleFlushesMax && flushFileSystem) {
      return flushFileSystem(root);
    }
    await each(fds, fd => fsync(fd));
    await each(directories, syncDirectory);
  }
}

/** A few at a time: as many as there are threads for it. */
async function each<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  const parallel = 4;
  for (let i = 0; i < items.length; i += parallel) {
    await Promise.all(items.slice(i, i + parallel).map(act));
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
