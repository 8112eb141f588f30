// What a step asks when its commit is applied again after a crash: is it done already? A recorded
// node is known by its inode (or a link by its target). Otherwise every answer is no.
import type { BigIntStats } from 'node:fs';
import type { Entry } from '../snapshot/entry.ts';
import type { OpenPlace, TreeView } from './tree-view.ts';
import type { VacatedNames } from './vacated-names.ts';

export class Replay {
  readonly #tree: TreeView;
  readonly #vacated: VacatedNames;

  constructor(tree: TreeView, vacated: VacatedNames) {
    this.#tree = tree;
    this.#vacated = vacated;
  }

  /** The recorded node is not at its name any more. */
  isMovedBefore(place: OpenPlace, current: Entry, found: BigIntStats | undefined): boolean {
    if (!this.#tree.options.isReplay) return false;
    return !(found && this.#tree.isCurrent(place.directory, place.name, current, found));
  }

  /**
   * What is at the name is not what the step found there. So the step is done, and perhaps a later
   * one too; if somebody else was here instead, `Applier.verify` forgets the name.
   */
  isChangedSince(place: OpenPlace, present: BigIntStats | undefined): boolean {
    if (!this.#tree.options.isReplay || !present) return false;
    if (this.#vacated.has(place, present)) return false;
    const current = this.#entryAt(place);
    return !(current && this.#tree.isCurrent(place.directory, place.name, current, present));
  }

  /** What is recorded at the name is still there, and is another node than the one to come. */
  isUntouched(place: OpenPlace, present: BigIntStats | undefined, entry: Entry): boolean {
    const current = this.#entryAt(place);
    if (!present || !current || current.id === entry.id) return false;
    return this.#tree.isCurrent(place.directory, place.name, current, present);
  }

  #entryAt({ parent, name }: OpenPlace): Entry | undefined {
    return this.#tree.options.changes.entry(parent, name);
  }
}
