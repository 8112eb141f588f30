// Reading one file of the source, stat-read-stat: what was read counts only if the file was the
// scanned one before and after.
import { type BigIntStats, closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { systemPath } from '../snapshot/name.ts';

/** What the scan saw of the file. */
export interface ExpectedFile {
  readonly size: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly ino: bigint;
}

export class SourceFile {
  readonly #fd: number;
  readonly #expected: ExpectedFile;

  private constructor(fd: number, expected: ExpectedFile) {
    this.#fd = fd;
    this.#expected = expected;
  }

  /**
   * Opens `path` below `root` (latin1) without following a link or waiting on a FIFO. Undefined
   * when it is no longer the file that was scanned; throws the system's error.
   */
  static open(root: string, path: string, expected: ExpectedFile): SourceFile | undefined {
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const fd = openSync(systemPath(`${root}/${path}`), flags);
    const file = new SourceFile(fd, expected);
    if (file.isAsExpected()) return file;
    file.close();
    return undefined;
  }

  /** Fills `buffer` from the current position; fewer bytes only at the end of the file. */
  read(buffer: Uint8Array): number {
    let filled = 0;
    while (filled < buffer.length) {
      const count = readSync(this.#fd, buffer, filled, buffer.length - filled, null);
      if (count === 0) break;
      filled += count;
    }
    return filled;
  }

  /** Is it still the file that was scanned? */
  isAsExpected(): boolean {
    const stats: BigIntStats = fstatSync(this.#fd, { bigint: true });
    const expected = this.#expected;
    return (
      stats.isFile() &&
      stats.size === BigInt(expected.size) &&
      stats.mtimeNs === expected.mtimeNs &&
      stats.ctimeNs === expected.ctimeNs &&
      stats.ino === expected.ino
    );
  }

  close(): void {
    closeSync(this.#fd);
  }
}
