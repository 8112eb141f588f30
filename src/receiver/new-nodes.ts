// Steps that bring a node the receiver did not have: it is complete in the staging folder, and is
// renamed to its place.
import type { NodeId } from '../snapshot/entry.ts';
import type { Changes } from '../store/changes.ts';
import { type FileRecord, stampOf } from '../store/receiver-records.ts';
import type { Aside } from './aside.ts';
import { Rejection } from './rejection.ts';
import type { StagedNode, StepOf } from './steps.ts';
import type { ApplyOptions, OpenPlace, TreeView } from './tree-view.ts';

export class NewNodes {
  readonly #tree: TreeView;
  readonly #options: ApplyOptions;
  readonly #changes: Changes;
  readonly #aside: Aside;
  /** Directories made by this group of commits: what is not recorded in them is not there. */
  readonly #made = new Set<NodeId>();
  /** Directories that the commit under way placed. */
  readonly #placed = new Set<NodeId>();

  constructor(tree: TreeView, aside: Aside) {
    this.#tree = tree;
    this.#options = tree.options;
    this.#changes = tree.options.changes;
    this.#aside = aside;
  }

  begin(): void {
    this.#placed.clear();
  }

  file(step: StepOf<'file'>): void {
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
      ? this.#aside.drift.openToChange(parent)
      : this.#place(step, true);
    const found = directory.lstat(name);
    // Moved on by a later step of the replay: `Applier.verify` takes the stamp where it is now.
    const isMoved = !found || (this.#options.isReplay && found.ino !== staged.ino);
    const expected = { ...staged, size: BigInt(size), ctimeNs: 0n };
    this.#recordFile(step, stampOf(isMoved ? expected : found));
  }

  #recordFile(step: StepOf<'file'>, stamp: FileRecord['stamp']): void {
    const { parent, name, entry, staged } = step;
    const { id, version } = entry;
    const { list, fresh } = staged;
    this.#changes.setFile(id, version, { links: 1, places: [{ parent, name }], stamp, list });
    for (const run of fresh) this.#changes.addHints(id, list, run);
    this.#changes.setEntry(parent, name, entry);
  }

  /** 'known': it is there already, and only its attributes remain to be set. */
  directory(step: StepOf<'directory'>): 'placed' | 'known' {
    const { parent, name, entry, staged } = step;
    const current = this.#changes.entry(parent, name);
    if (current?.id === entry.id && current.kind === 'directory') {
      this.drop(staged);
      return 'known';
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
    return 'placed';
  }

  link(step: StepOf<'link'>): void {
    const { parent, name, entry } = step;
    this.#place(step, true);
    this.#changes.setEntry(parent, name, entry);
  }

  /** Renames the staged node to its place, unless a replay finds that done. */
  #place(step: StepOf<'file' | 'directory' | 'link'>, stays: boolean): OpenPlace {
    const { staging } = this.#options.folders;
    const { parent, name, staged } = step;
    const { directory } = this.#aside.drift.openToChange(parent);
    const place = { parent, name, directory };
    if (this.#options.isReplay && !staging.lstat(staged.name)) {
      const current = this.#changes.entry(parent, name);
      const there = directory.lstat(name);
      if (current && there && this.#tree.isCurrent(directory, name, current, there)) {
        const path = this.#tree.path(parent, name);
        throw new Rejection('refused', `${path}: it was refused before the crash`);
      }
      this.#aside.recordDone(place);
      return place;
    }
    const isNew = this.#made.has(parent) && !this.#changes.entry(parent, name);
    const present = isNew ? undefined : directory.lstat(name);
    const rename = (): void => staging.rename(staged.name, directory, name);
    this.#aside.replace(place, { present, stays }, rename);
    return place;
  }

  /** A staged node that is not to be placed after all. */
  drop({ name }: StagedNode): void {
    this.#options.folders.staging.removeTree(name);
  }
}
