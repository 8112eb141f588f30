// The only code that touches the destination. A handle is an open directory; its methods take
// one name each, never a path, and follow no symbolic link. Everything is synchronous: a path
// through a descriptor is resolved when the system call runs, and a call that waits in a thread
// pool while the descriptor is closed and reused would hit another directory.
//
// System errors pass through as they are; their messages hold descriptor paths, so use the code.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { ReplicaError, systemCode } from '../errors.ts';
import { type Name, toName } from '../snapshot/name.ts';
import {
  CheckedPlace,
  type Confinement,
  type DirectoryPlace,
  hasProc,
  ProcPlace,
} from './directory-place.ts';
import { removeTree } from './remove-tree.ts';
import { SystemError } from './system-error.ts';
import { fileTime } from './times.ts';

const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
/** Linux; Node does not export it. Opens the entry itself: no permission needed, no side effect. */
const O_PATH = 0o10000000;
const permissionBits = 0o7777;

export interface RootOptions {
  /** 'checked' forces the way without /proc. Default: 'proc' where it works. */
  readonly confinement?: Confinement;
  /** Let `sub` enter other file systems mounted below the root. Default: EXDEV. */
  readonly crossMounts?: boolean;
}

/** What all handles below one root share. */
interface Root {
  readonly dev: bigint;
  readonly crossMounts: boolean;
}

export class ConfinedDirectory {
  readonly #root: Root;
  readonly #place: DirectoryPlace;
  /** False if the directory could only be opened with O_PATH: it is not readable (yet). */
  readonly #readable: boolean;
  #fd: number;
  #references = 1;

  private constructor(root: Root, place: DirectoryPlace, fd: number, readable: boolean) {
    this.#root = root;
    this.#place = place;
    this.#fd = fd;
    this.#readable = readable;
  }

  /** Opens `path` as the user gave it (links in it are the user's own). Throws ERR_PATH. */
  static openRoot(path: string, options: RootOptions = {}): ConfinedDirectory {
    const fd = openRootFd(path);
    try {
      const stat = fs.fstatSync(fd, { bigint: true });
      const root = { dev: stat.dev, crossMounts: options.crossMounts ?? false };
      const useProc = options.confinement !== 'checked' && hasProc(fd);
      const place = useProc
        ? new ProcPlace(fd)
        : CheckedPlace.root(fs.realpathSync(path, 'latin1'), stat);
      return new ConfinedDirectory(root, place, fd, true);
    } catch (error) {
      fs.closeSync(fd);
      throw error;
    }
  }

  /** 'checked' (no /proc) is weaker: see directory-place.ts. */
  get confinement(): Confinement {
    return this.#place.confinement;
  }

  get fd(): number {
    assert(this.#fd >= 0, 'a released directory is used');
    return this.#fd;
  }

  /**
   * Opens the directory `name`. Throws ENOENT, ENOTDIR (also for a link), EXDEV for a mount
   * point. A directory without read permission opens too: `chmodSelf` can then open it up.
   */
  sub(name: Name): ConfinedDirectory {
    const { fd, readable } = this.#openDirectory(name);
    try {
      const stat = fs.fstatSync(fd, { bigint: true });
      if (stat.dev !== this.#root.dev && !this.#root.crossMounts) {
        throw new SystemError('EXDEV', 'another file system is mounted inside the destination');
      }
      return new ConfinedDirectory(this.#root, this.#place.sub(name, fd, stat), fd, readable);
    } catch (error) {
      fs.closeSync(fd);
      throw error;
    }
  }

  /** One more owner. Each owner calls `release` once; the last one closes the descriptor. */
  retain(): this {
    assert(this.#references > 0, 'a released directory is used');
    this.#references++;
    return this;
  }

  release(): void {
    assert(this.#references > 0, 'a directory is released too often');
    this.#references--;
    if (this.#references > 0) return;
    this.#place.drop();
    const fd = this.#fd;
    this.#fd = -1;
    fs.closeSync(fd);
  }

  /** The directory itself. */
  stat(): fs.BigIntStats {
    return fs.fstatSync(this.fd, { bigint: true });
  }

  /** The entry itself, links not followed; undefined if there is none. */
  lstat(name: Name): fs.BigIntStats | undefined {
    return fs.lstatSync(this.#at(name), { bigint: true, throwIfNoEntry: false });
  }

  /** Names in no particular order. */
  list(): Name[] {
    // readdir leaves out '.' and '..'; the check costs nothing next to the call.
    return fs.readdirSync(this.#self(), 'latin1').map(toName);
  }

  /** Opens a regular file for reading; ELOOP for a link, EISDIR, EINVAL for anything else. */
  openRead(name: Name): number {
    return this.#openFile(name, O_RDONLY);
  }

  /** Opens a regular file for reading and writing in place: for staged files only. */
  openWrite(name: Name): number {
    return this.#openFile(name, O_RDWR);
  }

  /** A new empty file, open for reading and writing. The umask applies to `mode`. */
  createExclusive(name: Name, mode: number): number {
    return fs.openSync(this.#at(name), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
  }

  /**
   * A new file that shares the content of the open file `fd` (FICLONE), for its owner to change.
   * False, and nothing is there, where the file system cannot do that.
   */
  cloneExclusive(fd: number, name: Name): boolean {
    const { COPYFILE_EXCL, COPYFILE_FICLONE_FORCE } = fs.constants;
    try {
      const how = COPYFILE_EXCL | COPYFILE_FICLONE_FORCE;
      fs.copyFileSync(`/proc/self/fd/${fd}`, this.#at(name), how);
    } catch (error) {
      // Whatever it is, a plain copy works, or says why not.
      if (systemCode(error) === undefined) throw error;
      return false;
    }
    this.chmod(name, 0o600);
    return true;
  }

  /** The umask applies to `mode`. */
  mkdir(name: Name, mode: number): void {
    fs.mkdirSync(this.#at(name), mode);
  }

  rmdir(name: Name): void {
    fs.rmdirSync(this.#at(name));
  }

  unlink(name: Name): void {
    fs.unlinkSync(this.#at(name));
  }

  /** `target`: any bytes, latin1; they are stored and never resolved here. */
  symlink(target: string, name: Name): void {
    assert(target.length > 0 && !target.includes('\0'));
    fs.symlinkSync(Buffer.from(target, 'latin1'), this.#at(name));
  }

  readlink(name: Name): string {
    return fs.readlinkSync(this.#at(name), 'latin1');
  }

  /** As rename(2): replaces what is there, a link included. */
  rename(name: Name, to: ConfinedDirectory, toName: Name): void {
    fs.renameSync(this.#at(name), to.#at(toName));
    this.#place.moved(name, to.#place, toName);
  }

  /** A hard link; EEXIST if there is something. Of a link, the link itself. */
  link(name: Name, to: ConfinedDirectory, toName: Name): void {
    fs.linkSync(this.#at(name), to.#at(toName));
  }

  /**
   * Removes the entry and everything below it, however deep; nothing there is fine. Stops at the
   * first error, with a part already removed.
   */
  removeTree(name: Name): void {
    removeTree(this, name);
  }

  /** Sets exactly these bits, whatever the umask; ELOOP for a link (a link has no mode). */
  chmod(name: Name, mode: number): void {
    const path = this.#at(name);
    if (this.confinement === 'checked') {
      refuseLink(fs.lstatSync(path));
      fs.chmodSync(path, mode & permissionBits);
      return;
    }
    // chmod(2) follows links. The pin holds the entry that was checked, even a mode-000 one.
    const pin = fs.openSync(path, O_PATH | O_NOFOLLOW);
    try {
      refuseLink(fs.fstatSync(pin));
      fs.chmodSync(`/proc/self/fd/${pin}`, mode & permissionBits);
    } finally {
      fs.closeSync(pin);
    }
  }

  chmodSelf(mode: number): void {
    if (this.#readable) fs.fchmodSync(this.fd, mode & permissionBits);
    else fs.chmodSync(this.#self(), mode & permissionBits);
  }

  /**
   * -1: as it is. Of a link, the link itself. Clears setuid and setgid bits of a file. Nothing is done
   * when the entry is not inode `ino` any more: whoever owns the directory may put a name of
   * somebody else's file there.
   */
  chown(name: Name, ino: bigint, owner: { readonly uid: number; readonly gid: number }): void {
    const path = this.#at(name);
    if (this.confinement === 'checked') {
      fs.lchownSync(path, owner.uid, owner.gid);
      return;
    }
    // Of a link that is pinned the kernel changes the link.
    this.pinned(name, ino, pin => fs.chownSync(`/proc/self/fd/${pin}`, owner.uid, owner.gid));
  }

  /**
   * Calls `use` with a descriptor of O_PATH of the entry itself, good for that long; undefined, and no
   * call, when the entry is not inode `ino` any more.
   */
  pinned<T>(name: Name, ino: bigint, use: (pin: number) => T): T | undefined {
    const pin = fs.openSync(this.#at(name), O_PATH | O_NOFOLLOW);
    try {
      return fs.fstatSync(pin, { bigint: true }).ino === ino ? use(pin) : undefined;
    } finally {
      fs.closeSync(pin);
    }
  }

  chownSelf(uid: number, gid: number): void {
    if (this.#readable) fs.fchownSync(this.fd, uid, gid);
    else fs.chownSync(this.#self(), uid, gid);
  }

  /** Sets the mtime, cut to the microsecond, of an entry of any type; atime becomes now. */
  setTimes(name: Name, mtimeNs: bigint): void {
    fs.lutimesSync(this.#at(name), Date.now() / 1000, fileTime(mtimeNs));
  }

  setTimesSelf(mtimeNs: bigint): void {
    if (this.#readable) fs.futimesSync(this.fd, Date.now() / 1000, fileTime(mtimeNs));
    else fs.utimesSync(this.#self(), Date.now() / 1000, fileTime(mtimeNs));
  }

  /** Makes creations, renames and deletions in this directory durable. */
  sync(): void {
    if (this.#readable) {
      fs.fsyncSync(this.fd);
      return;
    }
    const fd = fs.openSync(this.#self(), O_RDONLY | O_DIRECTORY);
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  }

  /** Type, free space and so on of the file system the directory lies on. */
  statFileSystem(): fs.BigIntStatsFs {
    return fs.statfsSync(this.#self(), { bigint: true });
  }

  #at(name: Name): string | Buffer {
    assert(this.#fd >= 0, 'a released directory is used');
    return this.#place.child(name);
  }

  #self(): string | Buffer {
    assert(this.#fd >= 0, 'a released directory is used');
    return this.#place.self();
  }

  #openDirectory(name: Name): { fd: number; readable: boolean } {
    const path = this.#at(name);
    try {
      return { fd: fs.openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), readable: true };
    } catch (error) {
      if (systemCode(error) !== 'EACCES' || this.confinement === 'checked') throw error;
      return { fd: fs.openSync(path, O_PATH | O_DIRECTORY | O_NOFOLLOW), readable: false };
    }
  }

  #openFile(name: Name, access: number): number {
    // O_NONBLOCK: a named pipe must not make the receiver wait for a writer.
    const fd = fs.openSync(this.#at(name), access | O_NOFOLLOW | O_NONBLOCK);
    const stat = fs.fstatSync(fd);
    if (stat.isFile()) return fd;
    fs.closeSync(fd);
    throw new SystemError(stat.isDirectory() ? 'EISDIR' : 'EINVAL', 'not a regular file');
  }
}

function openRootFd(path: string): number {
  try {
    return fs.openSync(path, O_RDONLY | O_DIRECTORY);
  } catch (cause) {
    const code = systemCode(cause) ?? 'unknown error';
    throw new ReplicaError('ERR_PATH', `cannot open the folder '${path}': ${code}`, { cause });
  }
}

function refuseLink(stat: fs.Stats): void {
  if (stat.isSymbolicLink()) throw new SystemError('ELOOP', 'a link has no mode');
}
