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
import { stagingSliceMs } from '../limits.ts';
import type { Changes } from '../store/changes.ts';
import type { Place } from '../store/receiver-records.ts';
import type { Lost, Rejected } from '../wire/messages.ts';
import { Aside } from './aside.ts';
import { KnownNodes } from './known-nodes.ts';
import { NewNodes } from './new-nodes.ts';
import { fatalMessage, Rejection, refusal } from './rejection.ts';
import type { Step } from './steps.ts';
import { type ApplyOptions, TreeView } from './tree-view.ts';
import { turn } from './turn.ts';

export interface CommitToApply {
  readonly commit: bigint;
  readonly steps: readonly Step[];
}

export interface Applied {
  readonly rejections: readonly Omit<Rejected, 'type' | 'commit'>[];
  readonly lost: Lost['entries'];
}

/** One group of commits that are made durable together. */
export class Applier {
  readonly tree: TreeView;
  readonly #options: ApplyOptions;
  readonly #changes: Changes;
  readonly #aside: Aside;
  readonly #newNodes: NewNodes;
  readonly #knownNodes: KnownNodes;
  /** Names of rejected steps, which a replay may have rejected because they were done. */
  readonly #rejected: Place[] = [];

  constructor(options: ApplyOptions) {
    this.#options = options;
    this.#changes = options.changes;
    this.tree = new TreeView(options);
    this.#aside = new Aside(this.tree);
    this.#newNodes = new NewNodes(this.tree, this.#aside);
    this.#knownNodes = new KnownNodes(this.tree, this.#aside);
  }

  get driftCount(): number {
    return this.#aside.drift.count;
  }

  /** Everything of the commit, in order. Throws only what ends the session. One at a time. */
  async apply({ commit, steps }: CommitToApply): Promise<Applied> {
    this.#aside.begin(commit, steps);
    this.#newNodes.begin();
    this.#knownNodes.begin(commit, steps);
    const rejections: Omit<Rejected, 'type' | 'commit'>[] = [];
    let sliceEndMs = performance.now() + stagingSliceMs;
    for (const step of steps) {
      const rejection = this.#attempt(step);
      if (rejection) rejections.push({ index: step.index, ...rejection });
      this.tree.refresh();
      // A step may have to compare the whole content of a file: others get their turn.
      if (performance.now() < sliceEndMs) continue;
      await turn();
      sliceEndMs = performance.now() + stagingSliceMs;
    }
    this.#options.onStep?.('end');
    this.#aside.end();
    this.tree.refresh();
    return { rejections, lost: this.#aside.drift.lost };
  }

  #attempt(step: Step): Omit<Rejected, 'type' | 'commit' | 'index'> | undefined {
    this.#options.onStep?.(`${step.kind} ${step.index}`);
    this.#aside.beginStep(step);
    try {
      this.#apply(step);
      return undefined;
    } catch (error) {
      if (fatalMessage(error)) throw error;
      const path = step.name === '' ? '.' : this.tree.path(step.parent, step.name);
      const rejection = error instanceof Rejection ? error : refusal(error, path);
      if (!rejection) throw error;
      // So that a replay does not take it for a step still to be done.
      if ('staged' in step) this.#newNodes.drop(step.staged);
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
        this.#newNodes.file(step);
        break;
      case 'directory':
        if (this.#newNodes.directory(step) === 'known') this.#knownNodes.attributes(step);
        break;
      case 'link':
        this.#newNodes.link(step);
        break;
      case 'hardlink':
        this.#knownNodes.hardlink(step);
        break;
      case 'rename':
        this.#knownNodes.rename(step);
        break;
      case 'remove':
        this.#knownNodes.remove(step);
        break;
      case 'attributes':
        this.#knownNodes.attributes(step);
    }
  }

  /** After a replay: empties limbo and forgets what is not as the steps should have left it. */
  verify(): void {
    this.#aside.limbo.clear();
    const places = [...this.#changes.changedNames(), ...this.#rejected];
    for (const { parent, name } of places) {
      const entry = this.#changes.entry(parent, name);
      if (!entry) continue;
      const resolution = this.tree.resolve(parent);
      if (resolution.kind === 'open') {
        if (resolution.isKept) continue;
        const { directory } = resolution;
        const now = directory.lstat(name);
        if (now && this.tree.isReplayed(directory, name, entry, now)) continue;
      }
      this.#options.log.debug({ path: this.tree.path(parent, name) }, 'left undone by a crash');
      this.#aside.records.forget({ parent, name }, entry);
    }
    this.tree.refresh();
  }

  close(): void {
    this.tree.close();
  }
}
