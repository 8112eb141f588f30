// Applies commits to the tree, step by step, and notes what they change in the records.
//
// Laws:
// - A path that a commit replaces is never missing: its old content gets a second name in kept
//   content or limbo, and the new content is renamed over it.
// - Nothing is replaced or removed unless it is as recorded; anything else is drift: it is kept,
//   reported, and the source wins.
// - Records change only after the system calls of their step: a refused step leaves both as they
//   were.
// - The same commits may be applied again after a crash at any system call (`isReplay`). A new node
//   is staged exactly as long as its step is not done; a recorded node is known by its inode. What
//   cannot be told from that counts as done, and `verify` forgets what then is not there.
import assert from 'node:assert/strict';
import type { BigIntStats } from 'node:fs';
import { type Entry, type NodeId, rootId } from '../snapshot/entry.ts';
import { type Name, toName } from '../snapshot/name.ts';
import type { Changes } from '../store/changes.ts';
import {
  type FileRecord,
  keptParent,
  type ParentId,
  type Place,
  stampOf,
} from '../store/receiver-records.ts';
import type { Lost, Rejected } from '../wire/messages.ts';
import { Aside, type Waiting } from './aside.ts';
import { fatalMessage, otherFormInTheWay, Rejection, refusal } from './rejection.ts';
import type { StagedNode, Step } from './steps.ts';
import { type ApplyOptions, type OpenPlace, TreeView } from './tree-view.ts';

export interface CommitToApply {
  readonly commit: bigint;
  readonly steps: readonly Step[];
}

export interface Applied {
  readonly rejections: readonly Omit<Rejected, 'type' | 'commit'>[];
  readonly lost: Lost['entries'];
}

type StepOf<K extends Step['kind']> = Step & { readonly kind: K };

/** One group of commits that are made durable together. */
export class Applier {
  readonly #options: ApplyOptions;
  readonly #changes: Changes;
  readonly #tree: TreeView;
  readonly #aside: Aside;
  /** Directories made by this group: what the records do not have in them is not there. */
  readonly #made = new Set<NodeId>();
  /** Names of rejected steps, which a replay may have rejected because they were done. */
  readonly #rejected: Place[] = [];
  /** Directories that the commit under way placed. */
  readonly #placed = new Set<NodeId>();
  #commit = 0n;
  /** By name: the last step of the commit that places something there. */
  #lastPlacing = new Map<string, number>();

  constructor(options: ApplyOptions) {
    this.#options = options;
    this.#changes = options.changes;
    this.#tree = new TreeView(options);
    this.#aside = new Aside(this.#tree);
  }

  get driftCount(): number {
    return this.#aside.driftCount;
  }

  /** Everything of the commit, in order. Throws only what ends the session. */
  apply({ commit, steps }: CommitToApply): Applied {
    this.#commit = commit;
    this.#placed.clear();
    this.#aside.begin(commit, steps);
    this.#lastPlacing = new Map();
    for (const step of steps) {
      if (step.kind === 'remove' || step.kind === 'attributes') continue;
      this.#lastPlacing.set(`${step.parent}/${step.name}`, step.index);
    }
    const rejections: Omit<Rejected, 'type' | 'commit'>[] = [];
    for (const step of steps) {
      const rejection = this.#attempt(step);
      if (rejection) rejections.push({ index: step.index, ...rejection });
      this.#tree.refresh();
    }
    this.#options.onStep?.('end');
    this.#aside.end();
    this.#tree.refresh();
    return { rejections, lost: this.#aside.lost };
  }

  get tree(): TreeView {
    return this.#tree;
  }

  /** After a replay: empties limbo and forgets what is not as the steps should have left it. */
  verify(): void {
    this.#aside.clearLimbo();
    const places = [...this.#changes.changedNames(), ...this.#rejected];
    for (const { parent, name } of places) {
      const entry = this.#changes.entry(parent, name);
      if (!entry) continue;
      const resolution = this.#tree.resolve(parent);
      if (resolution.kind === 'open') {
        if (resolution.isKept) continue;
        const { directory } = resolution;
        const now = directory.lstat(name);
        if (now && this.#tree.isReplayed(directory, name, entry, now)) continue;
      }
      this.#options.log.debug({ path: this.#tree.path(parent, name) }, 'left undone by a crash');
      this.#aside.forget({ parent, name }, entry);
    }
    this.#tree.refresh();
  }

  close(): void {
    this.#tree.close();
  }

  #attempt(step: Step): Omit<Rejected, 'type' | 'commit' | 'index'> | undefined {
    this.#options.onStep?.(`${step.kind} ${step.index}`);
    this.#aside.beginStep(step);
    try {
      this.#apply(step);
      return undefined;
    } catch (error) {
      if (fatalMessage(error)) throw error;
      const path = this.#tree.path(step.parent, step.name);
      const rejection = error instanceof Rejection ? error : refusal(error, path);
      if (!rejection) throw error;
      // So that a replay does not take it for a step still to be done.
      if ('staged' in step) this.#dropStaged(step.staged);
      if (step.kind === 'rename') {
        this.#rejected.push({ parent: step.fromParent, name: step.fromName });
      }
      if (step.kind !== 'attributes') this.#rejected.push(step);
      return { reason: rejection.reason, message: rejection.message };
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

  // New nodes

  #file(step: StepOf<'file'>): void {
    const { parent, name, entry, staged } = step;
    if (staged.isWithin && !(this.#placed.has(parent) && this.#changes.directory(parent))) {
      throw new Rejection('blocks', `${this.#tree.path(parent, name)}: its directory is not new`);
    }
    const { size } = entry;
    if (staged.isWithin && !this.#options.isReplay) {
      // Nothing touched the inode since it was completed: its directory carried it here.
      this.#recordFile(step, stampOf({ ...staged, size: BigInt(size) }));
      return;
    }
    const { directory } = staged.isWithin
      ? this.#aside.openToChange(parent)
      : this.#place(step, true);
    const isMoved = this.#options.isReplay && directory.lstat(name)?.ino !== staged.ino;
    const now = isMoved ? undefined : directory.lstat(name);
    // Moved on since by a later step of the replay: verify() takes the stamp where it is now.
    const expected = { ...staged, size: BigInt(size), ctimeNs: 0n };
    this.#recordFile(step, now ? stampOf(now) : stampOf(expected));
  }

  #recordFile(step: StepOf<'file'>, stamp: FileRecord['stamp']): void {
    const { parent, name, entry, staged } = step;
    const { id, version } = entry;
    const { list, fresh } = staged;
    this.#changes.setFile(id, version, { links: 1, places: [{ parent, name }], stamp, list });
    for (const run of fresh) this.#changes.addHints(id, list, run);
    this.#changes.setEntry(parent, name, entry);
  }

  #directory(step: StepOf<'directory'>): void {
    const { parent, name, entry, staged } = step;
    const current = this.#changes.entry(parent, name);
    if (current?.id === entry.id && current.kind === 'directory') {
      this.#dropStaged(staged);
      this.#attributes({ kind: 'attributes', index: step.index, parent, name, entry });
      return;
    }
    if (this.#changes.directory(entry.id)) {
      throw new Rejection('gone', `${this.#tree.path(parent, name)}: its id is in use`);
    }
    this.#place(step, false);
    this.#changes.setDirectory(entry.id, { parent, name, ino: staged.ino });
    this.#changes.setEntry(parent, name, entry);
    this.#tree.touch(entry.id);
    this.#placed.add(entry.id);
    if (!this.#options.isReplay) this.#made.add(entry.id);
  }

  #link(step: StepOf<'link'>): void {
    const { parent, name, entry } = step;
    this.#place(step, true);
    this.#changes.setEntry(parent, name, entry);
  }

  /** Renames the staged node to its place, unless a replay finds that done. */
  #place(step: StepOf<'file' | 'directory' | 'link'>, stays: boolean): OpenPlace {
    const { staging } = this.#options.folders;
    const { parent, name, staged } = step;
    const { directory } = this.#aside.openToChange(parent);
    const place = { parent, name, directory };
    if (this.#options.isReplay && !staging.lstat(staged.name)) {
      this.#aside.recordDone(place);
      return place;
    }
    const isNew = this.#made.has(parent) && !this.#changes.entry(parent, name);
    const present = isNew ? undefined : directory.lstat(name);
    this.#over(place, present, stays, () => staging.rename(staged.name, directory, name));
    return place;
  }

  /** Displaces what is at a place, and acts; undoes the one if the other fails. */
  #over(place: OpenPlace, present: BigIntStats | undefined, stays: boolean, act: () => void): void {
    if (this.#isTakenFor(place, present)) {
      const path = this.#tree.path(place.parent, place.name);
      throw new Rejection('refused', `${path}: ${otherFormInTheWay}`);
    }
    const displaced = this.#aside.displace(place, present, stays);
    try {
      act();
    } catch (error) {
      displaced.undo();
      throw error;
    }
    displaced.record();
  }

  /** Is what the file system finds at the name under another one, that differs in case or form? */
  #isTakenFor(place: OpenPlace, present: BigIntStats | undefined): boolean {
    if (!present || this.#changes.entry(place.parent, place.name)) return false;
    return !this.#aside.isVacated(place, present) && !isListed(place);
  }

  #dropStaged({ name }: StagedNode): void {
    this.#options.folders.staging.removeTree(name);
  }

  // One more name

  #hardlink(step: StepOf<'hardlink'>): void {
    const { parent, name, entry } = step;
    const { id, version } = entry;
    const { directory } = this.#aside.openToChange(parent);
    const place = { parent, name, directory };
    const record = this.#changes.file(id, version);
    if (!record || Number(record.stamp.size) !== entry.size) {
      throw new Rejection('gone', `${this.#tree.path(parent, name)}: nothing to link to`);
    }
    const present = directory.lstat(name);
    const current = this.#changes.entry(parent, name);
    if (current?.id === id && current.version === version) {
      const isIntact = this.#aside.isIntact(place, current, present);
      if (isIntact) this.#tree.setAttributes(place, current, entry);
      this.#changes.setEntry(parent, name, entry);
      return;
    }
    if (this.#isChangedSince(place, present)) this.#aside.recordDone(place);
    else this.#linkOver(step, place, record, present);
    this.#aside.arrive(entry, { parent, name });
    this.#changes.setEntry(parent, name, entry);
    this.#tree.setAttributes(place, undefined, entry);
  }

  #linkOver(
    { index, entry }: StepOf<'hardlink'>,
    place: OpenPlace,
    record: FileRecord,
    present: BigIntStats | undefined,
  ): void {
    const { parent, name, directory } = place;
    const { limbo } = this.#options.folders;
    const waiting = this.#aside.waiting(entry);
    const source = waiting
      ? { directory: limbo, name: waiting.name }
      : this.#tree.findFile(entry, record);
    if (!source) {
      throw new Rejection('gone', `${this.#tree.path(parent, name)}: the file has drifted`);
    }
    this.#tree.noteMoved(entry);
    const link = () => source.directory.link(source.name, directory, name);
    if (!present) {
      this.#over(place, present, true, link);
      return;
    }
    const temporary = this.#temporaryName(index, 'link');
    source.directory.link(source.name, limbo, temporary);
    try {
      this.#over(place, present, true, () => limbo.rename(temporary, directory, name));
    } finally {
      // Still there if the rename failed, or if both were the same file already.
      if (limbo.lstat(temporary)) limbo.unlink(temporary);
    }
  }

  /** Clear of what an earlier attempt may have left. */
  #temporaryName(index: number, suffix: 'link' | 'move'): Name {
    const { limbo } = this.#options.folders;
    const name = toName(`${this.#commit}.${index}.${suffix}`);
    if (limbo.lstat(name)) limbo.unlink(name);
    return name;
  }

  // Another name

  #rename(step: StepOf<'rename'>): void {
    const { fromParent, fromName, parent, name, entry, index } = step;
    const { directory } = this.#aside.openToChange(parent);
    const place = { parent, name, directory };
    const present = directory.lstat(name);
    const current = this.#changes.entry(fromParent, fromName);
    const isThere = current?.id === entry.id && current.kind === entry.kind;
    const waiting = isThere ? undefined : this.#aside.waiting(entry);
    if (entry.kind === 'directory') this.#refuseCycle(step);
    if (waiting) {
      this.#placeWaiting(step, waiting, place, present);
      return;
    }
    if (!isThere || current.version !== entry.version || current.size !== entry.size) {
      const path = this.#tree.path(fromParent, fromName);
      throw new Rejection('gone', `${path}: not what is to be renamed`);
    }
    if (fromParent === parent && fromName === name) {
      this.#attributes({ kind: 'attributes', index, parent, name, entry });
      return;
    }
    const { directory: fromDirectory } = this.#aside.openToChange(fromParent);
    const from = { parent: fromParent, name: fromName, directory: fromDirectory };
    const found = fromDirectory.lstat(fromName);
    const isMoved = this.#isMovedBefore(from, current, found);
    // Only its case changes, where names of another case are the same one.
    const isRecased = present?.ino === found?.ino && this.#isTakenFor(place, present);
    if (isMoved && this.#isUntouched(place, present, entry)) {
      // It had drifted before, and was put aside: nothing was renamed.
      this.#aside.forget(from, current);
      throw new Rejection('gone', `${this.#tree.path(fromParent, fromName)}: it had drifted`);
    }
    if (isMoved || (!isRecased && this.#isChangedSince(place, present))) {
      this.#aside.recordDone(place);
      // The name it was to leave, if it was linked and not renamed.
      if (found && entry.kind !== 'directory' && !isMoved && isListed(from)) {
        this.#aside.vacate(from, found.ino);
      }
    } else {
      // Also in a replay: its time is set below, and would make other content look right.
      if (!this.#aside.isIntact(from, current, found)) this.#aside.lose(from, found);
      assert(found, 'what is intact is there');
      // Its '..' changes: that takes write permission of its own.
      if (entry.kind === 'directory') this.#tree.touch(entry.id);
      const isSameFile = present?.ino === found.ino;
      const stays = entry.kind !== 'directory';
      if (isRecased) fromDirectory.rename(fromName, directory, name);
      else this.#over(place, present, stays, () => this.#move(step, from, place, isSameFile));
    }
    this.#recordRename(step);
    this.#tree.setAttributes(place, current, entry);
  }

  /** Where the old name is taken over later in the commit, it is left in place until then. */
  #move(step: StepOf<'rename'>, from: OpenPlace, to: OpenPlace, isSameFile: boolean): void {
    const { limbo } = this.#options.folders;
    if (step.entry.kind === 'file') this.#tree.noteMoved(step.entry);
    const isRetaken = (this.#lastPlacing.get(`${from.parent}/${from.name}`) ?? -1) > step.index;
    if (isRetaken && step.entry.kind !== 'directory') {
      const temporary = this.#temporaryName(step.index, 'move');
      if (this.#aside.tryLink(from.directory, from.name, limbo, temporary)) {
        try {
          limbo.rename(temporary, to.directory, to.name);
        } finally {
          if (limbo.lstat(temporary)) limbo.unlink(temporary);
        }
        this.#aside.vacate(from, from.directory.lstat(from.name)?.ino ?? 0n);
        return;
      }
    }
    from.directory.rename(from.name, to.directory, to.name);
    // rename(2) does nothing between two names of one file.
    if (isSameFile) from.directory.unlink(from.name);
  }

  #recordRename({ fromParent, fromName, parent, name, entry }: StepOf<'rename'>): void {
    this.#changes.deleteEntry(fromParent, fromName);
    this.#changes.setEntry(parent, name, entry);
    const to = { parent, name };
    if (entry.kind === 'file') this.#aside.move(entry, { parent: fromParent, name: fromName }, to);
    else if (entry.kind === 'directory') this.#moveDirectory(entry.id, to);
  }

  #moveDirectory(id: NodeId, to: Place): void {
    const record = this.#changes.directory(id);
    if (record) this.#changes.setDirectory(id, { ...record, ...to });
  }

  /** What an earlier step of the commit displaced gets its new name. */
  #placeWaiting(
    { entry }: StepOf<'rename'>,
    waiting: Waiting,
    place: OpenPlace,
    present: BigIntStats | undefined,
  ): void {
    const { limbo } = this.#options.folders;
    const { parent, name, directory } = place;
    const isGone = this.#options.isReplay && !limbo.lstat(waiting.name);
    if (isGone || this.#isChangedSince(place, present)) {
      this.#aside.recordDone(place);
    } else {
      this.#over(place, present, entry.kind !== 'directory', () => {
        limbo.rename(waiting.name, directory, name);
        // rename(2) does nothing between two names of one file.
        if (limbo.lstat(waiting.name)) limbo.unlink(waiting.name);
      });
    }
    this.#aside.endWaiting(entry);
    this.#changes.setEntry(parent, name, entry);
    if (entry.kind === 'file') this.#aside.arrive(entry, { parent, name });
    else if (entry.kind === 'directory') this.#moveDirectory(entry.id, { parent, name });
    this.#tree.setAttributes(place, waiting.entry, entry);
  }

  #refuseCycle({ parent, name, entry }: StepOf<'rename'>): void {
    for (let id: ParentId = parent; id !== rootId && id !== keptParent; ) {
      if (id === entry.id) {
        throw new Rejection('gone', `${this.#tree.path(parent, name)}: a directory into itself`);
      }
      const record = this.#changes.directory(id);
      if (!record) return;
      id = record.parent;
    }
  }

  // No name, other attributes

  #remove({ parent, name, id }: StepOf<'remove'>): void {
    const { directory } = this.#aside.openToChange(parent);
    const current = this.#changes.entry(parent, name);
    // Taken over or moved away by this commit, or forgotten before: as it should be.
    if (!current || current.id !== id) return;
    const place = { parent, name, directory };
    const present = directory.lstat(name);
    if (this.#isMovedBefore(place, current, present)) this.#aside.recordDone(place);
    else this.#aside.displace(place, present, false).record();
  }

  #attributes({ parent, name, entry }: StepOf<'attributes'>): void {
    if (parent === 0 || name === '') {
      this.#tree.setDirectory(entry);
      this.#changes.setEntry(keptParent, '', entry);
      return;
    }
    const { directory } = this.#aside.open(parent);
    const place = { parent, name, directory };
    const current = this.#changes.entry(parent, name);
    const isMeant =
      current?.id === entry.id &&
      current.kind === entry.kind &&
      current.version === entry.version &&
      current.size === entry.size &&
      current.target === entry.target;
    if (!isMeant) {
      const path = this.#tree.path(parent, name);
      throw new Rejection('gone', `${path}: not what the attributes are for`);
    }
    const isIntact = this.#aside.isIntact(place, current, directory.lstat(name));
    if (isIntact) this.#tree.setAttributes(place, current, entry);
    this.#changes.setEntry(parent, name, entry);
  }

  // In a replay

  /** What is recorded at the name is still there, and is another node than the one to come. */
  #isUntouched(place: OpenPlace, present: BigIntStats | undefined, entry: Entry): boolean {
    const there = this.#changes.entry(place.parent, place.name);
    if (!present || !there || there.id === entry.id) return false;
    return this.#tree.isCurrent(place.directory, place.name, there, present);
  }

  /** The recorded node is not at its name any more. */
  #isMovedBefore(place: OpenPlace, current: Entry, found: BigIntStats | undefined): boolean {
    if (!this.#options.isReplay) return false;
    return !(found && this.#tree.isCurrent(place.directory, place.name, current, found));
  }

  /**
   * What is at the name is not what the step found there. So the step is done, and perhaps a later
   * one too; if somebody else was here instead, verify() forgets the name.
   */
  #isChangedSince(place: OpenPlace, present: BigIntStats | undefined): boolean {
    if (!this.#options.isReplay || !present) return false;
    if (this.#aside.isVacated(place, present)) return false;
    const current = this.#changes.entry(place.parent, place.name);
    return !(current && this.#tree.isCurrent(place.directory, place.name, current, present));
  }
}

function isListed({ directory, name }: OpenPlace): boolean {
  return directory.list().includes(name);
}
