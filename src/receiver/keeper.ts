// Puts things into kept content while a commit is applied: content that leaves the tree, and
// everything that is not as recorded. `kept.ts` lets go of it again.
import type { BigIntStats } from 'node:fs';
import { systemCode } from '../errors.ts';
import type { Entry } from '../snapshot/entry.ts';
import type { Name } from '../snapshot/name.ts';
import type { Changes } from '../store/changes.ts';
import { keptParent } from '../store/receiver-records.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';
import { keptName } from './kept.ts';
import type { OpenPlace, TreeView } from './tree-view.ts';

/** Something moved out of the way by system calls; `record` notes them, `undo` takes them back. */
export interface Displaced {
  readonly undo: () => void;
  readonly record: () => void;
}

/** What is at a name that something else needs, or nothing. */
export interface InTheWay extends OpenPlace {
  readonly present: BigIntStats;
  /** The name is left for a rename over it. */
  readonly stays: boolean;
}

export interface Keepable {
  readonly kind: 'file' | 'directory' | 'foreign';
  readonly drift: boolean;
  /** What is recorded of it. */
  readonly current: Entry | undefined;
}

/** EXDEV: where quotas of projects, or the file system itself, bind a file to its directory. */
const noLinkCodes: ReadonlySet<string> = new Set([
  ...['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EXDEV'],
]);

export const nothingDisplaced: Displaced = { undo() {}, record() {} };

export class Keeper {
  readonly #tree: TreeView;
  readonly #changes: Changes;
  #canLink = true;
  /** `<commit>.<index>` of the step under way; undefined outside of commits. */
  #step: string | undefined;
  /** Names made by the step under way. */
  #count = 0;

  constructor(tree: TreeView) {
    this.#tree = tree;
    this.#changes = tree.options.changes;
  }

  beginStep(commit: bigint, index: number): void {
    this.#step = `${commit}.${index}`;
    this.#count = 0;
  }

  /**
   * Moves something into kept content, or links it where the name stays. Without a name in the
   * result it is not kept, since there are no hard links.
   */
  keep(place: InTheWay, what: Keepable): Displaced & { readonly name: Name | undefined } {
    const { kept } = this.#tree.options.folders;
    const name = this.#freeName(place);
    const linked = this.setAside(place, kept, name);
    // What came from the source can be had from there again; nothing else is given up.
    if (!linked && what.current) return { ...nothingDisplaced, name: undefined };
    const undo = linked ?? moveAside(place, kept, name);
    const { present } = place;
    return { name, undo, record: () => this.record(name, what, present) };
  }

  record(name: Name, { kind, drift, current }: Keepable, { blocks }: BigIntStats): void {
    this.#changes.setKept(keptParent, name, {
      kind,
      id: current?.id ?? 0,
      version: current?.version ?? 0,
      drift,
      timeMs: this.#tree.options.nowMs(),
      bytes: Number(blocks) * 512,
    });
  }

  /** In a replay the same step finds the same name, and what it put there before. */
  #freeName({ name, present }: InTheWay): Name {
    const { kept } = this.#tree.options.folders;
    for (;;) {
      const free = this.#name(this.#count++, name);
      const there = kept.lstat(free);
      if (!there) return free;
      if (this.#tree.options.isReplay && there.ino === present.ino && !there.isDirectory()) {
        kept.unlink(free);
        return free;
      }
    }
  }

  /** The name under which the step under way keeps the first thing it displaces. */
  firstName(name: Name): Name {
    return this.#name(0, name);
  }

  #name(count: number, name: Name): Name {
    // Outside of commits every name has a number of its own.
    const number = this.#step ? `${this.#step}.${count}` : `drift${this.#changes.nextKept()}`;
    return keptName(number, name);
  }

  /** Undo, or undefined if there can be no hard link and the name stays. */
  setAside(place: InTheWay, to: ConfinedDirectory, name: Name): (() => void) | undefined {
    if (!place.stays) return moveAside(place, to, name);
    if (!this.tryLink(place.directory, place.name, to, name)) return undefined;
    return () => to.unlink(name);
  }

  /** False where the file system has no hard links, or no more of this file. */
  tryLink(from: ConfinedDirectory, name: Name, to: ConfinedDirectory, toName: Name): boolean {
    if (!this.#canLink) return false;
    try {
      from.link(name, to, toName);
      return true;
    } catch (error) {
      const code = systemCode(error);
      if (code === 'EMLINK') return false;
      if (code === undefined || !noLinkCodes.has(code)) throw error;
      this.#canLink = false;
      const text = 'no hard links on the destination: replaced files are not kept';
      this.#tree.options.log.warn({}, text);
      return false;
    }
  }
}

/** Moves what is at `place` to `to`; the result takes it back. */
export function moveAside(place: InTheWay, to: ConfinedDirectory, name: Name): () => void {
  const { directory } = place;
  directory.rename(place.name, to, name);
  return () => to.rename(name, directory, place.name);
}
