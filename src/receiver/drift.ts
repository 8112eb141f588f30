// What is not as recorded at the destination, or not recorded at all: it is kept, its record
// forgotten, and the source wins. In a replay nothing counts as drift, since what is found may be
// the rest of its own steps.
import type { BigIntStats } from 'node:fs';
import type { Entry, NodeId } from '../snapshot/entry.ts';
import { type Name, printable } from '../snapshot/name.ts';
import type { Changes } from '../store/changes.ts';
import type { Place } from '../store/receiver-records.ts';
import type { Lost } from '../wire/messages.ts';
import type { Opened } from './directories.ts';
import type { Displaced, InTheWay, Keeper } from './keeper.ts';
import type { NodeRecords } from './node-records.ts';
import { Rejection } from './rejection.ts';
import type { OpenPlace, TreeView } from './tree-view.ts';

export class Drift {
  readonly #tree: TreeView;
  readonly #changes: Changes;
  readonly #records: NodeRecords;
  readonly #keeper: Keeper;
  #count = 0;
  #lost: { parent: NodeId; name: Name; id: NodeId }[] = [];

  constructor(tree: TreeView, records: NodeRecords, keeper: Keeper) {
    this.#tree = tree;
    this.#changes = tree.options.changes;
    this.#records = records;
    this.#keeper = keeper;
  }

  /** Differences found so far, over all commits. */
  get count(): number {
    return this.#count;
  }

  /** Names that were forgotten in this commit, which the sender must hear of. */
  get lost(): Lost['entries'] {
    return this.#lost;
  }

  begin(): void {
    this.#lost = [];
  }

  /** A directory of the tree whose names will change. Throws Rejection if it is not there. */
  openToChange(id: NodeId): Opened {
    const opened = this.open(id);
    this.#tree.touchOpened(id, opened);
    return opened;
  }

  /** A directory of the tree. Throws Rejection if it is not there. */
  open(id: NodeId): Opened {
    const resolution = this.#tree.resolve(id);
    if (resolution.kind === 'open' && !resolution.isKept) return resolution;
    const isDrift = resolution.kind === 'drift' && !resolution.opened.isKept;
    if (isDrift && !this.#tree.options.isReplay) {
      const { name, opened } = resolution;
      const { directory } = opened;
      // Outside of kept content every parent is a node.
      const parent = resolution.parent as NodeId;
      this.lose({ parent, name, directory }, directory.lstat(name));
    }
    throw new Rejection('gone', `directory ${id} is not there`);
  }

  /**
   * Is the name as recorded? If not, it is lost and the step over; but in a replay a later step may
   * have moved it already: then nothing is to be done here, and this is false.
   */
  isIntact(place: OpenPlace, current: Entry, present: BigIntStats | undefined): boolean {
    const { directory, name } = place;
    if (present && this.#tree.isUnaltered(directory, name, current, present)) return true;
    if (this.#tree.options.isReplay) return false;
    return this.lose(place, present);
  }

  /** The name is not as recorded: what is there is kept, the record forgotten, the step over. */
  lose(place: OpenPlace, present: BigIntStats | undefined): never {
    const path = this.#tree.path(place.parent, place.name);
    this.putAside(place, present);
    throw new Rejection('gone', `${path}: it had drifted`);
  }

  /** Keeps what is at a name that is not as recorded, or not recorded at all, and forgets it. */
  putAside(place: OpenPlace, present: BigIntStats | undefined): void {
    const { parent, name } = place;
    const current = this.#changes.entry(parent, name);
    if (present) {
      this.#tree.touch(parent);
      this.displace({ ...place, present, stays: false }, current).record();
    } else if (current) {
      this.recordMissing(place, current);
    }
    if (current) this.noteLost(place, current);
  }

  noteLost({ parent, name }: OpenPlace, { id }: Entry): void {
    this.#lost.push({ parent, name, id });
  }

  /** Takes drift out of the way of an operation, into kept content. */
  displace(place: InTheWay, current: Entry | undefined): Displaced {
    const drift = !this.#tree.options.isReplay;
    const kept = this.#keeper.keep(place, { kind: 'foreign', drift, current: undefined });
    return {
      undo: kept.undo,
      record: () => {
        kept.record();
        if (drift) this.#report(place, current ? 'altered' : 'foreign', kept.name);
        if (current) this.#records.forget(place, current);
      },
    };
  }

  recordMissing(place: Place, current: Entry): void {
    if (!this.#tree.options.isReplay) this.#report(place, 'missing', undefined);
    this.#records.forget(place, current);
  }

  #report(
    { parent, name }: Place,
    what: 'altered' | 'foreign' | 'missing',
    kept: Name | undefined,
  ): void {
    this.#count++;
    const path = this.#tree.path(parent, name);
    const where = kept === undefined ? {} : { kept: printable(kept) };
    this.#tree.options.log.warn({ path, what, ...where }, 'drift');
  }
}
