// Where a node displaced by an operation waits, within one commit, for the operation that places
// it elsewhere. So a commit may swap names, or move them in a circle, in any order.
import type { Entry, NodeId } from '../snapshot/entry.ts';
import { type Name, toName } from '../snapshot/name.ts';
import type { Changes } from '../store/changes.ts';
import type { FileVersion } from '../store/file-places.ts';
import { keptParent, type Place } from '../store/receiver-records.ts';
import { type Displaced, type InTheWay, type Keeper, moveAside } from './keeper.ts';
import { keptName, moveFromLimbo } from './kept.ts';
import type { NodeRecords } from './node-records.ts';
import type { Step } from './steps.ts';
import type { TreeView } from './tree-view.ts';

/** A node in limbo. */
export interface Waiting {
  readonly entry: Entry;
  readonly name: Name;
}

export class Limbo {
  readonly #tree: TreeView;
  readonly #changes: Changes;
  readonly #records: NodeRecords;
  readonly #keeper: Keeper;
  readonly #waiting = new Map<string, Waiting>();
  #commit = 0n;
  #step: Step | undefined;
  /** By node: the last step of the commit that gives it a name. */
  #lastMove = new Map<string, number>();

  constructor(tree: TreeView, records: NodeRecords, keeper: Keeper) {
    this.#tree = tree;
    this.#changes = tree.options.changes;
    this.#records = records;
    this.#keeper = keeper;
  }

  begin(commit: bigint, steps: readonly Step[]): void {
    this.#commit = commit;
    this.#lastMove = new Map();
    for (const step of steps) {
      if (step.kind !== 'rename' && step.kind !== 'hardlink') continue;
      this.#lastMove.set(nodeKey(step.entry), step.index);
    }
  }

  beginStep(step: Step): void {
    this.#step = step;
  }

  find(node: FileVersion): Waiting | undefined {
    return this.#waiting.get(nodeKey(node));
  }

  /** A later step placed it. */
  delete(node: FileVersion): void {
    this.#waiting.delete(nodeKey(node));
  }

  /** Is the node that is in the way here to be placed elsewhere by a later step? */
  isDue(entry: Entry): boolean {
    const step = this.#step;
    // An older version of a file that gets new content here is wanted by nobody.
    if (step?.kind === 'file' && step.entry.id === entry.id) return false;
    return (this.#lastMove.get(nodeKey(entry)) ?? -1) > (step?.index ?? -1) && !this.find(entry);
  }

  displace(place: InTheWay, current: Entry): Displaced {
    const { limbo } = this.#tree.options.folders;
    // Moving a directory changes its '..', which takes write permission of its own. Steps below it
    // still reach it through the descriptor opened here.
    if (current.kind === 'directory') this.#tree.touch(current.id);
    const aside = limboName(this.#commit, current);
    if (limbo.lstat(aside)) limbo.unlink(aside);
    const undo = this.#keeper.setAside(place, limbo, aside) ?? moveAside(place, limbo, aside);
    return { undo, record: () => this.record(place, current) };
  }

  /** The node went to limbo, or in a replay perhaps to where the later step put it; that looks. */
  record({ parent, name }: Place, current: Entry): void {
    this.#changes.deleteEntry(parent, name);
    if (current.kind === 'file') this.#records.leave(current, { parent, name });
    const aside = limboName(this.#commit, current);
    this.#waiting.set(nodeKey(current), { entry: current, name: aside });
  }

  /** End of the commit: what nothing placed again becomes kept content. */
  end(): void {
    for (const waiting of this.#waiting.values()) this.#keep(waiting);
    this.#waiting.clear();
  }

  #keep({ entry, name }: Waiting): void {
    const { id } = entry;
    const { limbo, kept } = this.#tree.options.folders;
    const waiting = limbo.lstat(name);
    const hasOtherName = (this.#changes.file(id, entry.version)?.links ?? 0) > 0;
    if (entry.kind === 'link' || (entry.kind === 'file' && hasOtherName)) {
      if (waiting) limbo.unlink(name);
      return;
    }
    const free = this.#freeName(entry, name, waiting !== undefined);
    const present = waiting ?? kept.lstat(free);
    if (!present) {
      if (entry.kind === 'directory') this.#records.forgetDirectory(id);
      return;
    }
    if (waiting) limbo.rename(name, kept, free);
    this.#keeper.record(free, { kind: entry.kind, drift: false, current: entry }, present);
    if (entry.kind === 'file') this.#records.arrive(entry, { parent: keptParent, name: free });
    else this.#records.keepDirectory(id, free);
  }

  /** A free name in kept content, or in a replay the one that the node has there already. */
  #freeName(entry: Entry, name: Name, isWaiting: boolean): Name {
    const { kept } = this.#tree.options.folders;
    for (let i = 0; ; i++) {
      const free = keptName(`${this.#commit}.limbo${i === 0 ? '' : i}`, name);
      const there = kept.lstat(free);
      if (!there || (!isWaiting && this.#tree.isCurrent(kept, free, entry, there))) return free;
    }
  }

  /** After a replay: empties the folder. What has no other name becomes kept content. */
  clear(): void {
    const { limbo } = this.#tree.options.folders;
    for (const name of limbo.list()) {
      const present = limbo.lstat(name);
      if (!present) continue;
      const hasOtherName = present.isFile() && present.nlink > 1n;
      if (hasOtherName || present.isSymbolicLink()) limbo.unlink(name);
      else moveFromLimbo(this.#tree.options.folders, name);
      const [, id, version] = /^\d+\.(\d+)\.(\d+)$/.exec(name) ?? [];
      // Its ctime moved. These names are made of node ids only.
      if (id !== undefined)
        this.#tree.restamp({ id: Number(id) as NodeId, version: Number(version) });
    }
  }
}

/** Of one content version of a node. */
function nodeKey({ id, version }: FileVersion): string {
  return `${id}.${version}`;
}

/** Where a node displaced by a commit waits for a later step of it. */
export function limboName(commit: bigint, node: FileVersion): Name {
  return toName(`${commit}.${nodeKey(node)}`);
}
