// Applies commits to the tree, step by step, and notes what they change in the records.
//
// Laws:
// - A path that a commit replaces is never missing: its old content gets a second name in kept
//   content or limbo, and the new content is renamed over it.
// - Nothing is replaced or removed unless it is as recorded; anything else is drift: it is kept,
//   reported, and the source wins.
// - Records change only after the system calls of their step: a refused step leaves both as they
//   were.
// - The same commits may be applied again after a crash at any system call (`isReplay`): what is
//   done already is recognised, by the inode of the staged file or of the recorded node.
import assert from 'node:assert/strict';
import type { BigIntStats } from 'node:fs';
import { systemCode } from '../errors.ts';
import type { Log } from '../log.ts';
import { type Entry, type NodeId, rootId } from '../snapshot/entry.ts';
import { type Name, printable, toName } from '../snapshot/name.ts';
import type { Changes } from '../store/changes.ts';
import { addPlace, forgetFile, removePlace, replacePlace } from '../store/file-places.ts';
import {
  type FileRecord,
  keptParent,
  type LocalStamp,
  type ParentId,
  type Place,
  placesMax,
  sameContentStamp,
  sameLocalStamp,
  stampOf,
} from '../store/receiver-records.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';
import type { Lost, Rejected } from '../wire/messages.ts';
import { Directories, type Opened } from './directories.ts';
import type { Folders } from './folders.ts';
import { keptName } from './kept.ts';
import { fatalMessage, Rejection, refusal } from './rejection.ts';
import type { Step } from './steps.ts';

export interface ApplyOptions {
  readonly folders: Folders;
  readonly changes: Changes;
  readonly log: Log;
  readonly specialBits: boolean;
  /** After a crash: parts of the commits may be applied already, and nothing counts as drift. */
  readonly isReplay: boolean;
  readonly nowMs: () => number;
  /** Where steps of a replay may have moved a directory. */
  readonly alternatives?: ((id: NodeId) => readonly Place[]) | undefined;
  /** Called before each step; a test may throw here to crash. */
  readonly onStep?: ((label: string) => void) | undefined;
}

export interface CommitToApply {
  readonly commit: bigint;
  readonly steps: readonly Step[];
}

export interface Applied {
  readonly rejections: readonly Omit<Rejected, 'type' | 'commit'>[];
  readonly lost: Lost['entries'];
}

/** Something moved out of the way, and how to put it back or note it. */
interface Displaced {
  readonly undo: () => void;
  readonly record: () => void;
}

const nothingDisplaced: Displaced = { undo() {}, record() {} };
const openDirectoriesMax = 256;
const readWriteSearch = 0o700;

/** One group of commits that are made durable together. */
export class Applier {
  readonly #options: ApplyOptions;
  readonly #changes: Changes;
  readonly #directories: Directories;
  /** Directories whose names changed, or that were opened up: their attributes are set last. */
  readonly #touched = new Map<NodeId, { readonly mode: number }>();
  /** Other inodes whose attributes changed: they need a flush of their own. */
  #changedFiles: Place[] = [];
  /** Directories made by this group: what the records do not have in them is not there. */
  readonly #made = new Set<NodeId>();
  #driftCount = 0;
  #canLink = true;
  /** Directories left the tree: their descriptors must not be found by id any more. */
  #isStale = false;

  // Of the commit under way:
  #commit = 0n;
  #step: Step | undefined;
  #keptCount = 0;
  #lastMove = new Map<NodeId, number>();
  #lastPlacing = new Map<string, number>();
  /** Displaced nodes that a later step of the commit places. */
  readonly #limbo = new Map<NodeId, { readonly entry: Entry; readonly name: Name }>();
  /** Names whose node was linked elsewhere: inode of what is left there. */
  readonly #vacated = new Map<string, { readonly place: Place; readonly ino: bigint }>();
  /** Files whose ctime our own links and renames moved. */
  readonly #moved = new Map<string, { readonly id: NodeId; readonly version: number }>();
  #lost: { parent: NodeId; name: Name; id: NodeId }[] = [];

  constructor(options: ApplyOptions) {
    this.#options = options;
    this.#changes = options.changes;
    this.#directories = new Directories({
      folders: options.folders,
      lookUp: id => options.changes.directory(id),
      unlock: (id, opened) => this.#touchOpened(id, opened),
      alternatives: options.alternatives,
    });
  }

  get driftCount(): number {
    return this.#driftCount;
  }

  /** Everything of the commit, in order. Throws only what ends the session. */
  apply(commit: CommitToApply): Applied {
    this.#begin(commit);
    const rejections: Omit<Rejected, 'type' | 'commit'>[] = [];
    for (const step of commit.steps) {
      const rejection = this.#attempt(step);
      if (rejection) rejections.push(rejection);
      this.#refresh();
    }
    this.#end();
    this.#refresh();
    return { rejections, lost: this.#lost };
  }

  /**
   * Sets modes and times of the directories touched, deepest first, and returns what has to be
   * flushed. Directories are open until `close`.
   */
  settle(): { directories: ConfinedDirectory[]; files: readonly Place[] } {
    const { folders } = this.#options;
    this.#options.onStep?.('attributes');
    const opened: { id: NodeId; opened: Opened }[] = [];
    for (const id of this.#touched.keys()) {
      const resolution = this.#directories.open(id);
      if (resolution.kind === 'open') opened.push({ id, opened: resolution });
    }
    opened.sort((a, b) => b.opened.depth - a.opened.depth);
    for (const {
      id,
      opened: { directory },
    } of opened)
      this.#setAttributes(id, directory);
    const directories = opened.map(one => one.opened.directory.retain());
    for (const own of [folders.kept, folders.limbo]) directories.push(own.retain());
    return { directories, files: this.#changedFiles };
  }

  /** Opens a place for flushing or checking; undefined if it is not there. */
  openPlace({ parent, name }: Place): number | undefined {
    const resolution = this.#directories.open(parent);
    if (resolution.kind !== 'open') return undefined;
    try {
      return resolution.directory.openRead(name);
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      return undefined;
    }
  }

  /** After a replay: forgets what is not as the steps should have left it. */
  verify(): void {
    for (const { parent, name, entry } of [...this.#changes.changedNames()]) {
      const resolution = this.#directories.open(parent);
      if (resolution.kind === 'open') {
        if (resolution.isKept) continue;
        const present = resolution.directory.lstat(name);
        if (present && this.#isReplayed(resolution.directory, name, entry, present)) continue;
      }
      this.#options.log.debug({ path: this.#path(parent, name) }, 'left undone by a crash');
      this.#forget(parent, name, entry);
    }
  }

  close(): void {
    this.#directories.close();
  }

  // One commit

  #begin({ commit, steps }: CommitToApply): void {
    assert(this.#limbo.size === 0 && this.#vacated.size === 0 && this.#moved.size === 0);
    this.#commit = commit;
    this.#lost = [];
    this.#lastMove = new Map();
    this.#lastPlacing = new Map();
    for (const step of steps) {
      if (step.kind === 'remove' || step.kind === 'attributes') continue;
      this.#lastPlacing.set(`${step.parent}/${step.name}`, step.index);
      if (step.kind === 'rename' || step.kind === 'hardlink') {
        this.#lastMove.set(step.entry.id, step.index);
      }
    }
  }

  /** Between steps, when nobody holds a directory. */
  #refresh(): void {
    if (this.#isStale) this.#directories.clear();
    else this.#directories.trim(openDirectoriesMax);
    this.#isStale = false;
  }

  #attempt(step: Step): Omit<Rejected, 'type' | 'commit'> | undefined {
    this.#step = step;
    this.#keptCount = 0;
    this.#options.onStep?.(`${step.kind} ${step.index}`);
    try {
      this.#apply(step);
      return undefined;
    } catch (error) {
      if (fatalMessage(error)) throw error;
      const path = this.#path(step.parent, step.name);
      const rejection = error instanceof Rejection ? error : refusal(error, path);
      if (!rejection) throw error;
      // So that a replay does not take it for a step still to be done.
      if (step.kind === 'file') this.#dropStaged(step.staged.name);
      const { reason, message } = rejection;
      return { index: step.index, reason, message };
    }
  }

  #apply(step: Step): void {
    switch (step.kind) {
      case 'file':
        this.#file(step);
        break;
      case 'directory':
        this.#directory(step);
        break;
      case 'link':
        this.#link(step);
        break;
      case 'hardlink':
        this.#hardlink(step);
        break;
      case 'rename':
        this.#rename(step);
        break;
      case 'remove':
        this.#remove(step);
        break;
      case 'attributes':
        this.#attributes(step);
    }
  }

  /** What nothing took over, and what nothing placed again. */
  #end(): void {
    this.#options.onStep?.('end');
    for (const { place, ino } of this.#vacated.values()) {
      const resolution = this.#directories.open(place.parent);
      if (resolution.kind !== 'open') continue;
      if (resolution.directory.lstat(place.name)?.ino === ino) {
        resolution.directory.unlink(place.name);
      }
    }
    this.#vacated.clear();
    for (const [id, { entry, name }] of this.#limbo) this.#keepFromLimbo(id, entry, name);
    this.#limbo.clear();
    for (const { id, version } of this.#moved.values()) this.#restamp(id, version);
    this.#moved.clear();
  }

  // Steps

  #file(step: Step & { kind: 'file' }): void {
    const { staging } = this.#options.folders;
    const { parent, name, staged } = step;
    const { directory } = this.#openToChange(parent);
    const isNew = this.#made.has(parent) && !this.#changes.entry(parent, name);
    const present = isNew ? undefined : directory.lstat(name);
    if (this.#options.isReplay && !staging.lstat(staged.name)) {
      // Renamed before the crash, perhaps moved on since; verify() looks at where it is now.
      this.#recordDone(parent, name);
      this.#recordFile(step, present?.ino === staged.ino ? present : undefined);
      return;
    }
    const displaced = this.#displace({ parent, name, directory, present, stays: true });
    orUndo(displaced, () => staging.rename(staged.name, directory, name));
    displaced.record();
    this.#recordFile(step, directory.lstat(name));
  }

  #recordFile(step: Step & { kind: 'file' }, present: BigIntStats | undefined): void {
    const { parent, name, entry, staged } = step;
    const { id, version, size } = entry;
    const known = present
      ? stampOf(present)
      : { ino: staged.ino, size: BigInt(size), mtimeNs: staged.mtimeNs, ctimeNs: 0n };
    const { list } = staged;
    this.#changes.setFile(id, version, {
      links: 1,
      places: [{ parent, name }],
      stamp: known,
      list,
    });
    for (const run of staged.fresh) this.#changes.addHints(id, list, run);
    this.#changes.setEntry(parent, name, entry);
  }

  #directory(step: Step & { kind: 'directory' }): void {
    const { parent, name, entry } = step;
    const { directory, depth } = this.#openToChange(parent);
    const present = directory.lstat(name);
    const current = this.#changes.entry(parent, name);
    if (current?.id === entry.id && current.kind === 'directory') {
      if (!present || !this.#isAsRecorded(directory, name, current, present)) {
        this.#loseName(parent, name, directory, present);
      }
      this.#changes.setEntry(parent, name, entry);
      this.#touch(entry.id);
      return;
    }
    if (this.#changes.directory(entry.id)) {
      throw new Rejection('gone', `${this.#path(parent, name)}: its directory id is in use`);
    }
    if (this.#options.isReplay && present?.isDirectory() && !this.#isCurrent(current, present)) {
      this.#recordDone(parent, name);
    } else {
      const displaced = this.#displace({ parent, name, directory, present, stays: false });
      orUndo(displaced, () => directory.mkdir(name, readWriteSearch));
      displaced.record();
    }
    if (!this.#options.isReplay) this.#made.add(entry.id);
    const made = directory.sub(name);
    const { ino, mode } = made.stat();
    if ((mode & 0o700n) !== 0o700n) made.chmodSelf(readWriteSearch);
    this.#changes.setDirectory(entry.id, { parent, name, ino });
    this.#changes.setEntry(parent, name, entry);
    this.#directories.add(entry.id, {
      kind: 'open',
      directory: made,
      depth: depth + 1,
      isKept: false,
    });
    this.#touch(entry.id);
  }

  #link(step: Step & { kind: 'link' }): void {
    const { parent, name, entry } = step;
    const { directory } = this.#openToChange(parent);
    const present = directory.lstat(name);
    const isDone =
      this.#options.isReplay &&
      present?.isSymbolicLink() === true &&
      directory.readlink(name) === entry.target;
    if (isDone) {
      this.#recordDone(parent, name);
    } else {
      const displaced = this.#displace({ parent, name, directory, present, stays: true });
      orUndo(displaced, () => this.#makeLink(directory, name, entry));
      displaced.record();
    }
    this.#changes.setEntry(parent, name, entry);
  }

  #hardlink(step: Step & { kind: 'hardlink' }): void {
    const { parent, name, entry } = step;
    const { id, version } = entry;
    const { directory } = this.#openToChange(parent);
    const path = this.#path(parent, name);
    const record = this.#changes.file(id, version);
    if (!record) throw new Rejection('gone', `${path}: the file to link to is not there`);
    const present = directory.lstat(name);
    const current = this.#changes.entry(parent, name);
    if (current?.id === id && current.version === version) {
      if (!present || !this.#isAsRecorded(directory, name, current, present)) {
        this.#loseName(parent, name, directory, present);
      }
      this.#setFileAttributes(directory, name, current, entry, { parent, name });
      this.#changes.setEntry(parent, name, entry);
      return;
    }
    if (this.#options.isReplay && present?.ino === record.stamp.ino) {
      this.#recordDone(parent, name);
    } else {
      this.#linkTo(step, record, directory, present);
    }
    const now = this.#changes.file(id, version) ?? record;
    this.#changes.setFile(id, version, {
      ...now,
      links: now.links + 1,
      places: [...now.places, { parent, name }].slice(-placesMax),
    });
    this.#changes.setEntry(parent, name, entry);
    this.#moved.set(`${id}.${version}`, { id, version });
    this.#setFileAttributes(directory, name, undefined, entry, { parent, name });
  }

  #linkTo(
    step: Step & { kind: 'hardlink' },
    record: FileRecord,
    directory: ConfinedDirectory,
    present: BigIntStats | undefined,
  ): void {
    const { parent, name, entry } = step;
    const { limbo } = this.#options.folders;
    const source = this.#findFile(entry, record);
    if (!source) {
      throw new Rejection('gone', `${this.#path(parent, name)}: the file to link to has drifted`);
    }
    if (!present) {
      this.#displace({ parent, name, directory, present, stays: true }).record();
      source.directory.link(source.name, directory, name);
      return;
    }
    const temporary = toName(`${this.#commit}.${step.index}.link`);
    if (limbo.lstat(temporary)) limbo.unlink(temporary);
    source.directory.link(source.name, limbo, temporary);
    try {
      const displaced = this.#displace({ parent, name, directory, present, stays: true });
      orUndo(displaced, () => limbo.rename(temporary, directory, name));
      displaced.record();
    } finally {
      // Still there if the rename failed, or if both were the same file already.
      if (limbo.lstat(temporary)) limbo.unlink(temporary);
    }
  }

  #rename(step: Step & { kind: 'rename' }): void {
    const { fromParent, fromName, parent, name, entry } = step;
    const { directory } = this.#openToChange(parent);
    const present = directory.lstat(name);
    const waiting = this.#limbo.get(entry.id);
    // A file with several names may have lost one to limbo and move by another.
    if (waiting && this.#changes.entry(fromParent, fromName)?.id !== entry.id) {
      this.#placeFromLimbo(step, waiting, directory, present);
      return;
    }
    const from = this.#openToChange(fromParent).directory;
    const current = this.#changes.entry(fromParent, fromName);
    if (current?.id !== entry.id || current.kind !== entry.kind) {
      throw new Rejection('gone', `${this.#path(fromParent, fromName)}: not what is to be renamed`);
    }
    if (current.kind === 'file' && current.version !== entry.version) {
      throw new Rejection('gone', `${this.#path(fromParent, fromName)}: another version is there`);
    }
    if (fromParent === parent && fromName === name) {
      this.#attributes({ kind: 'attributes', index: step.index, parent, name, entry });
      return;
    }
    if (entry.kind === 'directory') this.#refuseCycle(step);
    const found = from.lstat(fromName);
    if (this.#options.isReplay && !this.#isAtSource(current, found, present, directory, name)) {
      this.#recordDone(parent, name);
      this.#recordRename(step, current);
      if (found && entry.kind !== 'directory' && this.#isCurrent(current, found)) {
        const place = { parent: fromParent, name: fromName };
        this.#vacated.set(`${fromParent}/${fromName}`, { place, ino: found.ino });
      }
      return;
    }
    if (!found || !this.#isAsRecorded(from, fromName, current, found)) {
      this.#loseName(fromParent, fromName, from, found);
    }
    // Its '..' changes: without write permission of its own it cannot move.
    if (entry.kind === 'directory') this.#touch(entry.id);
    const stays = entry.kind !== 'directory';
    const displaced = this.#displace({ parent, name, directory, present, stays });
    orUndo(displaced, () => this.#move(step, from, directory));
    displaced.record();
    this.#recordRename(step, current);
    this.#setNodeAttributes(directory, { parent, name }, current, entry);
  }

  /** Moves a node; where its old name is taken over later in the commit, it leaves that in place. */
  #move(
    step: Step & { kind: 'rename' },
    from: ConfinedDirectory,
    directory: ConfinedDirectory,
  ): void {
    const { fromParent, fromName, name, entry, index } = step;
    const isRetaken = (this.#lastPlacing.get(`${fromParent}/${fromName}`) ?? -1) > index;
    if (entry.kind === 'directory' || !isRetaken || !this.#canLink) {
      from.rename(fromName, directory, name);
      return;
    }
    const { limbo } = this.#options.folders;
    const temporary = toName(`${this.#commit}.${index}.move`);
    if (limbo.lstat(temporary)) limbo.unlink(temporary);
    if (!this.#tryLink(from, fromName, limbo, temporary)) {
      from.rename(fromName, directory, name);
      return;
    }
    try {
      limbo.rename(temporary, directory, name);
    } finally {
      if (limbo.lstat(temporary)) limbo.unlink(temporary);
    }
    const ino = from.lstat(fromName)?.ino ?? 0n;
    const place = { parent: fromParent, name: fromName };
    this.#vacated.set(`${fromParent}/${fromName}`, { place, ino });
  }

  #recordRename(step: Step & { kind: 'rename' }, current: Entry): void {
    const { fromParent, fromName, parent, name, entry } = step;
    this.#changes.deleteEntry(fromParent, fromName);
    this.#changes.setEntry(parent, name, entry);
    if (current.kind === 'file') {
      this.#replacePlace(current, { parent: fromParent, name: fromName }, { parent, name });
    } else if (current.kind === 'directory') {
      const record = this.#changes.directory(entry.id);
      if (record) this.#changes.setDirectory(entry.id, { ...record, parent, name });
    }
  }

  #placeFromLimbo(
    step: Step & { kind: 'rename' },
    waiting: { readonly entry: Entry; readonly name: Name },
    directory: ConfinedDirectory,
    present: BigIntStats | undefined,
  ): void {
    const { parent, name, entry } = step;
    const { limbo } = this.#options.folders;
    const previous = waiting.entry;
    if (previous.kind !== entry.kind || previous.version !== entry.version) {
      throw new Rejection('gone', `${this.#path(parent, name)}: another version was there`);
    }
    if (entry.kind === 'directory') this.#refuseCycle(step);
    const stays = entry.kind !== 'directory';
    const displaced = this.#displace({ parent, name, directory, present, stays });
    orUndo(displaced, () => {
      if (entry.kind === 'link') this.#makeLink(directory, name, entry);
      else limbo.rename(waiting.name, directory, name);
    });
    displaced.record();
    this.#limbo.delete(entry.id);
    this.#changes.setEntry(parent, name, entry);
    if (entry.kind === 'file') {
      this.#addPlace(entry, { parent, name });
    } else if (entry.kind === 'directory') {
      const record = this.#changes.directory(entry.id);
      assert(record, 'a directory in limbo keeps its record');
      this.#changes.setDirectory(entry.id, { ...record, parent, name });
    }
    this.#setNodeAttributes(directory, { parent, name }, previous, entry);
  }

  #remove({ parent, name, id }: Step & { kind: 'remove' }): void {
    const { directory } = this.#openToChange(parent);
    const current = this.#changes.entry(parent, name);
    // Taken over or moved away by this commit, or forgotten before: as it should be.
    if (!current || current.id !== id) return;
    const present = directory.lstat(name);
    if (this.#options.isReplay && !(present && this.#isCurrent(current, present))) {
      this.#recordDone(parent, name);
      return;
    }
    this.#displace({ parent, name, directory, present, stays: false }).record();
  }

  #attributes(step: Step & { kind: 'attributes' }): void {
    const { parent, name, entry } = step;
    if (parent === 0 || name === '') {
      this.#changes.setEntry(keptParent, '', entry);
      this.#touch(rootId);
      return;
    }
    const { directory } = this.#open(parent);
    const current = this.#changes.entry(parent, name);
    const path = this.#path(parent, name);
    if (current?.id !== entry.id || current.kind !== entry.kind) {
      throw new Rejection('gone', `${path}: not what the attributes are for`);
    }
    if (current.version !== entry.version || current.target !== entry.target) {
      throw new Rejection('gone', `${path}: other content than the attributes are for`);
    }
    const present = directory.lstat(name);
    if (!present || !this.#isAsRecorded(directory, name, current, present)) {
      this.#loseName(parent, name, directory, present);
    }
    this.#changes.setEntry(parent, name, entry);
    this.#setNodeAttributes(directory, { parent, name }, current, entry);
  }

  // What is in the way

  /**
   * Takes what is at a name out of the way of something new, or of nothing (`stays` false). With
   * `stays` the name itself is left for a rename over it. Only system calls now; `record` notes
   * them, `undo` takes them back.
   */
  #displace(options: {
    readonly parent: NodeId;
    readonly name: Name;
    readonly directory: ConfinedDirectory;
    readonly present: BigIntStats | undefined;
    readonly stays: boolean;
  }): Displaced {
    const { parent, name, directory, present } = options;
    const stays = options.stays && present?.isDirectory() !== true;
    const current = this.#changes.entry(parent, name);
    if (!present) {
      if (!current) return nothingDisplaced;
      return { ...nothingDisplaced, record: () => this.#recordMissing(parent, name, current) };
    }
    const vacated = this.#vacated.get(`${parent}/${name}`);
    if (vacated && vacated.ino === present.ino) {
      if (!stays) directory.unlink(name);
      return { undo() {}, record: () => void this.#vacated.delete(`${parent}/${name}`) };
    }
    if (!current || !this.#isAsRecorded(directory, name, current, present)) {
      return this.#displaceDrift({ ...options, present, stays }, current);
    }
    switch (current.kind) {
      case 'file':
        return this.#displaceFile({ ...options, present, stays }, current);
      case 'directory':
        return this.#displaceDirectory({ ...options, present }, current);
      case 'link':
        return this.#displaceLink({ ...options, stays }, current);
    }
  }

  #displaceFile(place: PlaceInTheWay, current: Entry): Displaced {
    const { parent, name, directory, stays } = place;
    const record = this.#changes.file(current.id, current.version);
    assert(record, 'a file as recorded has a record');
    const { limbo } = this.#options.folders;
    const isLastName = record.links <= 1;
    if (isLastName && this.#isPlacedLater(current.id) && !this.#limbo.has(current.id)) {
      const aside = toName(`${this.#commit}.${current.id}`);
      if (limbo.lstat(aside)) limbo.unlink(aside);
      const undo = this.#setAside(place, limbo, aside) ?? moveAside(place, limbo, aside);
      return {
        undo,
        record: () => {
          this.#changes.deleteEntry(parent, name);
          this.#removePlace(current, { parent, name });
          this.#limbo.set(current.id, { entry: current, name: aside });
        },
      };
    }
    if (!isLastName) {
      if (!stays) directory.unlink(name);
      return {
        undo() {},
        record: () => {
          this.#changes.deleteEntry(parent, name);
          this.#removePlace(current, { parent, name });
        },
      };
    }
    const kept = this.#keep(place, { kind: 'file', drift: false, current });
    return {
      undo: kept.undo,
      record: () => {
        kept.record();
        this.#changes.deleteEntry(parent, name);
        if (kept.name) {
          this.#replacePlace(current, { parent, name }, { parent: keptParent, name: kept.name });
        } else {
          this.#removePlace(current, { parent, name });
        }
      },
    };
  }

  #displaceDirectory(place: Omit<PlaceInTheWay, 'stays'>, current: Entry): Displaced {
    const { parent, name, directory } = place;
    const { limbo } = this.#options.folders;
    // Its '..' changes: without write permission of its own it cannot move. Steps below a directory
    // in limbo still reach it through the descriptor opened here.
    this.#touch(current.id);
    if (this.#isPlacedLater(current.id)) {
      const aside = toName(`${this.#commit}.${current.id}`);
      directory.rename(name, limbo, aside);
      return {
        undo: () => limbo.rename(aside, directory, name),
        record: () => {
          this.#changes.deleteEntry(parent, name);
          this.#limbo.set(current.id, { entry: current, name: aside });
        },
      };
    }
    const kept = this.#keep(
      { ...place, stays: false },
      { kind: 'directory', drift: false, current },
    );
    return {
      undo: kept.undo,
      record: () => {
        kept.record();
        this.#changes.deleteEntry(parent, name);
        const record = this.#changes.directory(current.id);
        if (record && kept.name) {
          this.#changes.setDirectory(current.id, {
            ...record,
            parent: keptParent,
            name: kept.name,
          });
          this.#changes.setOrphan(current.id, 'kept');
        }
        this.#isStale = true;
      },
    };
  }

  /** A link is its target, which the record has: nothing of it needs keeping. */
  #displaceLink(place: Omit<PlaceInTheWay, 'present'>, current: Entry): Displaced {
    const { parent, name, directory, stays } = place;
    if (!stays) directory.unlink(name);
    return {
      undo: () => {
        if (!stays) this.#makeLink(directory, name, current);
      },
      record: () => {
        this.#changes.deleteEntry(parent, name);
        if (this.#isPlacedLater(current.id)) {
          this.#limbo.set(current.id, { entry: current, name });
        }
      },
    };
  }

  #displaceDrift(place: PlaceInTheWay, current: Entry | undefined): Displaced {
    const { parent, name } = place;
    const drift = !this.#options.isReplay;
    const kept = this.#keep(place, { kind: 'foreign', drift, current: undefined });
    return {
      undo: kept.undo,
      record: () => {
        kept.record();
        if (drift) this.#reportDrift(parent, name, current ? 'altered' : 'foreign', kept.name);
        if (current) this.#forget(parent, name, current);
      },
    };
  }

  #recordMissing(parent: NodeId, name: Name, current: Entry): void {
    if (!this.#options.isReplay) this.#reportDrift(parent, name, 'missing', undefined);
    this.#forget(parent, name, current);
  }

  /** The name is not as recorded: what is there is kept, the record forgotten, the step over. */
  #loseName(
    parent: NodeId,
    name: Name,
    directory: ConfinedDirectory,
    present: BigIntStats | undefined,
  ): never {
    const current = this.#changes.entry(parent, name);
    if (!current) throw new Rejection('gone', `${this.#path(parent, name)}: nothing is recorded`);
    if (present) {
      this.#touch(parent);
      this.#displaceDrift({ parent, name, directory, present, stays: false }, current).record();
    } else {
      this.#recordMissing(parent, name, current);
    }
    this.#lost.push({ parent, name, id: current.id });
    throw new Rejection('gone', `${this.#path(parent, name)}: it had drifted`);
  }

  /** Moves, or links where the name stays, something into kept content. */
  #keep(
    place: PlaceInTheWay,
    what: {
      readonly kind: 'file' | 'directory' | 'foreign';
      readonly drift: boolean;
      readonly current: Entry | undefined;
    },
  ): Displaced & { readonly name: Name | undefined } {
    const { kept } = this.#options.folders;
    const name = this.#freeKeptName(place);
    const linked = this.#setAside(place, kept, name);
    // What came from the source can be had from there again; nothing else is given up.
    if (!linked && what.current) return { ...nothingDisplaced, name: undefined };
    const undo = linked ?? moveAside(place, kept, name);
    const { current } = what;
    const record = () => {
      this.#changes.setKept(keptParent, name, {
        kind: what.kind,
        id: current?.id ?? 0,
        version: current?.version ?? 0,
        drift: what.drift,
        timeMs: this.#options.nowMs(),
        bytes: Number(place.present.blocks) * 512,
      });
    };
    return { name, undo, record };
  }

  /** In a replay the same step finds the same name, and what it put there before. */
  #freeKeptName({ name, present }: PlaceInTheWay): Name {
    const { kept } = this.#options.folders;
    const index = this.#step?.index ?? 0;
    for (;;) {
      const free = keptName(`${this.#commit}.${index}.${this.#keptCount++}`, name);
      const there = kept.lstat(free);
      if (!there) return free;
      if (this.#options.isReplay && there.ino === present.ino) {
        kept.unlink(free);
        return free;
      }
    }
  }

  /** Undo, or undefined if the file system has no hard links and the name stays. */
  #setAside(place: PlaceInTheWay, to: ConfinedDirectory, name: Name): (() => void) | undefined {
    const { directory, stays } = place;
    if (stays) {
      if (!this.#tryLink(directory, place.name, to, name)) return undefined;
      return () => to.unlink(name);
    }
    return moveAside(place, to, name);
  }

  #tryLink(from: ConfinedDirectory, name: Name, to: ConfinedDirectory, toName: Name): boolean {
    if (!this.#canLink) return false;
    try {
      from.link(name, to, toName);
      return true;
    } catch (error) {
      const code = systemCode(error);
      if (code === 'EMLINK') return false;
      if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP' && code !== 'ENOSYS') {
        throw error;
      }
      this.#canLink = false;
      this.#options.log.warn({}, 'no hard links on the destination: replaced files are not kept');
      return false;
    }
  }

  #keepFromLimbo(id: NodeId, entry: Entry, name: Name): void {
    if (entry.kind === 'link') return;
    const { limbo, kept } = this.#options.folders;
    const present = limbo.lstat(name);
    if (!present) return;
    if (entry.kind === 'file' && (this.#changes.file(id, entry.version)?.links ?? 0) > 0) {
      limbo.unlink(name);
      return;
    }
    const free = keptName(`${this.#commit}.limbo.${id}`, name);
    limbo.rename(name, kept, free);
    this.#changes.setKept(keptParent, free, {
      kind: entry.kind,
      id,
      version: entry.version,
      drift: false,
      timeMs: this.#options.nowMs(),
      bytes: Number(present.blocks) * 512,
    });
    if (entry.kind === 'file') {
      this.#addPlace(entry, { parent: keptParent, name: free });
      return;
    }
    const record = this.#changes.directory(id);
    if (record) {
      this.#changes.setDirectory(id, { ...record, parent: keptParent, name: free });
      this.#changes.setOrphan(id, 'kept');
    }
    this.#isStale = true;
  }

  // Records

  /** A replayed step displaced what was at the name before the crash: notes where it went. */
  #recordDone(parent: NodeId, name: Name): void {
    const current = this.#changes.entry(parent, name);
    if (!current) return;
    const { limbo, kept } = this.#options.folders;
    const aside = toName(`${this.#commit}.${current.id}`);
    if (this.#isPlacedLater(current.id) && (current.kind === 'link' || limbo.lstat(aside))) {
      this.#changes.deleteEntry(parent, name);
      if (current.kind === 'file') this.#removePlace(current, { parent, name });
      this.#limbo.set(current.id, { entry: current, name: aside });
      return;
    }
    const keptAs = keptName(`${this.#commit}.${this.#step?.index ?? 0}.0`, name);
    const there = kept.lstat(keptAs);
    if (!there || !this.#isCurrent(current, there)) {
      this.#forget(parent, name, current);
      return;
    }
    this.#changes.setKept(keptParent, keptAs, {
      kind: current.kind,
      id: current.id,
      version: current.version,
      drift: false,
      timeMs: this.#options.nowMs(),
      bytes: Number(there.blocks) * 512,
    });
    this.#changes.deleteEntry(parent, name);
    if (current.kind === 'file') {
      this.#replacePlace(current, { parent, name }, { parent: keptParent, name: keptAs });
    } else if (current.kind === 'directory') {
      const record = this.#changes.directory(current.id);
      assert(record, 'a directory that is as recorded has a record');
      this.#changes.setDirectory(current.id, { ...record, parent: keptParent, name: keptAs });
      this.#changes.setOrphan(current.id, 'kept');
    }
  }

  /** Nothing is known of a recorded name any more. */
  #forget(parent: ParentId, name: Name, current: Entry): void {
    this.#changes.deleteEntry(parent, name);
    if (current.kind === 'file') {
      this.#removePlace(current, { parent, name });
    } else if (current.kind === 'directory') {
      this.#changes.setDirectory(current.id, undefined);
      this.#changes.setOrphan(current.id, 'lost');
      this.#isStale = true;
    }
  }

  #replacePlace(entry: Entry, from: Place, to: Place): void {
    replacePlace(this.#changes, entry, { from, to });
    this.#noteMoved(entry);
  }

  #addPlace(entry: Entry, place: Place): void {
    addPlace(this.#changes, entry, place);
    this.#noteMoved(entry);
  }

  #removePlace(entry: Entry, place: Place): void {
    const record = this.#changes.file(entry.id, entry.version);
    if (record?.links === 1 && this.#isPlacedLater(entry.id)) {
      // In limbo: the record waits for its next place.
      const { id, version } = entry;
      this.#changes.setFile(id, version, { ...record, links: 0, places: [] });
    } else {
      removePlace(this.#changes, entry, place);
    }
    this.#noteMoved(entry);
  }

  #noteMoved({ id, version }: Entry): void {
    this.#moved.set(`${id}.${version}`, { id, version });
  }

  /** Our own links and renames moved the ctime: the stamp follows, if the content is the same. */
  #restamp(id: NodeId, version: number): void {
    const record = this.#changes.file(id, version);
    if (!record) return;
    if (record.links <= 0) {
      forgetFile(this.#changes, { id, version });
      return;
    }
    for (const { parent, name } of record.places.toReversed()) {
      const resolution = this.#directories.open(parent);
      if (resolution.kind !== 'open') continue;
      const present = resolution.directory.lstat(name);
      if (!present || !sameContentStamp(stampOf(present), record.stamp)) continue;
      this.#changes.setFile(id, version, { ...record, stamp: stampOf(present) });
      return;
    }
  }

  // Looking

  /** Names in it will change. */
  #openToChange(id: NodeId): Opened {
    const opened = this.#open(id);
    if (!this.#touched.has(id)) this.#touchOpened(id, opened);
    return opened;
  }

  #open(id: NodeId): Opened {
    const resolution = this.#directories.open(id);
    if (resolution.kind === 'open' && !resolution.isKept) return resolution;
    if (resolution.kind === 'drift' && !resolution.opened.isKept && !this.#options.isReplay) {
      const { parent, name, opened } = resolution;
      // Below the root of the tree every parent is a node.
      this.#loseName(parent as NodeId, name, opened.directory, opened.directory.lstat(name));
    }
    throw new Rejection('gone', `directory ${id} is not there`);
  }

  #isAsRecorded(
    directory: ConfinedDirectory,
    name: Name,
    entry: Entry,
    present: BigIntStats,
  ): boolean {
    switch (entry.kind) {
      case 'file': {
        const record = this.#changes.file(entry.id, entry.version);
        if (!record || !present.isFile()) return false;
        return this.#isSameFile(entry, record.stamp, present);
      }
      case 'directory':
        return present.isDirectory() && this.#changes.directory(entry.id)?.ino === present.ino;
      case 'link':
        return present.isSymbolicLink() && directory.readlink(name) === entry.target;
    }
  }

  #isSameFile({ id, version }: Entry, stamp: LocalStamp, present: BigIntStats): boolean {
    if (this.#moved.has(`${id}.${version}`)) return sameContentStamp(stampOf(present), stamp);
    if (!this.#options.isReplay) return sameLocalStamp(stampOf(present), stamp);
    // The replayed steps may have set its time, and moved its ctime.
    return stamp.ino === present.ino && stamp.size === present.size;
  }

  /** Is what a replay left at this name what the entry says? The stamp is taken anew then. */
  #isReplayed(
    directory: ConfinedDirectory,
    name: Name,
    entry: Entry,
    present: BigIntStats,
  ): boolean {
    if (entry.kind !== 'file') return this.#isAsRecorded(directory, name, entry, present);
    const record = this.#changes.file(entry.id, entry.version);
    if (!record || !present.isFile()) return false;
    if (!this.#isSameFile(entry, record.stamp, present)) return false;
    const isTimeKnown =
      present.mtimeNs === record.stamp.mtimeNs || present.mtimeNs / 1000n === entry.mtimeNs / 1000n;
    if (!isTimeKnown) return false;
    this.#changes.setFile(entry.id, entry.version, { ...record, stamp: stampOf(present) });
    return true;
  }

  /** By inode alone. */
  #isCurrent(current: Entry | undefined, present: BigIntStats): boolean {
    if (!current) return false;
    switch (current.kind) {
      case 'file':
        return this.#changes.file(current.id, current.version)?.stamp.ino === present.ino;
      case 'directory':
        return this.#changes.directory(current.id)?.ino === present.ino;
      case 'link':
        return present.isSymbolicLink();
    }
  }

  /** In a replay: the node is still at the name it is renamed from, and not yet at the other. */
  #isAtSource(
    current: Entry,
    found: BigIntStats | undefined,
    present: BigIntStats | undefined,
    directory: ConfinedDirectory,
    name: Name,
  ): boolean {
    if (!found || !this.#isCurrent(current, found)) return false;
    if (!present) return true;
    if (current.kind === 'link') {
      return !(present.isSymbolicLink() && directory.readlink(name) === current.target);
    }
    return !this.#isCurrent(current, present);
  }

  #isPlacedLater(id: NodeId): boolean {
    return (this.#lastMove.get(id) ?? -1) > (this.#step?.index ?? -1);
  }

  #findFile(
    entry: Entry,
    record: FileRecord,
  ): { readonly directory: ConfinedDirectory; readonly name: Name } | undefined {
    const waiting = this.#limbo.get(entry.id);
    if (waiting?.entry.version === entry.version) {
      return { directory: this.#options.folders.limbo, name: waiting.name };
    }
    for (const { parent, name } of record.places.toReversed()) {
      const resolution = this.#directories.open(parent);
      if (resolution.kind !== 'open') continue;
      const { directory } = resolution;
      const present = directory.lstat(name);
      if (present?.isFile() && this.#isSameFile(entry, record.stamp, present)) {
        return { directory, name };
      }
    }
    return undefined;
  }

  #refuseCycle({ parent, name, entry }: Step & { kind: 'rename' }): void {
    for (let id: ParentId = parent; id !== rootId && id !== keptParent; ) {
      if (id === entry.id) {
        throw new Rejection('gone', `${this.#path(parent, name)}: a directory into itself`);
      }
      const record = this.#changes.directory(id);
      if (!record) return;
      id = record.parent;
    }
  }

  // Attributes

  #setNodeAttributes(
    directory: ConfinedDirectory,
    place: { readonly parent: NodeId; readonly name: Name },
    previous: Entry,
    entry: Entry,
  ): void {
    switch (entry.kind) {
      case 'file':
        this.#setFileAttributes(directory, place.name, previous, entry, place);
        break;
      case 'directory':
        if (previous.mode !== entry.mode || previous.mtimeNs !== entry.mtimeNs) {
          this.#touch(entry.id);
        }
        break;
      case 'link':
        if (previous.mtimeNs === entry.mtimeNs) return;
        directory.setTimes(place.name, entry.mtimeNs);
        this.#touch(place.parent);
    }
  }

  #setFileAttributes(
    directory: ConfinedDirectory,
    name: Name,
    previous: Entry | undefined,
    entry: Entry,
    place: Place,
  ): void {
    if (previous?.mode === entry.mode && previous.mtimeNs === entry.mtimeNs) return;
    if (previous?.mode !== entry.mode) directory.chmod(name, this.#mode(entry));
    directory.setTimes(name, entry.mtimeNs);
    const present = directory.lstat(name);
    const record = this.#changes.file(entry.id, entry.version);
    if (!present || !record || present.ino !== record.stamp.ino) return;
    this.#changes.setFile(entry.id, entry.version, { ...record, stamp: stampOf(present) });
    this.#changedFiles.push(place);
  }

  #mode(entry: Entry): number {
    return entry.mode & (this.#options.specialBits ? 0o7777 : 0o777);
  }

  #setAttributes(id: NodeId, directory: ConfinedDirectory): void {
    const record = id === rootId ? undefined : this.#changes.directory(id);
    const entry =
      id === rootId
        ? this.#changes.entry(keptParent, '')
        : record && this.#changes.entry(record.parent, record.name);
    const mode = entry ? this.#mode(entry) : this.#touched.get(id)?.mode;
    if (mode !== undefined && Number(directory.stat().mode & 0o7777n) !== mode) {
      directory.chmodSelf(mode);
    }
    if (entry) directory.setTimesSelf(entry.mtimeNs);
  }

  /** The directory's names change: it must be writable now, and gets its attributes back later. */
  #touch(id: NodeId): void {
    if (this.#touched.has(id)) return;
    this.#touchOpened(id, this.#open(id));
  }

  #touchOpened(id: ParentId, { directory, isKept }: Opened): void {
    if (isKept || id === keptParent) return;
    const mode = Number(directory.stat().mode & 0o7777n);
    if (!this.#touched.has(id)) this.#touched.set(id, { mode });
    if ((mode & readWriteSearch) !== readWriteSearch) directory.chmodSelf(mode | readWriteSearch);
  }

  // Small things

  /** Over what is there, if anything is. */
  #makeLink(directory: ConfinedDirectory, name: Name, entry: Entry): void {
    const { limbo } = this.#options.folders;
    const temporary = toName(`${this.#commit}.${this.#step?.index ?? 0}.symlink`);
    if (limbo.lstat(temporary)) limbo.unlink(temporary);
    limbo.symlink(entry.target, temporary);
    limbo.setTimes(temporary, entry.mtimeNs);
    limbo.rename(temporary, directory, name);
  }

  #dropStaged(name: Name): void {
    const { staging } = this.#options.folders;
    if (staging.lstat(name)) staging.unlink(name);
  }

  #reportDrift(
    parent: ParentId,
    name: Name,
    what: 'altered' | 'foreign' | 'missing',
    kept: Name | undefined,
  ): void {
    this.#driftCount++;
    const path = this.#path(parent, name);
    const where = kept === undefined ? {} : { kept: printable(kept) };
    this.#options.log.warn({ path, what, ...where }, 'drift');
  }

  /** For people. */
  #path(parent: ParentId, name: Name | ''): string {
    const names: string[] = [name];
    for (let id = parent; id !== rootId && id !== keptParent && names.length < 100; ) {
      const record = this.#changes.directory(id);
      if (!record) {
        names.unshift('?');
        break;
      }
      names.unshift(record.name);
      id = record.parent;
    }
    return printable(names.join('/'));
  }
}

interface PlaceInTheWay {
  readonly parent: NodeId;
  readonly name: Name;
  readonly directory: ConfinedDirectory;
  readonly present: BigIntStats;
  readonly stays: boolean;
}

function moveAside(place: PlaceInTheWay, to: ConfinedDirectory, name: Name): () => void {
  const { directory } = place;
  directory.rename(place.name, to, name);
  return () => to.rename(name, directory, place.name);
}

function orUndo(displaced: Displaced, act: () => void): void {
  try {
    act();
  } catch (error) {
    displaced.undo();
    throw error;
  }
}
