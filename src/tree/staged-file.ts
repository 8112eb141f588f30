// A new file version being built in the staging directory, from front to back. Nothing here is
// visible under a final name; the receiver renames the finished file into place.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import type { Name } from '../snapshot/name.ts';
import type { ConfinedDirectory } from './confined-directory.ts';
import { ReadBuffer, readBufferSize } from './read-buffer.ts';
import { fileTime } from './times.ts';

/** A run of zeros is left out as a hole in units of this size, at multiples of it. */
const holeUnit = 4096;
const permissionBits = 0o7777;
const readWrite = 0o600;

/** Every use is synchronous and ends before the next one starts, so that one is enough. */
const copyBuffer = new ReadBuffer();

export interface FileAttributes {
  readonly mode: number;
  readonly mtimeNs: bigint;
  /** Gives the file away with `chown`, if it must. */
  readonly own?:
    | ((now: fs.BigIntStats, chown: (uid: number, gid: number) => void) => void)
    | undefined;
  /** The extended attributes of an open file; `set` needs one that its owner may read and write. */
  readonly xattrs?:
    | { readonly has: (fd: number) => boolean; readonly set: (fd: number) => void }
    | undefined;
}

export class StagedFile {
  readonly #fd: number;
  #closed = false;
  /** What it began as: the bytes behind `size` are still those of the open file `fd`. */
  #cloned: { readonly fd: number; readonly size: number } | undefined;
  /** Where the next byte goes. */
  #size: number;
  /** Bytes the file itself has; less than `size` after a hole. */
  #written: number;
  #syncError: unknown;

  private constructor(fd: number, size: number) {
    this.#fd = fd;
    this.#size = size;
    this.#written = size;
  }

  /** A new file of this mode, or what the umask leaves of it, until `finish`; EEXIST if there is one. */
  static create(directory: ConfinedDirectory, name: Name, mode = 0o600): StagedFile {
    return new StagedFile(directory.createExclusive(name, mode), 0);
  }

  /** Goes over a file that is there already from its start: bytes are kept, written or cut off. */
  static reopen(directory: ConfinedDirectory, name: Name): StagedFile {
    return new StagedFile(directory.openWrite(name), 0);
  }

  /**
   * A file that begins as a clone of the open file `fd`, whose bytes take no space until they are
   * changed; undefined where the file system cannot do that. `fd` stays open as long as it is used.
   */
  static clone(directory: ConfinedDirectory, name: Name, fd: number): StagedFile | undefined {
    if (!directory.cloneExclusive(fd, name)) return undefined;
    const file = StagedFile.reopen(directory, name);
    file.#cloned = { fd, size: fs.fstatSync(file.#fd).size };
    return file;
  }

  /** For reading back what was written; a hole at the end is missing until `finish`. */
  get fd(): number {
    assert(!this.#closed);
    return this.#fd;
  }

  /** Bytes so far, holes included. */
  get size(): number {
    return this.#size;
  }

  /** Writes at once; `bytes` may be reused afterwards. */
  write(bytes: Uint8Array): void {
    assert(!this.#closed);
    let offset = 0;
    while (offset < bytes.length) {
      const position = this.#size + offset;
      offset += fs.writeSync(this.#fd, bytes, offset, bytes.length - offset, position);
    }
    if (offset === 0) return;
    this.#size += offset;
    this.#written = this.#size;
  }

  /** The next `size` bytes are there already. */
  keep(size: number): void {
    this.#size += size;
    this.#written = this.#size;
  }

  /** What is there beyond the bytes so far goes. */
  cut(): void {
    fs.ftruncateSync(this.#fd, this.#size);
  }

  /** `size` zero bytes that take no space, but for those over other bytes of a clone. */
  hole(size: number): void {
    assert(!this.#closed && Number.isSafeInteger(size) && size >= 0);
    const end = this.#size + size;
    const under = Math.min(end, this.#cloned?.size ?? 0);
    while (this.#size < under) this.write(zeros.subarray(0, under - this.#size));
    this.#size = end;
  }

  /**
   * Appends `size` bytes of the open file `fd` from `offset` on; pages of zeros become holes.
   * Throws EUNSTABLE if that file ends before.
   */
  copyFrom(fd: number, offset: number, size: number): void {
    const isThere =
      fd === this.#cloned?.fd && offset === this.#size && offset + size <= this.#cloned.size;
    if (isThere) {
      this.keep(size);
      return;
    }
    for (let done = 0; done < size; ) {
      const part = copyBuffer.read(fd, offset + done, Math.min(readBufferSize, size - done));
      this.writeSparse(part);
      done += part.length;
    }
  }

  /** As `write`, but pages of zeros become holes. */
  writeSparse(bytes: Buffer): void {
    let start = 0;
    let at = 0;
    while (at < bytes.length) {
      const end = Math.min(at + holeUnit - ((this.#size + at - start) % holeUnit), bytes.length);
      if (isZero(bytes, at, end)) {
        this.write(bytes.subarray(start, at));
        this.hole(end - at);
        start = end;
      }
      at = end;
    }
    this.write(bytes.subarray(start));
  }

  /** Sets length, attributes, owner, mode (exactly these bits) and mtime (cut to the µs); as it now is. */
  finish(options: FileAttributes): fs.BigIntStats {
    assert(!this.#closed);
    const isOtherSize = this.#size > this.#written || this.#size < (this.#cloned?.size ?? 0);
    if (isOtherSize) fs.ftruncateSync(this.#fd, this.#size);
    if (options.xattrs?.has(this.#fd) === false) {
      // It may have been made with its final mode, and permissions are asked for at each call.
      const made = fs.fstatSync(this.#fd).mode & permissionBits;
      if ((made & readWrite) !== readWrite) fs.fchmodSync(this.#fd, made | readWrite);
      options.xattrs.set(this.#fd);
    }
    fs.futimesSync(this.#fd, Date.now() / 1000, fileTime(options.mtimeNs));
    let stat = fs.fstatSync(this.#fd, { bigint: true });
    let isOwned = false;
    options.own?.(stat, (uid, gid) => {
      fs.fchownSync(this.#fd, uid, gid);
      isOwned = true;
    });
    const mode = options.mode & permissionBits;
    const isModeSet = Number(stat.mode & BigInt(permissionBits)) === mode;
    // Another owner may have cleared setuid and setgid bits.
    if (!isModeSet || isOwned) fs.fchmodSync(this.#fd, mode);
    if (!isModeSet || isOwned) stat = fs.fstatSync(this.#fd, { bigint: true });
    assert.equal(stat.size, BigInt(this.#size));
    return stat;
  }

  /**
   * Makes the content durable. After a failure the file must be built anew: the kernel marks the
   * lost pages clean, and a second fsync would report success (PostgreSQL's fsync lesson of 2018).
   */
  sync(fsync: (fd: number) => void = fs.fsyncSync): void {
    assert(!this.#closed);
    if (this.#syncError !== undefined) throw this.#syncError;
    try {
      fsync(this.#fd);
    } catch (error) {
      this.#syncError = error;
      throw error;
    }
  }

  /** May be called more than once. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    fs.closeSync(this.#fd);
  }
}

function isZero(bytes: Buffer, start: number, end: number): boolean {
  // Most pages with content say so in their first or last byte, without a call into memcmp.
  if (bytes[start] !== 0 || bytes[end - 1] !== 0) return false;
  return bytes.compare(zeros, 0, end - start, start, end) === 0;
}

const zeros = Buffer.alloc(holeUnit);
