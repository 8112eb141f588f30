// Extended attributes as this receiver sets them (snapshot/xattrs.ts, tree/user-xattrs.ts). What it takes
// to set them is looked for when a sender first keeps some, and at the start of a receiver whose
// records have some.
import fs from 'node:fs';
import { ReplicaError, systemCode } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Entry } from '../snapshot/entry.ts';
import { toName } from '../snapshot/name.ts';
import { packXattrs } from '../snapshot/xattrs.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import { hasXattrsMark, setXattrsMark } from '../store/xattrs-mark.ts';
import type { FileAttributes } from '../tree/staged-file.ts';
import { UserXattrs } from '../tree/user-xattrs.ts';
import { type Hello, keepsXattrs, knowsXattrs } from '../wire/messages.ts';
import type { Folders } from './folders.ts';
import { Rejection } from './rejection.ts';

export interface LocalXattrsOptions {
  readonly store: ReplicaStore;
  readonly folders: Folders;
  readonly log: Log;
  /** For tests. */
  readonly load?: (() => Promise<UserXattrs>) | undefined;
}

const probeName = toName('xattrs');
const probe = packXattrs([{ name: 'replica.probe', value: Buffer.from('1') }]) ?? '';
const writable = 0o600;

/** Of one inode, and not of a destination that is full: ext4 says ENOSPC where its block for them is. */
const refusals: ReadonlySet<string> = new Set(['ENOSPC', 'E2BIG', 'ERANGE', 'EINVAL', 'ENOTSUP']);

export class LocalXattrs {
  readonly #options: LocalXattrsOptions | undefined;
  readonly #load: () => Promise<UserXattrs>;
  #calls: UserXattrs | undefined;

  /** Without options: attributes are left alone. */
  constructor(options?: LocalXattrsOptions) {
    this.#options = options;
    this.#load = options?.load ?? (() => UserXattrs.load());
  }

  static async open(options: LocalXattrsOptions): Promise<LocalXattrs> {
    const xattrs = new LocalXattrs(options);
    if (!hasXattrsMark(options.store)) return xattrs;
    try {
      xattrs.#calls = await xattrs.#load();
    } catch (error) {
      if (!(error instanceof ReplicaError)) throw error;
      options.log.warn({}, `extended attributes are left as they are: ${error.message}`);
    }
    return xattrs;
  }

  /**
   * Throws ERR_USAGE, with the reason, if the peer keeps extended attributes and none can be set here,
   * ERR_PROTOCOL if the records have some and the peer knows nothing of them.
   */
  async admit({ features, role }: Pick<Hello, 'features' | 'role'>): Promise<void> {
    if (!this.#options) return;
    const { store, folders } = this.#options;
    if (hasXattrsMark(store) && (features & knowsXattrs) === 0n) {
      const text = 'this replica has extended attributes, which your version does not know';
      throw new ReplicaError('ERR_PROTOCOL', `${text}: update it`);
    }
    if ((features & keepsXattrs) === 0n) return;
    this.#calls ??= await this.#load();
    // A verifier changes nothing.
    if (role !== 'sender') return;
    this.#try(this.#calls, folders);
    if (!hasXattrsMark(store)) await setXattrsMark(store);
  }

  /** Throws ERR_USAGE where the file system has none. */
  #try(calls: UserXattrs, { staging }: Folders): void {
    if (staging.lstat(probeName)) staging.unlink(probeName);
    const fd = staging.createExclusive(probeName, writable);
    try {
      calls.write(fd, probe);
    } catch (cause) {
      const code = systemCode(cause);
      if (code !== 'ENOTSUP' && code !== 'EPERM' && code !== 'EACCES') throw cause;
      const text = `the file system of the destination has no extended attributes (${code})`;
      throw new ReplicaError('ERR_USAGE', `${text}: use another, or leave --xattrs out`, { cause });
    } finally {
      fs.closeSync(fd);
      staging.unlink(probeName);
    }
  }

  /** For a staged file; undefined where none are kept. */
  of(entry: Entry): FileAttributes['xattrs'] {
    if (entry.xattrs === undefined) return undefined;
    return { has: fd => this.has(entry, fd), set: fd => this.set(entry, fd) };
  }

  /** Also where none are kept, or nothing can be said of them. */
  has({ xattrs }: Entry, fd: number): boolean {
    if (xattrs === undefined || !this.#calls) return true;
    try {
      return this.#calls.read(fd) === xattrs;
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      return false;
    }
  }

  /**
   * Makes them what the entry says, of an inode that its owner may read and write. Throws Rejection
   * where the file system does not hold them: then they are what they were.
   */
  set(entry: Entry, fd: number): void {
    const { xattrs } = entry;
    if (xattrs === undefined || !this.#calls || this.has(entry, fd)) return;
    const before = this.#readQuietly(fd);
    try {
      this.#calls.write(fd, xattrs);
    } catch (error) {
      if (before !== undefined) this.#restore(fd, before);
      const code = systemCode(error) ?? '';
      if (!refusals.has(code)) throw error;
      const text = `the file system there does not hold its extended attributes (${code})`;
      throw new Rejection('xattrs', text);
    }
  }

  #readQuietly(fd: number): string | undefined {
    try {
      return this.#calls?.read(fd);
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      return undefined;
    }
  }

  #restore(fd: number, before: string): void {
    try {
      this.#calls?.write(fd, before);
    } catch (error) {
      // The next sweep sees it.
      if (systemCode(error) === undefined) throw error;
    }
  }
}
