// At open: what a crash left behind is brought to an end, without a repair command.

import type { Log } from '../log.ts';
import type { NodeId } from '../snapshot/entry.ts';
import type { Name } from '../snapshot/name.ts';
import { Changes } from '../store/changes.ts';
import { type DirectoryRecord, keptParent } from '../store/receiver-records.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import { Applier, type CommitToApply } from './apply.ts';
import { flushTree } from './commit.ts';
import type { Alternative } from './directories.ts';
import type { Flush } from './flush.ts';
import type { Folders } from './folders.ts';
import type { Journal } from './journal.ts';
import { forgetKept } from './kept.ts';
import { limboName } from './limbo.ts';
import type { LocalAttributes } from './local-attributes.ts';
import { forgetOrphans } from './orphans.ts';
import { decodeSteps } from './steps.ts';
import { salvage } from './unfinished.ts';

/** Rows read at a time. */
const rowsMax = 1024;

export interface RecoverOptions {
  readonly folders: Folders;
  readonly store: ReplicaStore;
  readonly flush: Flush;
  readonly log: Log;
  readonly attributes: LocalAttributes;
  readonly nowMs: () => number;
  readonly journal: Journal;
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
  clearTemporary(options.folders);
  if (commits.length > 0) {
    log.info({ commits: commits.length }, 'finishing what an interruption left half done');
    await rollForward(options, commits);
  }
  salvage(options.folders);
  await adoptKept(options);
  await forgetOrphans(store, options.folders);
}

async function rollForward(
  options: RecoverOptions,
  commits: readonly CommitToApply[],
): Promise<void> {
  const { store, flush, journal } = options;
  const changes = new Changes(store);
  const moves = directoryMoves(commits, options.folders);
  const kept = keptDirectories(commits, options.folders);
  const times = fileTimes(commits);
  const applier = new Applier({
    ...options,
    changes,
    isReplay: true,
    made: madeDirectories(commits),
    timesOf: id => times.get(id),
    alternatives: (id, ino) => {
      const name = kept.get(ino);
      const places = moves.get(id) ?? [];
      return name ? [...places, { within: options.folders.kept, name }] : places;
    },
  });
  try {
    for (const { commit, steps } of commits) {
      if (commit > store.head.watermark) {
        const outline = journal.begin(steps, changes);
        const applied = await applier.apply({ commit, steps });
        journal.write([journal.commit(commit, outline.end(applied))]);
      }
      if (commit > changes.watermark) changes.watermark = commit;
      changes.endIntent(commit);
    }
    applier.verify();
    await flushTree(applier.tree, flush);
  } finally {
    applier.close();
  }
  await changes.write();
}

function madeDirectories(commits: readonly CommitToApply[]): Map<NodeId, DirectoryRecord> {
  const made = new Map<NodeId, DirectoryRecord>();
  for (const { steps } of commits) {
    for (const step of steps) {
      if (step.kind !== 'directory') continue;
      const { parent, name, entry, staged } = step;
      made.set(entry.id, { parent, name, ino: staged.ino });
    }
  }
  return made;
}

/** The times that the commits give to files, in µs, by node. */
function fileTimes(commits: readonly CommitToApply[]): Map<NodeId, Set<bigint>> {
  const times = new Map<NodeId, Set<bigint>>();
  for (const { steps } of commits) {
    for (const step of steps) {
      if (step.kind === 'remove' || step.entry.kind !== 'file') continue;
      const { id, mtimeNs } = step.entry;
      times.set(id, (times.get(id) ?? new Set()).add(mtimeNs / 1000n));
    }
  }
  return times;
}

/** Where the commits move directories to, and where they wait meanwhile. */
function directoryMoves(
  commits: readonly CommitToApply[],
  { limbo }: Folders,
): Map<NodeId, Alternative[]> {
  const moves = new Map<NodeId, Alternative[]>();
  for (const { commit, steps } of commits) {
    for (const step of steps) {
      if (step.kind !== 'rename' || step.entry.kind !== 'directory') continue;
      const { parent, name, entry } = step;
      const places = moves.get(entry.id) ?? [];
      places.push({ parent, name }, { within: limbo, name: limboName(commit, entry) });
      moves.set(entry.id, places);
    }
  }
  return moves;
}

/**
 * Directories that the commits moved to kept content already, by inode: the steps before that one
 * find them there.
 */
function keptDirectories(commits: readonly CommitToApply[], { kept }: Folders): Map<bigint, Name> {
  const found = new Map<bigint, Name>();
  const numbers = new Set(commits.map(({ commit }) => `${commit}`));
  for (const name of kept.list()) {
    if (!numbers.has(name.slice(0, name.indexOf('.')))) continue;
    const stats = kept.lstat(name);
    if (stats?.isDirectory()) found.set(stats.ino, name);
  }
  return found;
}

/** Names in limbo that are second names of files, made for one system call. */
function clearTemporary({ limbo }: Folders): void {
  for (const name of limbo.list()) {
    if (/\.(link|move|symlink)$/.test(name)) limbo.unlink(name);
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
  let after: Name | undefined;
  for (;;) {
    const rows = store.keptBelow(keptParent, { after, limit: rowsMax });
    for (const row of rows) {
      after = row.name;
      if (!names.has(row.name)) forgetKept(changes, row);
    }
    if (rows.length < rowsMax) break;
  }
  // A start on a full disk, which has nothing to note, succeeds.
  if (!changes.isEmpty) await changes.write();
}
