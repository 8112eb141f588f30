// Steps on nodes that the receiver has: one more name, another name, no name, other attributes.
import assert from 'node:assert/strict';
import type { BigIntStats } from 'node:fs';
import { type Entry, rootId } from '../snapshot/entry.ts';
import { type Name, toName } from '../snapshot/name.ts';
import type { Changes } from '../store/changes.ts';
import { type FileRecord, keptParent, type ParentId } from '../store/receiver-records.ts';
import { type Aside, isListed } from './aside.ts';
import type { Drift } from './drift.ts';
import type { Limbo, Waiting } from './limbo.ts';
import type { NodeRecords } from './node-records.ts';
import { fatalMessage, Rejection, refusal } from './rejection.ts';
import type { Replay } from './replay.ts';
import type { Step, StepOf } from './steps.ts';
import type { OpenPlace, TreeView } from './tree-view.ts';
import { placeKey } from './vacated-names.ts';

export class KnownNodes {
  readonly #tree: TreeView;
  readonly #changes: Changes;
  readonly #aside: Aside;
  readonly #records: NodeRecords;
  readonly #drift: Drift;
  readonly #limbo: Limbo;
  readonly #replay: Replay;
  #commit = 0n;
  /** By name: the last step of the commit that places something there. */
  #lastPlacing = new Map<string, number>();

  constructor(tree: TreeView, aside: Aside) {
    this.#tree = tree;
    this.#changes = tree.options.changes;
    this.#aside = aside;
    this.#records = aside.records;
    this.#drift = aside.drift;
    this.#limbo = aside.limbo;
    this.#replay = aside.replay;
  }

  begin(commit: bigint, steps: readonly Step[]): void {
    this.#commit = commit;
    this.#lastPlacing = new Map();
    for (const step of steps) {
      if (step.kind === 'remove' || step.kind === 'attributes') continue;
      this.#lastPlacing.set(placeKey(step), step.index);
    }
  }

  hardlink(step: StepOf<'hardlink'>): void {
    const { parent, name, entry } = step;
    const { id, version } = entry;
    const { directory } = this.#drift.openToChange(parent);
    const place = { parent, name, directory };
    const record = this.#changes.file(id, version);
    if (!record || Number(record.stamp.size) !== entry.size) {
      throw new Rejection('gone', `${this.#tree.path(parent, name)}: nothing to link to`);
    }
    const present = directory.lstat(name);
    const current = this.#changes.entry(parent, name);
    if (current?.id === id && current.version === version) {
      const isIntact = this.#drift.isIntact(place, current, present);
      if (isIntact) this.#tree.setAttributes(place, current, entry);
      this.#changes.setEntry(parent, name, entry);
      return;
    }
    if (this.#replay.isChangedSince(place, present)) this.#aside.recordDone(place);
    else this.#linkOver(step, place, record, present);
    this.#records.arrive(entry, { parent, name });
    this.#changes.setEntry(parent, name, entry);
    this.#setAttributesLast(place, undefined, entry);
  }

  #linkOver(
    { index, entry }: StepOf<'hardlink'>,
    place: OpenPlace,
    record: FileRecord,
    present: BigIntStats | undefined,
  ): void {
    const { parent, name, directory } = place;
    const { limbo } = this.#tree.options.folders;
    const waiting = this.#limbo.find(entry);
    const source = waiting
      ? { directory: limbo, name: waiting.name }
      : this.#tree.findFile(entry, record);
    if (!source) {
      throw new Rejection('gone', `${this.#tree.path(parent, name)}: the file has drifted`);
    }
    this.#tree.noteMoved(entry);
    if (!present) {
      const link = (): void => source.directory.link(source.name, directory, name);
      this.#aside.replace(place, { present, stays: true }, link);
      return;
    }
    const temporary = this.#temporaryName(index, 'link');
    source.directory.link(source.name, limbo, temporary);
    const rename = (): void => limbo.rename(temporary, directory, name);
    try {
      this.#aside.replace(place, { present, stays: true }, rename);
    } finally {
      // Still there if the rename failed, or if both were the same file already.
      if (limbo.lstat(temporary)) limbo.unlink(temporary);
    }
  }

  /** Clear of what an earlier attempt may have left. */
  #temporaryName(index: number, suffix: 'link' | 'move'): Name {
    const { limbo } = this.#tree.options.folders;
    const name = toName(`${this.#commit}.${index}.${suffix}`);
    if (limbo.lstat(name)) limbo.unlink(name);
    return name;
  }

  rename(step: StepOf<'rename'>): void {
    const { fromParent, fromName, parent, name, entry } = step;
    const { directory } = this.#drift.openToChange(parent);
    const place = { parent, name, directory };
    const present = directory.lstat(name);
    const current = this.#changes.entry(fromParent, fromName);
    const isThere = current?.id === entry.id && current.kind === entry.kind;
    const waiting = isThere ? undefined : this.#limbo.find(entry);
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
      this.attributes(step);
      return;
    }
    this.#relocate(step, current, { place, present });
  }

  #relocate(
    step: StepOf<'rename'>,
    current: Entry,
    { place, present }: { readonly place: OpenPlace; readonly present: BigIntStats | undefined },
  ): void {
    const { fromParent, fromName, entry } = step;
    const { directory: fromDirectory } = this.#drift.openToChange(fromParent);
    const from = { parent: fromParent, name: fromName, directory: fromDirectory };
    const found = fromDirectory.lstat(fromName);
    const isMoved = this.#replay.isMovedBefore(from, current, found);
    // Only its case changes, where names of another case are the same one.
    const isRecased = present?.ino === found?.ino && this.#aside.isOtherForm(place, present);
    if (isMoved && this.#replay.isUntouched(place, present, entry)) {
      // It had drifted before, and was put aside: nothing was renamed.
      this.#records.forget(from, current);
      throw new Rejection('gone', `${this.#tree.path(fromParent, fromName)}: it had drifted`);
    }
    if (isMoved || (!isRecased && this.#replay.isChangedSince(place, present))) {
      this.#aside.recordDone(place);
      // The name it was to leave, if it was linked and not renamed.
      if (found && entry.kind !== 'directory' && !isMoved && isListed(from)) {
        this.#aside.vacated.add(from, found.ino);
      }
    } else {
      // Also in a replay: its time is set below, and would make other content look right.
      if (!this.#drift.isIntact(from, current, found)) this.#drift.lose(from, found);
      assert(found, 'what is intact is there');
      // Its '..' changes: that takes write permission of its own.
      if (entry.kind === 'directory') this.#tree.touch(entry.id);
      const isSameFile = present?.ino === found.ino;
      const stays = entry.kind !== 'directory';
      const move = (): void => this.#move(step, from, place, isSameFile);
      if (isRecased) fromDirectory.rename(fromName, place.directory, place.name);
      else this.#aside.replace(place, { present, stays }, move);
    }
    this.#recordRename(step);
    this.#setAttributesLast(place, current, entry);
  }

  /** Where the old name is taken over later in the commit, it is left in place until then. */
  #move(step: StepOf<'rename'>, from: OpenPlace, to: OpenPlace, isSameFile: boolean): void {
    const { limbo } = this.#tree.options.folders;
    if (step.entry.kind === 'file') this.#tree.noteMoved(step.entry);
    const isRetaken = (this.#lastPlacing.get(placeKey(from)) ?? -1) > step.index;
    if (isRetaken && step.entry.kind !== 'directory') {
      const temporary = this.#temporaryName(step.index, 'move');
      if (this.#aside.keeper.tryLink(from.directory, from.name, limbo, temporary)) {
        try {
          limbo.rename(temporary, to.directory, to.name);
        } finally {
          if (limbo.lstat(temporary)) limbo.unlink(temporary);
        }
        this.#aside.vacated.add(from, from.directory.lstat(from.name)?.ino ?? 0n);
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
    const from = { parent: fromParent, name: fromName };
    const to = { parent, name };
    if (entry.kind === 'file') this.#records.move(entry, from, to);
    else if (entry.kind === 'directory') this.#records.moveDirectory(entry.id, to);
  }

  /** What an earlier step of the commit displaced gets its new name. */
  #placeWaiting(
    { entry }: StepOf<'rename'>,
    waiting: Waiting,
    place: OpenPlace,
    present: BigIntStats | undefined,
  ): void {
    const { limbo } = this.#tree.options.folders;
    const { parent, name, directory } = place;
    const isGone = this.#tree.options.isReplay && !limbo.lstat(waiting.name);
    if (isGone || this.#replay.isChangedSince(place, present)) {
      this.#aside.recordDone(place);
    } else {
      this.#aside.replace(place, { present, stays: entry.kind !== 'directory' }, () => {
        limbo.rename(waiting.name, directory, name);
        // rename(2) does nothing between two names of one file.
        if (limbo.lstat(waiting.name)) limbo.unlink(waiting.name);
      });
    }
    this.#limbo.delete(entry);
    this.#changes.setEntry(parent, name, entry);
    if (entry.kind === 'file') this.#records.arrive(entry, { parent, name });
    else if (entry.kind === 'directory') this.#records.moveDirectory(entry.id, { parent, name });
    this.#setAttributesLast(place, waiting.entry, entry);
  }

  /**
   * The node has its name by then. Where its attributes are refused the record says what it has, and
   * the sender, to which the step failed, is to ask for that.
   */
  #setAttributesLast(place: OpenPlace, previous: Entry | undefined, entry: Entry): void {
    const { parent, name, directory } = place;
    try {
      this.#tree.setAttributes(place, previous, entry);
    } catch (error) {
      const refused = fatalMessage(error) ? undefined : refusal(error, name);
      const now = refused && directory.lstat(name);
      if (refused === undefined || now === undefined) throw error;
      const mode = Number(now.mode & 0o7777n);
      const stamp = { ...entry.stamp, ctimeNs: 0n };
      this.#changes.setEntry(parent, name, { ...entry, mode, mtimeNs: now.mtimeNs, stamp });
      throw new Rejection('gone', refused.message);
    }
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

  remove({ parent, name, id }: StepOf<'remove'>): void {
    const { directory } = this.#drift.openToChange(parent);
    const current = this.#changes.entry(parent, name);
    // Taken over or moved away by this commit, or forgotten before: as it should be.
    if (!current || current.id !== id) return;
    const place = { parent, name, directory };
    const present = directory.lstat(name);
    if (this.#replay.isMovedBefore(place, current, present)) this.#aside.recordDone(place);
    else this.#aside.remove(place, present);
  }

  attributes({ parent, name, entry }: Omit<StepOf<'attributes'>, 'kind'>): void {
    if (parent === 0 || name === '') {
      this.#tree.tryDirectory(entry);
      this.#tree.setDirectory(entry);
      this.#changes.setEntry(keptParent, '', entry);
      return;
    }
    const { directory } = this.#drift.open(parent);
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
    const isIntact = this.#drift.isIntact(place, current, directory.lstat(name));
    if (isIntact && entry.kind === 'directory') this.#tree.tryDirectory(entry);
    if (isIntact) this.#tree.setAttributes(place, current, entry);
    this.#changes.setEntry(parent, name, entry);
  }
}
