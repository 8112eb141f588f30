// Takes what is at a name out of the way of an operation. Nothing is ever overwritten or removed
// without being recorded as ours, and nothing of ours is dropped without a second name first:
//
//   limbo  a node that a later step of the same commit places elsewhere
//   kept   content that leaves the tree, and everything that is not as recorded (drift)
import type { BigIntStats } from 'node:fs';
import type { Entry } from '../snapshot/entry.ts';
import type { Changes } from '../store/changes.ts';
import type { Place } from '../store/receiver-records.ts';
import { Drift } from './drift.ts';
import { type Displaced, type InTheWay, Keeper, nothingDisplaced } from './keeper.ts';
import { Limbo } from './limbo.ts';
import { NodeRecords } from './node-records.ts';
import { fatalMessage, otherFormInTheWay, Rejection, refusal } from './rejection.ts';
import { Replay } from './replay.ts';
import type { Step } from './steps.ts';
import type { OpenPlace, TreeView } from './tree-view.ts';
import { VacatedNames } from './vacated-names.ts';

interface Found {
  readonly present: BigIntStats | undefined;
  readonly stays: boolean;
}

export class Aside {
  readonly records: NodeRecords;
  readonly keeper: Keeper;
  readonly drift: Drift;
  readonly limbo: Limbo;
  readonly vacated = new VacatedNames();
  readonly replay: Replay;
  readonly #tree: TreeView;
  readonly #changes: Changes;
  #commit = 0n;

  constructor(tree: TreeView) {
    this.#tree = tree;
    this.#changes = tree.options.changes;
    this.records = new NodeRecords(tree);
    this.keeper = new Keeper(tree);
    this.drift = new Drift(tree, this.records, this.keeper);
    this.limbo = new Limbo(tree, this.records, this.keeper);
    this.replay = new Replay(tree, this.vacated);
  }

  begin(commit: bigint, steps: readonly Step[]): void {
    this.#commit = commit;
    this.drift.begin();
    this.limbo.begin(commit, steps);
  }

  beginStep(step: Step): void {
    this.keeper.beginStep(this.#commit, step.index);
    this.limbo.beginStep(step);
  }

  /** What nothing took over, and what nothing placed again. */
  end(): void {
    this.vacated.unlinkAll(this.#tree);
    this.limbo.end();
    this.#tree.restampMoved();
  }

  /**
   * Takes what is at `place` out of the way of `act`, which takes the name; if that fails, puts it
   * back. With `stays` the name is left for `act` to rename over: there is no moment without it.
   */
  replace(place: OpenPlace, { present, stays }: Found, act: () => void): void {
    if (this.isOtherForm(place, present)) {
      const path = this.#tree.path(place.parent, place.name);
      throw new Rejection('refused', `${path}: ${otherFormInTheWay}`);
    }
    const current = this.#changes.entry(place.parent, place.name);
    const displaced = this.#displace(place, { present, stays });
    try {
      act();
    } catch (error) {
      this.#putBack(place, displaced, current);
      throw error;
    }
    displaced.record();
  }

  /** What cannot go back either is kept, and the sender hears that it is gone. */
  #putBack(place: OpenPlace, displaced: Displaced, current: Entry | undefined): void {
    try {
      displaced.undo();
    } catch (error) {
      if (fatalMessage(error) || !refusal(error, place.name)) throw error;
      displaced.record();
      if (current) this.drift.noteLost(place, current);
    }
  }

  /** Leaves nothing at `place`. */
  remove(place: OpenPlace, present: BigIntStats | undefined): void {
    this.#displace(place, { present, stays: false }).record();
  }

  /** Puts a name aside that is to be sent again. As recorded, its blocks can be used for that. */
  expel(place: OpenPlace, present: BigIntStats | undefined): void {
    const { parent, name, directory } = place;
    const current = this.#changes.entry(parent, name);
    if (!current || !present || !this.#tree.isUnaltered(directory, name, current, present)) {
      this.drift.putAside(place, present);
      return;
    }
    this.remove(place, present);
    this.drift.noteLost(place, current);
  }

  /** Does the file system take the name for another one, which differs in case or form? */
  isOtherForm(place: OpenPlace, present: BigIntStats | undefined): boolean {
    if (!present || this.#changes.entry(place.parent, place.name)) return false;
    return !this.vacated.has(place, present) && !isListed(place);
  }

  #displace(place: OpenPlace, { present, stays }: Found): Displaced {
    const { parent, name, directory } = place;
    const current = this.#changes.entry(parent, name);
    if (current && this.replay.isMovedBefore(place, current, present)) {
      this.recordDone(place);
      return this.#displace(place, { present, stays });
    }
    if (!present) {
      if (!current) return nothingDisplaced;
      return { undo() {}, record: () => this.drift.recordMissing(place, current) };
    }
    const inTheWay = { ...place, present, stays: stays && !present.isDirectory() };
    if (this.vacated.has(place, present)) {
      if (!inTheWay.stays) directory.unlink(name);
      return { undo() {}, record: () => this.vacated.delete(place) };
    }
    if (!current || !this.#tree.isUnaltered(directory, name, current, present)) {
      return this.drift.displace(inTheWay, current);
    }
    // Also where it is undone.
    if (current.kind === 'file') this.#tree.noteMoved(current);
    if (this.limbo.isDue(current)) return this.limbo.displace(inTheWay, current);
    switch (current.kind) {
      case 'file':
        return this.#displaceFile(inTheWay, current);
      case 'directory':
        return this.#displaceDirectory(inTheWay, current);
      case 'link':
        return this.#displaceLink(inTheWay, current);
    }
  }

  #displaceFile(place: InTheWay, current: Entry): Displaced {
    const { parent, name, directory, stays } = place;
    if ((this.#changes.file(current.id, current.version)?.links ?? 0) > 1) {
      // Its other names keep the content.
      if (!stays) directory.unlink(name);
      return { undo() {}, record: () => this.records.forget({ parent, name }, current) };
    }
    const kept = this.keeper.keep(place, { kind: 'file', drift: false, current });
    return {
      undo: kept.undo,
      record: () => {
        kept.record();
        if (kept.name) this.records.keep({ parent, name }, current, kept.name);
        else this.records.forget({ parent, name }, current);
      },
    };
  }

  #displaceDirectory(place: InTheWay, current: Entry): Displaced {
    const { parent, name } = place;
    this.#tree.touch(current.id);
    const kept = this.keeper.keep(place, { kind: 'directory', drift: false, current });
    return {
      undo: kept.undo,
      record: () => {
        kept.record();
        if (kept.name) this.records.keep({ parent, name }, current, kept.name);
      },
    };
  }

  /** A link is its target, which the record has: nothing of it needs keeping. */
  #displaceLink({ parent, name, directory, stays }: InTheWay, current: Entry): Displaced {
    if (!stays) directory.unlink(name);
    return {
      undo: () => {
        if (stays) return;
        directory.symlink(current.target, name);
        directory.setTimes(name, current.mtimeNs);
      },
      record: () => this.#changes.deleteEntry(parent, name),
    };
  }

  /** A replayed step displaced what was at the name before the crash: notes where it went. */
  recordDone(place: Place): void {
    const { parent, name } = place;
    const current = this.#changes.entry(parent, name);
    if (!current) return;
    if (this.limbo.isDue(current)) {
      this.limbo.record(place, current);
      return;
    }
    const { kept } = this.#tree.options.folders;
    const keptAs = this.keeper.firstName(name);
    const there = kept.lstat(keptAs);
    if (current.kind === 'link' || !there || !this.#tree.isCurrent(kept, keptAs, current, there)) {
      this.records.forget(place, current);
      return;
    }
    this.keeper.record(keptAs, { kind: current.kind, drift: false, current }, there);
    this.records.keep(place, current, keptAs);
  }
}

/** Under exactly this name, whatever names the file system takes for one. */
export function isListed({ directory, name }: OpenPlace): boolean {
  return directory.list().includes(name);
}
