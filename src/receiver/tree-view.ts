// The tree as it is, seen through its records: finds directories by id, compares what is at a name
// with what is recorded of it, and sets attributes. Serves one group of commits.

import type { BigIntStats } from 'node:fs';
import { systemCode } from '../errors.ts';
import type { Log } from '../log.ts';
import { type Entry, type NodeId, rootId } from '../snapshot/entry.ts';
import { type Name, printable } from '../snapshot/name.ts';
import type { Changes } from '../store/changes.ts';
import { type FileVersion, forgetFile } from '../store/file-places.ts';
import {
  type DirectoryRecord,
  type FileRecord,
  keptParent,
  type LocalStamp,
  type ParentId,
  type Place,
  sameContentStamp,
  sameLocalStamp,
  stampOf,
} from '../store/receiver-records.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';
import {
  Directories,
  type DirectoriesOptions,
  type Opened,
  type Resolution,
} from './directories.ts';
import type { Folders } from './folders.ts';
import { isAlike, type LocalAttributes } from './local-attributes.ts';
import { hasContent, isDoubtful } from './recorded-content.ts';
import { Rejection } from './rejection.ts';

export interface ApplyOptions {
  readonly folders: Folders;
  readonly changes: Changes;
  readonly log: Log;
  readonly attributes: LocalAttributes;
  /** After a crash: parts of the commits may be applied already, and nothing counts as drift. */
  readonly isReplay: boolean;
  readonly nowMs: () => number;
  /** Where steps of a replay may have moved a directory. */
  readonly alternatives?: DirectoriesOptions['alternatives'];
  /** Directories that steps of a replay make: others may have been moved into them already. */
  readonly made?: ReadonlyMap<NodeId, DirectoryRecord> | undefined;
  /** Times (mtime in µs) that steps of a replay give to a file: they may have been set already. */
  readonly timesOf?: ((id: NodeId) => ReadonlySet<bigint> | undefined) | undefined;
  /** Called before each step; a test may throw here to crash. */
  readonly onStep?: ((label: string) => void) | undefined;
}

/** A name in an open directory of the tree. */
export interface OpenPlace {
  readonly parent: NodeId;
  readonly name: Name;
  readonly directory: ConfinedDirectory;
}

const openDirectoriesMax = 256;
/** What is larger is not read while a commit waits: other times count as altered content. */
const comparedSizeMax = 64n * 1024n * 1024n;
const readWrite = 0o600;
const readWriteSearch = 0o700;
const permissionBits = 0o7777n;

export class TreeView {
  readonly options: ApplyOptions;
  readonly #changes: Changes;
  readonly #directories: Directories;
  /** Directories whose names changed, or that were opened up: their attributes are set last. */
  readonly #touched = new Map<NodeId, { readonly mode: number }>();
  /** Other inodes whose attributes changed: they need a flush of their own. */
  readonly #changedFiles: Place[] = [];
  /** Files whose ctime our own links and renames moved in this commit. */
  readonly #moved = new Map<string, FileVersion>();
  #isStale = false;

  constructor(options: ApplyOptions) {
    this.options = options;
    this.#changes = options.changes;
    this.#directories = new Directories({
      folders: options.folders,
      lookUp: id => options.changes.directory(id) ?? options.made?.get(id),
      unlock: (id, opened) => this.touchOpened(id, opened),
      alternatives: options.alternatives,
    });
  }

  resolve(id: ParentId): Resolution {
    return this.#directories.open(id);
  }

  /** Directories left the tree: none must be found by its old id after this step. */
  setStale(): void {
    this.#isStale = true;
  }

  /** Between steps, when nobody holds a directory. */
  refresh(): void {
    if (this.#isStale) this.#directories.clear();
    else this.#directories.trim(openDirectoriesMax);
    this.#isStale = false;
  }

  close(): void {
    this.#directories.close();
  }

  // Comparing

  /** Is what is at the name what was recorded when we made it, unaltered? */
  isAsRecorded(directory: ConfinedDirectory, name: Name, entry: Entry, now: BigIntStats): boolean {
    if (entry.kind !== 'file') return this.isCurrent(directory, name, entry, now);
    const record = this.#changes.file(entry.id, entry.version);
    return record !== undefined && now.isFile() && this.isSameFile(entry, record.stamp, now);
  }

  /** As recorded, or at least its content is: then its stamp is taken anew. */
  isUnaltered(directory: ConfinedDirectory, name: Name, entry: Entry, now: BigIntStats): boolean {
    if (this.isAsRecorded(directory, name, entry, now)) return true;
    const record = entry.kind === 'file' ? this.#changes.file(entry.id, entry.version) : undefined;
    if (!record || this.options.isReplay || now.size > comparedSizeMax) return false;
    const { secret } = this.#changes;
    if (!isDoubtful(record, now) || !hasContent(directory, name, { record, now, secret })) {
      return false;
    }
    this.#changes.setFile(entry.id, entry.version, { ...record, stamp: stampOf(now) });
    return true;
  }

  /** Is it the recorded node, perhaps altered? By inode, or by target. */
  isCurrent(directory: ConfinedDirectory, name: Name, entry: Entry, now: BigIntStats): boolean {
    switch (entry.kind) {
      case 'file':
        return this.#changes.file(entry.id, entry.version)?.stamp.ino === now.ino;
      case 'directory':
        return now.isDirectory() && this.#changes.directory(entry.id)?.ino === now.ino;
      case 'link':
        return now.isSymbolicLink() && directory.readlink(name) === entry.target;
    }
  }

  isSameFile({ id, version }: FileVersion, stamp: LocalStamp, now: BigIntStats): boolean {
    if (this.options.isReplay) {
      // The replayed steps may have set its time, and moved its ctime.
      if (stamp.ino !== now.ino || stamp.size !== now.size) return false;
      const isSet = this.options.timesOf?.(id)?.has(now.mtimeNs / 1000n) === true;
      return isSet || stamp.mtimeNs === now.mtimeNs;
    }
    const isMoved = this.#moved.has(`${id}.${version}`);
    return (isMoved ? sameContentStamp : sameLocalStamp)(stampOf(now), stamp);
  }

  /** After a replay: is it what the entry says? The stamp is taken anew then. */
  isReplayed(directory: ConfinedDirectory, name: Name, entry: Entry, now: BigIntStats): boolean {
    if (!this.isAsRecorded(directory, name, entry, now)) return false;
    const record = entry.kind === 'file' && this.#changes.file(entry.id, entry.version);
    if (!record) return true;
    const isTimeKnown =
      now.mtimeNs === record.stamp.mtimeNs || now.mtimeNs / 1000n === entry.mtimeNs / 1000n;
    if (isTimeKnown) {
      this.#changes.setFile(entry.id, entry.version, { ...record, stamp: stampOf(now) });
    }
    return isTimeKnown;
  }

  /** Where the file is found unaltered. */
  findFile(
    entry: FileVersion,
    record: FileRecord,
  ): { readonly directory: ConfinedDirectory; readonly name: Name } | undefined {
    for (const { parent, name } of record.places.toReversed()) {
      const resolution = this.resolve(parent);
      if (resolution.kind !== 'open') continue;
      const { directory } = resolution;
      const now = directory.lstat(name);
      if (now?.isFile() && this.isSameFile(entry, record.stamp, now)) return { directory, name };
    }
    return undefined;
  }

  /** Our own links and renames move its ctime: the stamp is taken anew at the end of the commit. */
  noteMoved({ id, version }: FileVersion): void {
    this.#moved.set(`${id}.${version}`, { id, version });
  }

  restampMoved(): void {
    for (const version of this.#moved.values()) this.restamp(version);
    this.#moved.clear();
  }

  restamp({ id, version }: FileVersion): void {
    const record = this.#changes.file(id, version);
    if (!record) return;
    if (record.links <= 0) {
      forgetFile(this.#changes, { id, version });
      return;
    }
    const found = this.findFile({ id, version }, record);
    const now = found?.directory.lstat(found.name);
    if (now) this.#changes.setFile(id, version, { ...record, stamp: stampOf(now) });
  }

  // Attributes

  /** Is there anything for `settle`? */
  get isTouched(): boolean {
    return this.#touched.size + this.#changedFiles.length > 0;
  }

  /** The directory's names change: it must be writable now, and gets its attributes back later. */
  touch(id: NodeId): void {
    if (this.#touched.has(id)) return;
    const resolution = this.resolve(id);
    if (resolution.kind === 'open') this.touchOpened(id, resolution);
  }

  touchOpened(id: ParentId, { directory, isKept }: Opened): void {
    if (isKept || id === keptParent || this.#touched.has(id)) return;
    const mode = Number(directory.stat().mode & permissionBits);
    this.#touched.set(id, { mode });
    if ((mode & readWriteSearch) !== readWriteSearch) directory.chmodSelf(mode | readWriteSearch);
  }

  /** Gives the node at `place` the attributes of `entry`; `previous` is what it had. */
  setAttributes(place: OpenPlace, previous: Entry | undefined, entry: Entry): void {
    const isSame = !this.options.isReplay && previous !== undefined && isAlike(previous, entry);
    switch (entry.kind) {
      case 'file':
        this.#setFileAttributes(place, isSame, entry);
        break;
      case 'directory':
        if (!isSame) this.setDirectory(entry);
        break;
      case 'link':
        if (isSame) return;
        this.#setLinkAttributes(place, entry);
        this.touch(place.parent);
    }
  }

  #setFileAttributes({ parent, name, directory }: OpenPlace, isSame: boolean, entry: Entry): void {
    const record = this.#changes.file(entry.id, entry.version);
    // Names of one file share its attributes: what this name's entry said may be out of date.
    if (!record || (isSame && record.links === 1)) return;
    const before = directory.lstat(name);
    if (!before || before.ino !== record.stamp.ino) return;
    const { attributes } = this.options;
    const isModeSet = attributes.hasMode(entry, before);
    const isTimeSet = before.mtimeNs / 1000n === entry.mtimeNs / 1000n;
    const isAttributed = this.#hasXattrs(directory, name, before, entry);
    if (isModeSet && isTimeSet && isAttributed && attributes.hasOwner(entry, before)) return;
    if (!isAttributed) this.#setFileXattrs(directory, name, before, entry);
    const isCleared = attributes.setOwner(entry, before, (uid, gid) =>
      directory.chown(name, before.ino, { uid, gid }),
    );
    if (!isModeSet || isCleared) directory.chmod(name, attributes.modeOf(entry));
    if (!isTimeSet) directory.setTimes(name, entry.mtimeNs);
    const after = directory.lstat(name);
    if (!after) return;
    this.#changes.setFile(entry.id, entry.version, { ...record, stamp: stampOf(after) });
    this.#changedFiles.push({ parent, name });
  }

  #hasXattrs(directory: ConfinedDirectory, name: Name, now: BigIntStats, entry: Entry): boolean {
    if (entry.xattrs === undefined) return true;
    const { xattrs } = this.options.attributes;
    return directory.pinned(name, now.ino, pin => xattrs.has(entry, pin)) ?? true;
  }

  /** Opens the file up for it, if it must: permissions are asked for at each call. */
  #setFileXattrs(directory: ConfinedDirectory, name: Name, now: BigIntStats, entry: Entry): void {
    const { xattrs } = this.options.attributes;
    const mode = Number(now.mode & permissionBits);
    const isOpenedUp = (mode & readWrite) !== readWrite;
    if (isOpenedUp) directory.chmod(name, mode | readWrite);
    try {
      directory.pinned(name, now.ino, pin => xattrs.set(entry, pin));
    } finally {
      if (isOpenedUp) directory.chmod(name, mode);
    }
  }

  /** Throws where mode and time cannot be set: when they are, names having settled, it is too late. */
  tryDirectory(entry: Entry): void {
    this.touch(entry.id);
    const resolution = this.resolve(entry.id);
    if (resolution.kind !== 'open' || resolution.isKept) return;
    const { directory } = resolution;
    const mode = this.options.attributes.modeOf(entry) | readWriteSearch;
    if (Number(directory.stat().mode & permissionBits) !== mode) directory.chmodSelf(mode);
    directory.setTimesSelf(entry.mtimeNs);
  }

  /** Mode, owner and times follow when the names in it have settled. Throws Rejection. */
  setDirectory(entry: Entry): void {
    this.touch(entry.id);
    const resolution = this.resolve(entry.id);
    if (resolution.kind !== 'open' || resolution.isKept) return;
    this.options.attributes.xattrs.set(entry, resolution.directory.fd);
  }

  #setLinkAttributes({ name, directory }: OpenPlace, entry: Entry): void {
    const now = directory.lstat(name);
    if (now?.isSymbolicLink()) {
      const { ino } = now;
      const chown = (uid: number, gid: number): void => directory.chown(name, ino, { uid, gid });
      this.options.attributes.setOwner(entry, now, chown);
    }
    directory.setTimes(name, entry.mtimeNs);
  }

  /** Inodes of the tree that have to be flushed, kept content and limbo among them. */
  get changeCount(): number {
    return this.#touched.size + this.#changedFiles.length + 2;
  }

  /** Files whose attributes changed. */
  get changedFiles(): readonly Place[] {
    return this.#changedFiles;
  }

  /**
   * Sets modes and times of the directories touched, deepest first, and gives each out to be flushed.
   * They are valid until the next one is asked for: a commit may touch more than can be open.
   */
  *settle(): Generator<ConfinedDirectory> {
    const { kept, limbo } = this.options.folders;
    this.options.onStep?.('attributes');
    const found: { id: NodeId; depth: number }[] = [];
    for (const id of this.#touched.keys()) {
      const resolution = this.resolve(id);
      if (resolution.kind === 'open') found.push({ id, depth: resolution.depth });
      this.#directories.trim(openDirectoriesMax);
    }
    found.sort((a, b) => b.depth - a.depth);
    yield kept;
    yield limbo;
    for (const { id } of found) {
      const resolution = this.resolve(id);
      if (resolution.kind !== 'open') continue;
      this.#setDirectoryAttributes(id, resolution.directory);
      yield resolution.directory;
      this.#directories.trim(openDirectoriesMax);
    }
  }

  /** Opens a file for flushing; undefined if it is not there, or not readable. */
  openFile({ parent, name }: Place): number | undefined {
    const resolution = this.resolve(parent);
    if (resolution.kind !== 'open') return undefined;
    try {
      return resolution.directory.openRead(name);
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      return undefined;
    }
  }

  #setDirectoryAttributes(id: NodeId, directory: ConfinedDirectory): void {
    const { attributes } = this.options;
    const entry = this.#directoryEntry(id);
    const mode = entry ? attributes.modeOf(entry) : this.#touched.get(id)?.mode;
    const now = directory.stat();
    const attempt = (act: () => void): void => attributes.attempt(() => this.#pathOf(id), act);
    if (entry) attempt(() => this.#putXattrsBack(id, directory, entry));
    const chown = (uid: number, gid: number): void => directory.chownSelf(uid, gid);
    const isCleared = entry !== undefined && attributes.setOwner(entry, now, chown);
    const isModeSet = Number(now.mode & permissionBits) === mode;
    if (mode !== undefined && (!isModeSet || isCleared)) attempt(() => directory.chmodSelf(mode));
    if (entry) attempt(() => directory.setTimesSelf(entry.mtimeNs));
  }

  #pathOf(id: NodeId): string {
    const record = this.#changes.directory(id);
    return record ? this.path(record.parent, record.name) : '.';
  }

  /** They were set with their operation: here they are found altered by somebody else. */
  #putXattrsBack(id: NodeId, directory: ConfinedDirectory, entry: Entry): void {
    try {
      this.options.attributes.xattrs.set(entry, directory.fd);
    } catch (error) {
      if (!(error instanceof Rejection)) throw error;
      this.options.log.warn({ path: this.path(id, '') }, error.message);
    }
  }

  #directoryEntry(id: NodeId): Entry | undefined {
    if (id === rootId) return this.#changes.entry(keptParent, '');
    const record = this.#changes.directory(id);
    return record && this.#changes.entry(record.parent, record.name);
  }

  /** Below the root, for people. */
  path(parent: ParentId, name: Name | ''): string {
    const names: string[] = [name];
    for (let id = parent; id !== rootId && id !== keptParent && names.length < pathNamesMax; ) {
      const record = this.#changes.directory(id);
      names.unshift(record?.name ?? '?');
      id = record?.parent ?? rootId;
    }
    return printable(names.join('/'));
  }
}

/** Enough of a path for a message. */
const pathNamesMax = 100;
