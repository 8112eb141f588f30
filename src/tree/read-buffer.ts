// Memory that bytes of files are read into, again and again.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { SystemError } from './system-error.ts';

/** Big enough that the system call is noise, small enough for every reader to have one. */
export const readBufferSize = 1024 * 1024;

/**
 * What was read is valid until the next `read` of the same buffer. Whoever awaits anything before the
 * bytes are used needs a buffer that nobody else reads into.
 */
export class ReadBuffer {
  #bytes: Buffer | undefined;

  /**
   * Exactly `size` bytes (at most 1 MiB) of `fd` from `offset` on. Throws EUNSTABLE if the file ends
   * before.
   */
  read(fd: number, offset: number, size: number): Buffer {
    assert(size <= readBufferSize);
    this.#bytes ??= Buffer.allocUnsafeSlow(readBufferSize);
    let count = 0;
    while (count < size) {
      const read = fs.readSync(fd, this.#bytes, count, size - count, offset + count);
      if (read === 0)
        throw new SystemError('EUNSTABLE', 'the file became shorter while it was read');
      count += read;
    }
    return this.#bytes.subarray(0, size);
  }
}
