// At open: what a crash left behind is brought to an end, without a repair command.
import { systemCode } from '../errors.ts';
import type { Log } from '../log.ts';
import type { NodeId } from '../snapshot/entry.ts';
import { Changes } from '../store/changes.ts';
import { keptParent, type Place } from '../store/receiver-records.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import { Applier, type CommitToApply } from './apply.ts';
import { flushTree } from './commit.ts';
import type { Flush } from './flush.ts';
import type { Folders } from './folders.ts';
import { forgetOrphans } from './orphans.ts';
import { decodeSteps } from './steps.ts';

export interface RecoverOptions {
  readonly folders: Folders;
  readonly store: ReplicaStore;
  readonly flush: Flush;
  readonly log: Log;
  readonly specialBits: boolean;
  readonly nowMs: () => number;
  readonly onStep?: ((label: string) => void) | undefined;
}

/**
 * Commits whose intents are durable are rolled forward: what is done is recognised, the rest is
 * done now. May be interrupted and repeated at any point.
 */
export async function recover(options: RecoverOptions): Promise<void> {
  const { store, log } = options;
  const commits = store.intents().map(({ commit, bytes }) => ({
    commit,
    steps: decodeSteps(bytes),
  }));
  if (commits.length > 0) {
    log.info({ commits: commits.length }, 'finishing what an interruption left half done');
    await rollForward(options, commits);
  }
  clear(options);
  await adoptKept(options);
  await forgetOrphans(store);
}

async function rollForward(
  options: RecoverOptions,
  commits: readonly CommitToApply[],
): Promise<void> {
  const { store, flush } = options;
  const changes = new Changes(store);
  const moves = directoryMoves(commits);
  const applier = new Applier({
    ...options,
    changes,
    isReplay: true,
    alternatives: id => moves.get(id) ?? [],
  });
  try {
    for (const { commit, steps } of commits) {
      if (commit > store.head.watermark) applier.apply({ commit, steps });
      if (commit > changes.watermark) changes.watermark = commit;
      changes.endIntent(commit);
    }
    applier.verify();
    await flushTree(applier, flush);
  } finally {
    applier.close();
  }
  await store.write(changes.rows(), changes.head);
}

/** Where the commits move directories to. */
function directoryMoves(commits: readonly CommitToApply[]): Map<NodeId, Place[]> {
  const moves = new Map<NodeId, Place[]>();
  for (const { steps } of commits) {
    for (const step of steps) {
      if (step.kind !== 'rename' || step.entry.kind !== 'directory') continue;
      const { parent, name, entry } = step;
      const places = moves.get(entry.id) ?? [];
      moves.set(entry.id, [...places, { parent, name }]);
    }
  }
  return moves;
}

/** Staged files that belong to nothing, and names in limbo whose content has other names. */
function clear({ folders, log }: RecoverOptions): void {
  const { staging, limbo, kept } = folders;
  for (const name of staging.list()) staging.removeTree(name);
  for (const name of limbo.list()) {
    const stats = limbo.lstat(name);
    if (!stats) continue;
    if (stats.isSymbolicLink() || (stats.isFile() && stats.nlink > 1n)) {
      limbo.unlink(name);
      continue;
    }
    try {
      limbo.rename(name, kept, name);
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      log.warn({ name, code: systemCode(error) }, 'cannot move content to the kept folder');
    }
  }
}

/** Kept content without a record gets one; a record without content goes. */
async function adoptKept({ folders, store, nowMs }: RecoverOptions): Promise<void> {
  const { kept } = folders;
  const names = new Set(kept.list());
  const changes = new Changes(store);
  for (const name of names) {
    if (store.kept(keptParent, name)) continue;
    const stats = kept.lstat(name);
    const bytes = stats ? Number(stats.blocks) * 512 : 0;
    const record = { id: 0, version: 0, drift: true, timeMs: nowMs(), bytes } as const;
    changes.setKept(keptParent, name, { kind: 'foreign', ...record });
  }
  await store.write(changes.rows(), changes.head);
}
