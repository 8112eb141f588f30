// Reading one file of the source: what was read counts only if the file was the scanned one
// afterwards. Scan, read, stat is stat, read, stat: no content can have come between unseen.
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
  #offset = 0;

  private constructor(fd: number, expected: ExpectedFile) {
    this.#fd = fd;
    this.#expected = expected;
  }

  /**
   * Opens `path` below `root` (latin1) without following a link or waiting on a FIFO: perhaps no
   * longer the file that was scanned. Throws the system's error.
   */
  static open(root: string, path: string, expected: ExpectedFile): SourceFile {
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    return new SourceFile(openSync(systemPath(`${root}/${path}`), flags), expected);
  }

  /** The same, but undefined when it is another file by now. */
  static openIfAsExpected(
    root: string,
    path: string,
    expected: ExpectedFile,
  ): SourceFile | undefined {
    const file = SourceFile.open(root, path, expected);
    if (file.isAsExpected()) return file;
    file.close();
    return undefined;
  }

  /** All that the scan saw of it is read. */
  get isRead(): boolean {
    return this.#offset === this.#expected.size;
  }

  /** Fills `buffer` from the current position; fewer bytes only at the end of what the scan saw. */
  read(buffer: Uint8Array): number {
    const size = Math.min(buffer.length, this.#expected.size - this.#offset);
    let filled = 0;
    while (filled < size) {
      const count = readSync(this.#fd, buffer, filled, size - filled, null);
      if (count === 0) break; // It was cut short.
      filled += count;
    }
    this.#offset += filled;
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
