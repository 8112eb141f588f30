// Opens an LMDB environment with plain binary tables. Both sides keep their state in one.
//
// Facts this file stands on (lmdb-js 3.5.6, checked with strace):
// - With overlappingSync off, the promise of `batch` resolves after fdatasync and the synchronous
//   write of the meta page: resolved means durable. With it on, `flushed` must be awaited as well.
// - `transactionSync` flushes on the calling thread; `transaction(callback)` never calls back.
//   So all writes go through `batch`: instructions are queued here and written by another thread.
// - `getBinaryFast` returns a large shared Buffer with a false `length`: `get` copies, use that.
// - A file that is shorter than its meta page says is read through a mapping: SIGBUS, not an error.
//   Therefore the size is checked before opening.
// - On a full file system it writes behind a buffer of its own for the error message, and a new lock
//   file is SIGBUS: both end the process, at once or later. So room is looked for before it is used.
import fs from 'node:fs';
import { join } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { ReplicaError, systemCode } from '../errors.ts';

/** Keys and values are bytes. Values put must not change until the write's promise is settled. */
export type Table = Database<Buffer, Buffer>;

export interface DatabaseOptions<T extends string> {
  /** Folder of the environment; made (0700) if absent. */
  readonly folder: string;
  readonly tables: readonly T[];
  /** False: never flush (survives a killed process, not a power loss). */
  readonly durable: boolean;
}

/** An LMDB environment with a fixed set of tables. */
export class StateDatabase<T extends string> {
  readonly #root: RootDatabase<Buffer, Buffer>;
  readonly tables: Readonly<Record<T, Table>>;
  readonly #folder: string;
  #lastPut: Promise<boolean> | undefined;

  /** Throws ERR_STATE when what is there is no usable database. Nothing is changed in that case. */
  static open<const T extends string>(options: DatabaseOptions<T>): StateDatabase<T> {
    fs.mkdirSync(options.folder, { recursive: true, mode: 0o700 });
    const fault = databaseFault(options.folder);
    if (fault !== undefined) throw new ReplicaError('ERR_STATE', fault);
    if (!hasLockFile(options.folder)) refuseFull(options.folder, roomMin);
    try {
      return new StateDatabase(options);
    } catch (error) {
      const code = systemCode(error);
      if (code === 'EACCES' || code === 'EROFS' || code === 'ENOSPC') throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw new ReplicaError('ERR_STATE', `cannot open '${options.folder}': ${reason}`, {
        cause: error,
      });
    }
  }

  private constructor(options: DatabaseOptions<T>) {
    this.#folder = options.folder;
    const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
    this.#root = open<Buffer, Buffer>({
      ...binary,
      path: options.folder,
      noSubdir: false,
      maxDbs: options.tables.length + 1,
      overlappingSync: false,
      noSync: !options.durable,
    });
    const tables = options.tables.map(name => [
      name,
      this.#root.openDB<Buffer, Buffer>({ ...binary, name }),
    ]);
    // fromEntries forgets the key type; the keys are exactly options.tables.
    this.tables = Object.fromEntries(tables) as Record<T, Table>;
  }

  /**
   * Runs `action`, whose puts and removes form one transaction, and resolves when that is durable.
   * `action` is synchronous and sees the state from before: reads inside do not see its writes.
   * It must not throw: what it put before is written all the same. Compute first, put afterwards.
   * `values`: of the rows that it puts, or removes. Throws ERR_IO, with nothing written.
   */
  async write(action: () => void, values: readonly (Buffer | undefined)[] = []): Promise<void> {
    // Each row may be in a page of its own, of which a new copy is written.
    const touched = Math.min(values.length * pageSize, fileSize(this.#folder));
    const bytes = values.reduce((sum, value) => sum + (value?.length ?? 0), 0);
    refuseFull(this.#folder, roomMin + touched + bytes);
    try {
      await this.#root.batch(action);
    } catch (error) {
      throw await commitError(error, this.#folder);
    }
  }

  /** Puts, or removes where there is no value; only within the action of `write`. */
  put(table: T, key: Buffer, value: Buffer | undefined): void {
    const done = value ? this.tables[table].put(key, value) : this.tables[table].remove(key);
    // Each put of a transaction gives the same promise, which rejects beside that of `write`.
    if (done === this.#lastPut) return;
    this.#lastPut = done;
    done.catch(() => {});
  }

  /**
   * Runs `action` as one transaction on the calling thread, durable on return; reads inside see its
   * writes (putSync, removeSync). For worker threads: it flushes. A throw undoes it. Throws ERR_IO
   * when it cannot be written.
   */
  transact<R>(action: () => R): R {
    refuseFull(this.#folder, roomMin);
    try {
      return this.#root.transactionSync(action);
    } catch (error) {
      throw isLibraryError(error) ? writeError(error, this.#folder) : error;
    }
  }

  /** Waits for writes under way. */
  async close(): Promise<void> {
    await this.#root.close();
  }
}

/**
 * One value of a database that may be in use, which is not changed; undefined where there is no
 * usable one. Not for a folder that this process has open.
 */
export async function readValue(
  folder: string,
  { table, key }: { readonly table: string; readonly key: Buffer },
): Promise<Buffer | undefined> {
  if (!fs.existsSync(join(folder, 'data.mdb')) || databaseFault(folder) !== undefined) {
    return undefined;
  }
  const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
  const how = { noSubdir: false, maxDbs: 32, readOnly: true };
  const root = open<Buffer, Buffer>({ ...binary, ...how, path: folder });
  try {
    const value = root.openDB<Buffer, Buffer>({ ...binary, name: table }).get(key);
    return value && Buffer.from(value);
  } finally {
    await root.close();
  }
}

/** What keeps the files in `folder` from being opened safely; undefined if nothing, or no files. */
export function databaseFault(folder: string): string | undefined {
  const path = join(folder, 'data.mdb');
  let fd: number;
  try {
    fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const size = fs.fstatSync(fd).size;
    // The library makes a new database of an empty file.
    if (size === 0) return undefined;
    const head = Buffer.alloc(metaSize);
    if (fs.readSync(fd, head, 0, metaSize, 0) < metaSize) return `'${path}' is cut short`;
    if (head.readUInt32LE(metaMagicOffset) !== metaMagic) return `'${path}' is not a database`;
    const pageSize = head.readUInt32LE(metaPageSizeOffset);
    if (pageSize < 512 || pageSize > 65_536) return `'${path}' is not a database`;
    // Two meta pages; the one with the greater transaction number counts.
    const next = Buffer.alloc(metaSize);
    if (fs.readSync(fd, next, 0, metaSize, pageSize) < metaSize) return `'${path}' is cut short`;
    if (next.readUInt32LE(metaMagicOffset) !== metaMagic) return `'${path}' is damaged`;
    const isFirst =
      head.readBigUInt64LE(metaTransactionOffset) > next.readBigUInt64LE(metaTransactionOffset);
    const lastPage = (isFirst ? head : next).readBigUInt64LE(metaLastPageOffset);
    if (BigInt(size) < (lastPage + 1n) * BigInt(pageSize)) return `'${path}' is cut short`;
    return undefined;
  } finally {
    fs.closeSync(fd);
  }
}

// MDB_meta behind the 24-byte page header of the library's LMDB: u32 magic, u32 version,
// u64 address, u64 mapSize, two MDB_db of 48 bytes (the first begins with u32 page size),
// u64 last page, u64 transaction. Little endian on every platform the library ships for.
const metaMagic = 0xbeefc0de;
const metaMagicOffset = 24;
const metaPageSizeOffset = 48;
const metaLastPageOffset = 144;
const metaTransactionOffset = 152;
const metaSize = 160;

/** The library rejects with a stand-in whose `commitError` is a promise rejecting with the cause. */
async function commitError(error: unknown, folder: string): Promise<unknown> {
  if (!(error instanceof Error) || !('commitError' in error)) return error;
  try {
    await error.commitError;
    return error;
  } catch (cause) {
    return writeError(cause, folder);
  }
}

function writeError(cause: unknown, folder: string): ReplicaError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  // A write that found no room for all of its bytes is reported as an input/output error.
  const why = freeBytes(folder) < roomMin ? fullText : reason;
  return new ReplicaError('ERR_IO', `cannot write the state: ${why}`, { cause });
}

/** What the system or the database says has a number; errors of ours have not. */
function isLibraryError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'number';
}

function refuseFull(folder: string, bytes: number): void {
  if (freeBytes(folder) >= bytes) return;
  throw new ReplicaError('ERR_IO', `cannot write the state: ${fullText}`);
}

/** Without what is left for root: whether that is usable depends on more than who asks. */
function freeBytes(folder: string): number {
  try {
    const { bavail, bsize } = fs.statfsSync(folder);
    return bavail * bsize;
  } catch (error) {
    // The folder was removed, or the way there is closed; the database is still open.
    if (systemCode(error) === undefined) throw error;
    return Number.POSITIVE_INFINITY;
  }
}

/** Is there one whose first page, the only one that few readers use, is on the disk? */
function hasLockFile(folder: string): boolean {
  const stats = fs.statSync(join(folder, 'lock.mdb'), { throwIfNoEntry: false });
  return stats !== undefined && stats.blocks > 0;
}

/** Infinity where nothing can be known: the way there may be closed to all but what is open. */
function fileSize(folder: string): number {
  try {
    return fs.statSync(join(folder, 'data.mdb')).size;
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return Number.POSITIVE_INFINITY;
  }
}

const fullText = 'its file system is full: make room';
/** Less than that is as good as nothing for a transaction of some thousand records. */
const roomMin = 1024 * 1024;
const pageSize = 4096;
