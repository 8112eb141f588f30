// Content that left the tree: replaced, deleted or drifted. It can be brought back for a while, and
// its blocks are used until then. Bounded by age and by a share of the free space.
import { systemCode } from '../errors.ts';
import type { Log } from '../log.ts';
import { type Name, printable, toName } from '../snapshot/name.ts';
import { Changes } from '../store/changes.ts';
import { removePlace } from '../store/file-places.ts';
import { type KeptRecord, keptParent } from '../store/receiver-records.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';
import type { Exclusive } from './exclusive.ts';
import type { Folders } from './folders.ts';
import { forgetOrphans } from './orphans.ts';
import { restampRest } from './restamp.ts';
import { turn } from './turn.ts';

/** Bytes of the original name that a name in kept content carries. */
const originalSizeMax = 200;

/** `<number>-<original name>`. */
export function keptName(number: string, original: Name): Name {
  return toName(`${number}-${original.slice(0, originalSizeMax)}`);
}

/** Something of which nothing is known becomes kept content. */
export function moveFromLimbo({ limbo, kept }: Folders, name: Name): void {
  let free = keptName('limbo', name);
  for (let i = 1; kept.lstat(free); i++) free = keptName(`limbo-${i}`, name);
  limbo.rename(name, kept, free);
}

export interface KeptOptions {
  readonly folders: Folders;
  readonly store: ReplicaStore;
  readonly exclusive: Exclusive;
  readonly log: Log;
  readonly keepMs: number;
  readonly nowMs: () => number;
}

/** Kept content may take this part of the free space: 1/10. */
const freeSpaceShare = 10n;
/** Rows looked at, and entries removed, before others get their turn. */
const rowsPerSlice = 1024;
const removalsPerSlice = 2048;
/** Ages are told apart this finely when room is made: some hundred numbers for a day. */
const ageUnitMs = 5 * 60 * 1000;
/** Deeper directories are removed in one go. */
const slicedDepthMax = 32;

type Row = { readonly name: Name; readonly record: KeptRecord };

/** Removes what is too old, and the oldest of what is too much; drift last. */
export async function cleanKept(options: KeptOptions): Promise<void> {
  const { nowMs, keepMs } = options;
  const bytesMax = Number(freeSpace(options.folders.kept) / freeSpaceShare);
  const ages = await countAges(options);
  const oldestMs = nowMs() - keepMs;
  const limits = limitsOf(ages, { bytesMax, oldestMs });
  if (limits === undefined) return;
  let after: Name | undefined;
  let removed = 0;
  for (;;) {
    const rows = options.store.keptBelow(keptParent, { after, limit: rowsPerSlice });
    for (const row of rows) {
      after = row.name;
      const limitMs = row.record.drift ? limits.driftMs : limits.oursMs;
      if (row.record.timeMs >= limitMs) continue;
      await removeKept(options, row);
      removed++;
    }
    if (rows.length < rowsPerSlice) break;
    await turn();
  }
  if (removed > 0) options.log.debug({ removed }, 'removed kept content');
}

interface Ages {
  /** Bytes by time, in units of ageUnitMs. */
  readonly ours: Map<number, number>;
  readonly drift: Map<number, number>;
}

async function countAges({ store }: KeptOptions): Promise<Ages> {
  const ages: Ages = { ours: new Map(), drift: new Map() };
  let after: Name | undefined;
  for (;;) {
    const rows = store.keptBelow(keptParent, { after, limit: rowsPerSlice });
    for (const { name, record } of rows) {
      const map = record.drift ? ages.drift : ages.ours;
      const unit = Math.floor(record.timeMs / ageUnitMs);
      map.set(unit, (map.get(unit) ?? 0) + record.bytes);
      after = name;
    }
    if (rows.length < rowsPerSlice) return ages;
    await turn();
  }
}

/** What is older goes; undefined if nothing has to. */
function limitsOf(
  { ours, drift }: Ages,
  { bytesMax, oldestMs }: { readonly bytesMax: number; readonly oldestMs: number },
): { readonly oursMs: number; readonly driftMs: number } | undefined {
  const driftBytes = sum(drift);
  const oursMs = Math.max(oldestMs, limitOf(ours, bytesMax - driftBytes));
  const driftMs = Math.max(oldestMs, limitOf(drift, bytesMax));
  const isAny = hasOlder(ours, oursMs) || hasOlder(drift, driftMs);
  return isAny ? { oursMs, driftMs } : undefined;
}

/** The time from which on no more than `bytesMax` were kept. */
function limitOf(ages: Map<number, number>, bytesMax: number): number {
  let bytes = 0;
  for (const unit of [...ages.keys()].sort((a, b) => b - a)) {
    bytes += ages.get(unit) ?? 0;
    if (bytes > bytesMax) return (unit + 1) * ageUnitMs;
  }
  return 0;
}

function sum(ages: Map<number, number>): number {
  let bytes = 0;
  for (const part of ages.values()) bytes += part;
  return bytes;
}

function hasOlder(ages: Map<number, number>, limitMs: number): boolean {
  for (const unit of ages.keys()) if (unit * ageUnitMs < limitMs) return true;
  return false;
}

function freeSpace(folder: ConfinedDirectory): bigint {
  const { bavail, bsize } = folder.statFileSystem();
  return bavail * bsize;
}

/** The content first, then its records: a record without content is harmless. */
async function removeKept(options: KeptOptions, row: Row): Promise<void> {
  const { exclusive, folders, store } = options;
  const { name, record } = row;
  const { kind, id, version } = record;
  const isFile = kind === 'file';
  const slice = { left: removalsPerSlice, depth: 0 };
  const isRemoved = (): boolean | undefined =>
    attempt(options, name, () => removeSome(folders.kept, name, { ...slice }));
  let isGone: boolean | undefined = isFile;
  while (!isGone) {
    isGone = isRemoved();
    if (isGone === undefined) return;
    if (!isGone) await turn();
  }
  await exclusive.run(async () => {
    // With its record: a commit in between would find its other names touched.
    if (isFile && isRemoved() === undefined) return;
    const changes = new Changes(store);
    forgetKept(changes, row);
    if (isFile && id !== 0) restampRest({ folders, changes }, { id, version });
    await changes.write();
    await forgetOrphans(store, folders);
  });
}

/** undefined, and a line in the log, if the system refuses. */
function attempt<T>({ log }: KeptOptions, name: Name, act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    log.warn({ name: printable(name), code }, 'cannot remove kept content');
    return undefined;
  }
}

/** The row of something that is not in the kept folder any more, and what it leads to. */
export function forgetKept(changes: Changes, { name, record }: Row): void {
  const { kind, id, version } = record;
  changes.setKept(keptParent, name, undefined);
  if (id === 0) return;
  const directory = changes.directory(id);
  if (kind === 'file') {
    removePlace(changes, { id, version }, { parent: keptParent, name });
  } else if (directory?.parent === keptParent && directory.name === name) {
    changes.setDirectory(id, undefined);
    changes.setOrphan(id, 'purged');
  }
}

/** Removes up to `budget.left` entries; true when nothing is left. */
function removeSome(
  parent: ConfinedDirectory,
  name: Name,
  budget: { left: number; depth: number },
): boolean {
  if (budget.depth > slicedDepthMax || !parent.lstat(name)?.isDirectory()) {
    parent.removeTree(name);
    budget.left--;
    return true;
  }
  const directory = parent.sub(name);
  budget.depth++;
  try {
    if ((directory.stat().mode & 0o700n) !== 0o700n) return removeLocked(parent, directory, name);
    for (const child of directory.list()) {
      if (budget.left <= 0 || !removeSome(directory, child, budget)) return false;
    }
  } finally {
    budget.depth--;
    directory.release();
  }
  parent.removeTree(name);
  budget.left--;
  return true;
}

/** Opened up, it can be listed by the next slice, through a descriptor of its own. */
function removeLocked(
  parent: ConfinedDirectory,
  directory: ConfinedDirectory,
  name: Name,
): boolean {
  directory.chmodSelf(0o700);
  return parent.lstat(name) === undefined;
}
