// Compares the tree with its records, a little at a time and only between commits: directory by
// directory in the order of their ids. What was altered, removed or added by anybody else is kept
// and forgotten, and the sender told, so that it sends what belongs there again.
//
// No false alarms: between commits the records are exactly what our own work left. A file whose
// times moved (links made to it by cp -al, a touch) is read and compared with its blocks.

import assert from 'node:assert/strict';
import type { Log } from '../log.ts';
import { type NodeId, rootId } from '../snapshot/entry.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import type { Lost } from '../wire/messages.ts';
import type { Flush } from './flush.ts';
import type { Folders } from './folders.ts';
import type { LocalAttributes } from './local-attributes.ts';
import { forgetOrphans } from './orphans.ts';
import { sweepDirectory } from './sweep-directory.ts';
import { type Stubborn, SweepView } from './sweep-view.ts';

export interface SweepOptions {
  readonly folders: Folders;
  readonly store: ReplicaStore;
  readonly flush: Flush;
  readonly log: Log;
  readonly attributes: LocalAttributes;
  readonly nowMs: () => number;
}

export interface Swept {
  readonly lost: Lost['entries'];
  readonly driftCount: number;
  /** The last directory was done: the next slice begins anew. */
  readonly isComplete: boolean;
}

/** Work of one slice: other work waits that long at most. */
const sliceMs = 5;
/** Differences dealt with in one slice, each a handful of system calls. */
const findingsMax = 64;

/** Yields after a bounded piece of work; tree and records may be others when it goes on. */
export type Pass = (view: () => SweepView) => Generator<void, void>;

export class Sweep {
  readonly #options: SweepOptions;
  readonly #newPass: Pass;
  #pass: Generator<void, void> | undefined;
  #view: SweepView | undefined;
  readonly #stubborn = new Map<NodeId, Stubborn>();

  /** Of the whole tree, unless something else is to be looked at. */
  constructor(options: SweepOptions, pass?: Pass) {
    this.#options = options;
    this.#newPass = pass ?? (view => directories(options.store, view));
  }

  /**
   * One slice of work. Nothing else may change tree or records meanwhile. Throws what concerns the
   * whole destination; the next slice begins anew then.
   */
  async slice(): Promise<Swept> {
    const view = new SweepView({ ...this.#options, stubborn: this.#stubborn });
    try {
      const isComplete = this.#compare(view);
      return { ...(await this.#finish(view)), isComplete };
    } catch (error) {
      this.#pass = undefined;
      await this.#finish(view);
      throw error;
    } finally {
      view.close();
    }
  }

  /** True when the last directory was done. */
  #compare(view: SweepView): boolean {
    const end = performance.now() + sliceMs;
    this.#pass ??= this.#newPass(() => {
      assert(this.#view, 'a pass goes on within a slice only');
      return this.#view;
    });
    this.#view = view;
    try {
      do {
        if (!this.#pass.next().done) continue;
        this.#pass = undefined;
        return true;
      } while (performance.now() < end && view.driftCount < findingsMax);
      return false;
    } finally {
      this.#view = undefined;
    }
  }

  /** Makes the records what the slice left. */
  async #finish(view: SweepView): Promise<Omit<Swept, 'isComplete'>> {
    const { store, flush, folders } = this.#options;
    await view.settle(flush);
    const { changes, lost, driftCount } = view;
    if (!changes.isEmpty) {
      await changes.write();
      await forgetOrphans(store, folders);
    }
    return { lost, driftCount };
  }
}

function* directories(store: ReplicaStore, view: () => SweepView): Generator<void, void> {
  for (let id: NodeId | undefined = rootId; id !== undefined; id = store.nextDirectory(id)) {
    yield* sweepDirectory(id, view);
    yield;
  }
}
