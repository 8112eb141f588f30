// How the system is told which directory an open handle means, without any name of a peer being
// resolved through more than one path component.
//
// ProcPlace (Linux): `/proc/self/fd/<fd>/<name>` resolves to the inode behind the descriptor, so
// that the kernel walks one component only; this is the openat() that Node lacks.
// CheckedPlace (no /proc): the path from the root, each component compared with what it was when
// the handle was opened, before every use. A local process that swaps directories in that very
// moment can still win; what a peer sends cannot.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { isName, type Name, printable, systemPath } from '../snapshot/name.ts';
import { SystemError } from './system-error.ts';

export type Confinement = 'proc' | 'checked';
export type SystemPath = string | Buffer;

export interface DirectoryPlace {
  readonly confinement: Confinement;
  /** A path that means the directory itself. Valid for one call made at once. */
  self(): SystemPath;
  /** A path that means the entry `name` of the directory. Valid for one call made at once. */
  child(name: Name): SystemPath;
  /** The place of the directory opened as `fd` by the path `child(name)`. */
  sub(name: Name, fd: number, stat: fs.BigIntStats): DirectoryPlace;
  /** The entry `name` was renamed to `toName` in `to`. */
  moved(name: Name, to: DirectoryPlace, toName: Name): void;
  /** The handle is closed. */
  drop(): void;
}

/** True if `/proc/self/fd` leads to the directory open as `fd`. */
export function hasProc(fd: number): boolean {
  const opened = fs.fstatSync(fd, { bigint: true });
  const found = fs.statSync(`/proc/self/fd/${fd}/.`, { bigint: true, throwIfNoEntry: false });
  return found !== undefined && found.ino === opened.ino && found.dev === opened.dev;
}

export class ProcPlace implements DirectoryPlace {
  readonly confinement = 'proc';
  readonly #self: string;
  readonly #prefix: string;

  constructor(fd: number) {
    this.#self = `/proc/self/fd/${fd}`;
    this.#prefix = `${this.#self}/`;
  }

  self(): string {
    return this.#self;
  }

  child(name: Name): SystemPath {
    assert(isName(name));
    return systemPath(this.#prefix + name);
  }

  sub(_name: Name, fd: number): ProcPlace {
    return new ProcPlace(fd);
  }

  moved(): void {}

  drop(): void {}
}

export class CheckedPlace implements DirectoryPlace {
  readonly confinement = 'checked';
  /** Every place in use below one root, so that a rename can be followed. */
  readonly #places: Set<CheckedPlace>;
  readonly #dev: bigint;
  readonly #ino: bigint;
  #parent: CheckedPlace | undefined;
  /** Latin1: the real path of a root, the name of any other. */
  #name: string;
  /** Handles and places below that need this one. */
  #users = 1;

  private constructor(
    parent: CheckedPlace | undefined,
    name: string,
    stat: fs.BigIntStats,
    places: Set<CheckedPlace>,
  ) {
    this.#parent = parent;
    this.#name = name;
    this.#dev = stat.dev;
    this.#ino = stat.ino;
    this.#places = places;
    places.add(this);
    if (parent) parent.#users++;
  }

  /** `realPath`: absolute and free of links, latin1. */
  static root(realPath: string, stat: fs.BigIntStats): CheckedPlace {
    return new CheckedPlace(undefined, realPath, stat, new Set());
  }

  self(): SystemPath {
    return systemPath(this.#verifiedPath());
  }

  child(name: Name): SystemPath {
    assert(isName(name));
    return systemPath(`${this.#verifiedPath()}/${name}`);
  }

  sub(name: Name, _fd: number, stat: fs.BigIntStats): CheckedPlace {
    return new CheckedPlace(this, name, stat, this.#places);
  }

  moved(name: Name, to: DirectoryPlace, toName: Name): void {
    assert(to instanceof CheckedPlace);
    for (const place of this.#places) {
      const parent = place.#parent;
      if (parent === undefined || place.#name !== name) continue;
      if (parent.#ino !== this.#ino || parent.#dev !== this.#dev) continue;
      to.#users++;
      place.#parent = to;
      place.#name = toName;
      parent.drop();
    }
  }

  drop(): void {
    this.#users--;
    if (this.#users > 0) return;
    this.#places.delete(this);
    this.#parent?.drop();
  }

  /** The path, after each of its directories was found to be the one that was opened. */
  #verifiedPath(): string {
    const parent = this.#parent;
    const path = parent ? `${parent.#verifiedPath()}/${this.#name}` : this.#name;
    const stat = fs.lstatSync(systemPath(path), { bigint: true });
    if (stat.isSymbolicLink()) throw new SystemError('ELOOP', `link found: '${printable(path)}'`);
    if (!stat.isDirectory()) throw new SystemError('ENOTDIR', `'${printable(path)}'`);
    if (stat.ino !== this.#ino || stat.dev !== this.#dev) {
      throw new SystemError('ESTALE', `directory was replaced: '${printable(path)}'`);
    }
    return path;
  }
}
