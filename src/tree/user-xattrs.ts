// Extended attributes of the user namespace of what is open or pinned. Node has no calls for them; the
// package fs-xattr does, is optional, and is loaded only where they are to be kept. It takes paths and
// follows links, so all it is ever given is /proc/self/fd/<fd>, which the kernel resolves to the inode
// behind the descriptor, and to nothing else. (Descriptors of O_PATH, which pin what may not be opened,
// are no good for fgetxattr(2): hence no package that takes those.)
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { ReplicaError, systemCode } from '../errors.ts';
import { xattrsSizeMax } from '../limits.ts';
import { isXattrName, packXattrs, unpackXattrs, type Xattr } from '../snapshot/xattrs.ts';
import { SystemError } from './system-error.ts';

/** What is used of fs-xattr. Names are UTF-8; errors have the system's codes. */
export interface XattrCalls {
  listAttributesSync(path: string): string[];
  getAttributeSync(path: string, name: string): Buffer;
  setAttributeSync(path: string, name: string, value: Buffer): void;
  removeAttributeSync(path: string, name: string): void;
}

const prefix = 'user.';
const packageName: string = 'fs-xattr';

export class UserXattrs {
  readonly #calls: XattrCalls;

  constructor(calls: XattrCalls) {
    this.#calls = calls;
  }

  /** Throws ERR_USAGE: what is missing here. */
  static async load(name = packageName): Promise<UserXattrs> {
    if (!existsSync('/proc/self/fd')) {
      throw new ReplicaError('ERR_USAGE', 'extended attributes need /proc: mount it');
    }
    try {
      // It must have these: they are its documented interface.
      return new UserXattrs((await import(name)) as XattrCalls);
    } catch (cause) {
      const text = `the package ${name} is missing or was not built`;
      const remedy = `install a C compiler, make and python3, then run 'npm rebuild ${name}' or 'npm ci'`;
      throw new ReplicaError('ERR_USAGE', `${text}: ${remedy}`, { cause });
    }
  }

  /**
   * All that the inode has, packed. Throws E2BIG when that is more than an entry may have, EILSEQ for
   * a name that is no UTF-8, or the system's error. What changes meanwhile is left out, or half.
   */
  read(fd: number): string {
    const packed = packXattrs(this.#all(fd));
    if (packed === undefined) throw tooMany();
    return packed;
  }

  /** Makes them what `packed` says; leaves alone what is so already. Throws the system's error. */
  write(fd: number, packed: string): void {
    const next = new Map(unpackXattrs(packed).map(one => [one.name, one]));
    const present = this.#names(fd);
    const path = pathOf(fd);
    // First, so that there is room.
    for (const name of present) {
      if (!next.has(latin1(name))) this.#remove(path, name);
    }
    for (const { name, value } of next.values()) {
      const text = Buffer.from(name, 'latin1').toString('utf8');
      const before = present.has(text) ? this.#value(path, text) : undefined;
      if (before?.equals(value) !== true) {
        this.#calls.setAttributeSync(path, prefix + text, value);
      }
    }
  }

  #all(fd: number): readonly Xattr[] {
    const found: Xattr[] = [];
    let size = 0;
    for (const text of this.#names(fd)) {
      const name = latin1(text);
      // What is no UTF-8 was replaced.
      if (text.includes('\ufffd') || !isXattrName(name)) {
        throw new SystemError('EILSEQ', 'the name of an attribute is no UTF-8');
      }
      const value = this.#value(pathOf(fd), text);
      if (!value) continue;
      // A file system may have thousands of 64 KiB each (XFS).
      size += value.length;
      if (size > xattrsSizeMax) throw tooMany();
      found.push({ name, value });
    }
    return found;
  }

  /** Without their 'user.'. */
  #names(fd: number): Set<string> {
    const names = this.#calls.listAttributesSync(pathOf(fd));
    return new Set(
      names.filter(name => name.startsWith(prefix)).map(name => name.slice(prefix.length)),
    );
  }

  #remove(path: string, text: string): void {
    try {
      this.#calls.removeAttributeSync(path, prefix + text);
    } catch (error) {
      // Gone; or its name is no UTF-8, and cannot be given back.
      if (systemCode(error) !== 'ENODATA') throw error;
    }
  }

  /** undefined: it went, or grew, since it was listed. */
  #value(path: string, text: string): Buffer | undefined {
    try {
      return this.#calls.getAttributeSync(path, prefix + text);
    } catch (error) {
      const code = systemCode(error);
      if (code === 'ENODATA' || code === 'ERANGE') return undefined;
      throw error;
    }
  }
}

function pathOf(fd: number): string {
  assert(Number.isInteger(fd) && fd >= 0);
  return `/proc/self/fd/${fd}`;
}

function tooMany(): SystemError {
  return new SystemError('E2BIG', 'more attributes than an entry may have');
}

function latin1(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}
