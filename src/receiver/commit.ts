// The receiving end of a commit, on one screen:
//
//   staged -> data durable -> intents durable -> applied to the tree -> directories durable
//          -> records, digest and watermark in one transaction, durable -> acknowledged
//
// An intent exists only once the data it speaks of is durable. So a crash before it leaves staged
// files that belong to nothing, and a crash after it is repaired by doing the rest: recover.ts.
// While a group is made durable, the next commits are received and staged; those that wait are
// the next group.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import {
  badHintsMax,
  groupOperationsMax,
  queuedCommitBytesMax,
  queuedCommitsMax,
} from '../limits.ts';
import type { Log } from '../log.ts';
import { Changes } from '../store/changes.ts';
import type { LoggedCommit } from '../store/commit-log.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';
import type { StagedFile } from '../tree/staged-file.ts';
import { type Applied, Applier } from './apply.ts';
import { type BlockHint, BlockSource } from './block-source.ts';
import type { Exclusive } from './exclusive.ts';
import { sessionError } from './failure.ts';
import type { Totals } from './figures.ts';
import { type Flush, flushesAtOnce } from './flush.ts';
import type { Folders } from './folders.ts';
import type { Journal } from './journal.ts';
import type { LocalAttributes } from './local-attributes.ts';
import { forgetOrphans } from './orphans.ts';
import { encodeSteps, type Step } from './steps.ts';
import type { TreeView } from './tree-view.ts';
import { turn } from './turn.ts';

export interface StagedCommit {
  readonly commit: bigint;
  readonly steps: readonly Step[];
  /** Staged files that are open for flushing; the committer closes them. */
  readonly files: readonly StagedFile[];
  readonly stagedCount: number;
  /** Staged directories with staged files in them; open until the commit is settled. */
  readonly folders: readonly ConfinedDirectory[];
  readonly stagedBytes: number;
  /** Called when the commit is durable (with what came of it) or never will be. */
  readonly onSettled: (applied: Applied | undefined) => void;
}

export interface CommitOptions {
  readonly folders: Folders;
  readonly store: ReplicaStore;
  readonly flush: Flush;
  readonly exclusive: Exclusive;
  readonly log: Log;
  readonly attributes: LocalAttributes;
  readonly nowMs: () => number;
  readonly totals: Totals;
  readonly journal: Journal;
  readonly onStep?: ((label: string) => void) | undefined;
}

export class Committer {
  readonly #options: CommitOptions;
  #queue: StagedCommit[] = [];
  #queuedBytes = 0;
  #isRunning = false;
  #failure: unknown;
  #waiters: (() => void)[] = [];
  #driftCount = 0;
  #badHints: BlockHint[] = [];

  constructor(options: CommitOptions) {
    this.#options = options;
  }

  /** Why no commit can be made any more, if so: the state must be recovered. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Entries found other than recorded, and kept. */
  get driftCount(): number {
    return this.#driftCount;
  }

  /** Takes a complete commit; wait for `room` before the next. */
  add(commit: StagedCommit): void {
    if (this.#failure) {
      settle([commit], undefined);
      return;
    }
    this.#queue.push(commit);
    this.#queuedBytes += commit.stagedBytes;
    void this.#run();
  }

  /** Entries of the index that led nowhere: the next commit drops those that still do. */
  dropHints(hints: readonly BlockHint[]): void {
    if (this.#badHints.length < badHintsMax) this.#badHints.push(...hints);
  }

  /** Resolves when one more commit may be staged; rejects once commits fail. */
  async room(): Promise<void> {
    while (!this.#failure && !this.#hasRoom()) await this.#woken();
    if (this.#failure) throw this.#failure;
  }

  /** Resolves when nothing is queued or under way, also after a failure. */
  async idle(): Promise<void> {
    while (this.#isRunning) await this.#woken();
  }

  #hasRoom(): boolean {
    return this.#queue.length < queuedCommitsMax && this.#queuedBytes < queuedCommitBytesMax;
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      while (this.#queue.length > 0) {
        const group = this.#takeGroup();
        await this.#options.exclusive.run(() => this.#commit(group));
        this.#wake();
      }
    } catch (error) {
      this.#failure = sessionError(error);
      for (const { files } of this.#queue) for (const file of files) file.close();
      settle(this.#queue, undefined);
      this.#queue = [];
    } finally {
      this.#isRunning = false;
      this.#wake();
    }
  }

  #takeGroup(): readonly StagedCommit[] {
    let count = 0;
    let operations = 0;
    for (const { steps } of this.#queue) {
      if (count > 0 && operations + steps.length > groupOperationsMax) break;
      operations += steps.length;
      count++;
    }
    const group = this.#queue.splice(0, count);
    for (const { stagedBytes } of group) this.#queuedBytes -= stagedBytes;
    return group;
  }

  async #commit(group: readonly StagedCommit[]): Promise<void> {
    const { store, flush, onStep } = this.#options;
    const changes = new Changes(store);
    const begunMs = performance.now();
    try {
      onStep?.('flush');
      await flush.staged(
        [...group.flatMap(one => one.folders), this.#options.folders.staging],
        group.flatMap(one => one.files),
        group.reduce((count, one) => count + one.stagedCount, 0),
      );
      onStep?.('intents');
      await store.writeIntents(
        group.map(({ commit, steps }) => ({ commit, bytes: encodeSteps(steps) })),
      );
      this.#checkHints(changes);
      const applied = await this.#apply(group, changes);
      onStep?.('records');
      await changes.writeRecords();
      onStep?.('written');
      this.#count(applied, group, performance.now() - begunMs);
      group.forEach((one, i) => {
        one.onSettled(applied[i]);
      });
    } catch (error) {
      this.#failure = sessionError(error);
      settle(group, undefined);
      throw error;
    }
    await changes.writeIndex();
    await forgetOrphans(store, this.#options.folders);
  }

  #count(applied: readonly Applied[], group: readonly StagedCommit[], ms: number): void {
    const { totals } = this.#options;
    totals.groups++;
    totals.ms += ms;
    totals.commits += group.length;
    for (const { steps } of group) totals.operations += steps.length;
    for (const { rejections } of applied) totals.operations -= rejections.length;
  }

  /** Between commits records and tree agree: what leads nowhere now is no race. */
  #checkHints(changes: Changes): void {
    const hints = this.#badHints;
    if (hints.length === 0) return;
    this.#badHints = [];
    const source = new BlockSource(this.#options);
    for (const hint of hints) {
      if (!source.holds(hint)) changes.dropHint(hint.blockId, hint.id);
    }
    source.close();
  }

  /** Applies the group to the tree and makes that durable; the records are in `changes`. */
  async #apply(group: readonly StagedCommit[], changes: Changes): Promise<readonly Applied[]> {
    const { flush, onStep, journal } = this.#options;
    const applier = new Applier({ ...this.#options, changes, isReplay: false });
    const done: LoggedCommit[] = [];
    try {
      const applied: Applied[] = [];
      for (const { commit, steps } of group) {
        assert.equal(commit, changes.watermark + 1n, 'commits come in order');
        const outline = journal.begin(steps, changes);
        const one = await applier.apply({ commit, steps });
        applied.push(one);
        done.push(journal.commit(commit, outline.end(one)));
        changes.watermark = commit;
        changes.endIntent(commit);
        await turn();
      }
      await flushTree(applier.tree, flush);
      journal.write(done);
      onStep?.('applied');
      return applied;
    } finally {
      this.#driftCount += applier.driftCount;
      applier.close();
    }
  }

  #woken(): Promise<void> {
    return new Promise(resolve => this.#waiters.push(resolve));
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }
}

/** Sets the attributes of the directories touched and makes all changes to the tree durable. */
export async function flushTree(tree: TreeView, flush: Flush): Promise<void> {
  const way = flush.wayOf(tree.changeCount);
  const directories: ConfinedDirectory[] = [];
  try {
    for (const directory of tree.settle()) {
      if (way !== 'each') continue;
      directories.push(directory.retain());
      if (directories.length < flushesAtOnce) continue;
      await flush.each(directories, []);
      for (const one of directories.splice(0)) one.release();
    }
    await flush.each(directories, []);
  } finally {
    for (const one of directories) one.release();
  }
  if (way === 'all') await flush.all();
  if (way === 'each') await flushFiles(tree, flush);
}

async function flushFiles(tree: TreeView, flush: Flush): Promise<void> {
  const { changedFiles } = tree;
  for (let i = 0; i < changedFiles.length; i += flushesAtOnce) {
    const fds: number[] = [];
    try {
      for (const place of changedFiles.slice(i, i + flushesAtOnce)) {
        const fd = tree.openFile(place);
        if (fd !== undefined) fds.push(fd);
      }
      await flush.each([], fds);
    } finally {
      for (const fd of fds) fs.closeSync(fd);
    }
    tree.refresh();
  }
}

function settle(commits: readonly StagedCommit[], applied: Applied | undefined): void {
  for (const { onSettled } of commits) onSettled(applied);
}
