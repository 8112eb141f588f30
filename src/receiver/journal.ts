// Notes what commits did, for people who ask later (`replica log`). Costs a commit no flush, and
// its failure costs nothing but the note.
import { systemCode } from '../errors.ts';
import { depthMax } from '../limits.ts';
import type { Log } from '../log.ts';
import { type NodeId, rootId } from '../snapshot/entry.ts';
import type { Changes } from '../store/changes.ts';
import { CommitLog, type LoggedCommit, type LoggedOperation } from '../store/commit-log.ts';
import type { Applied } from './apply.ts';
import type { Step } from './steps.ts';

export interface JournalOptions {
  /** The state folder. */
  readonly folder: string;
  readonly epoch: Buffer;
  readonly log: Log;
  readonly nowMs: () => number;
}

type Directories = Pick<Changes, 'directory'>;

export class Journal {
  readonly #options: JournalOptions;
  readonly #file: CommitLog;
  #isFailing = false;

  constructor(options: JournalOptions) {
    this.#options = options;
    this.#file = new CommitLog(options.folder);
  }

  /** Before the commit is applied: what it removes has no path afterwards. */
  begin(steps: readonly Step[], changes: Directories): Outline {
    return new Outline(steps, changes);
  }

  /** Once it is applied. Never throws for want of room or permission. */
  write(commits: readonly LoggedCommit[]): void {
    try {
      this.#file.append(commits);
      this.#isFailing = false;
    } catch (error) {
      const code = systemCode(error);
      if (code === undefined) throw error;
      if (this.#isFailing) return;
      this.#isFailing = true;
      this.#options.log.warn(
        { code },
        `what is done now will be missing in 'replica log' (${code})`,
      );
    }
  }

  commit(commit: bigint, operations: readonly LoggedOperation[]): LoggedCommit {
    const { epoch, nowMs } = this.#options;
    return {
      epoch: epoch.toString('hex', 0, 4),
      commit: Number(commit),
      timeMs: nowMs(),
      operations,
      more: 0,
    };
  }

  close(): void {
    this.#file.close();
  }
}

/** One commit, from before it is applied to after. */
class Outline {
  readonly #steps: readonly Step[];
  readonly #changes: Directories;
  readonly #leaving = new Map<number, string>();

  constructor(steps: readonly Step[], changes: Directories) {
    this.#steps = steps;
    this.#changes = changes;
    const paths = new Paths(changes);
    for (const step of steps) {
      if (step.kind === 'remove') this.#leaving.set(step.index, paths.of(step.parent, step.name));
      if (step.kind !== 'rename') continue;
      this.#leaving.set(step.index, paths.of(step.fromParent, step.fromName));
    }
  }

  /** What was carried out. */
  end({ rejections }: Pick<Applied, 'rejections'>): LoggedOperation[] {
    const rejected = new Set(rejections.map(({ index }) => index));
    const paths = new Paths(this.#changes);
    const operations: LoggedOperation[] = [];
    for (const step of this.#steps) {
      if (!rejected.has(step.index)) operations.push(this.#operation(step, paths));
    }
    return operations;
  }

  #operation(step: Step, paths: Paths): LoggedOperation {
    const { kind } = step;
    const before = this.#leaving.get(step.index) ?? '';
    if (kind === 'remove') return { kind, path: before };
    if (kind === 'attributes' && step.parent === 0) return { kind, path: '' };
    // Attributes without a name were the root's.
    const path = paths.of(step.parent as NodeId, step.name);
    if (kind === 'rename') return { kind, path, from: before };
    return kind === 'file' ? { kind, path, size: step.entry.size } : { kind, path };
  }
}

/** Of directories, each looked up once. */
class Paths {
  readonly #changes: Directories;
  readonly #prefixes = new Map<NodeId, string>([[rootId, '']]);

  constructor(changes: Directories) {
    this.#changes = changes;
  }

  of(parent: NodeId, name: string): string {
    return this.#prefix(parent, 0) + name;
  }

  #prefix(id: NodeId, depth: number): string {
    const known = this.#prefixes.get(id);
    if (known !== undefined) return known;
    const record = this.#changes.directory(id);
    const isLost = record === undefined || record.parent === 0 || depth > depthMax;
    const above = isLost ? '?/' : this.#prefix(record.parent as NodeId, depth + 1); // No kept one.
    const prefix = isLost ? above : `${above}${record.name}/`;
    this.#prefixes.set(id, prefix);
    return prefix;
  }
}
