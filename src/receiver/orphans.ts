// Names below a directory that left the tree. Removing a large directory is one rename; what was
// recorded below it is forgotten afterwards, in bounded transactions that each leave the records
// and their digest consistent.
import { type NodeId, rootId } from '../snapshot/entry.ts';
import { decodeEntry } from '../snapshot/entry-codec.ts';
import { Changes } from '../store/changes.ts';
import { removePlace } from '../store/file-places.ts';
import { keptParent, type ParentId } from '../store/receiver-records.ts';
import type { NameRow, OrphanKind, ReplicaStore } from '../store/replica-store.ts';
import type { Folders } from './folders.ts';
import { restampRest } from './restamp.ts';

/** Names forgotten in one transaction: some megabytes of records at most. */
const batchMax = 2048;

/** Returns when no names are left below directories that are not in the tree. */
export async function forgetOrphans(store: ReplicaStore, folders: Folders): Promise<void> {
  for (let orphan = store.orphan(); orphan; orphan = store.orphan()) {
    if (orphan.kind === 'purged') {
      await forgetKeptBelow(store, folders, orphan.id);
      continue;
    }
    const changes = new Changes(store);
    const rows = store.names(orphan.id, { limit: batchMax });
    let bytes = 0;
    for (const row of rows) bytes += forgetName(changes, row, orphan.kind);
    if (rows.length < batchMax) changes.setOrphan(orphan.id, undefined);
    if (orphan.kind === 'lost') changes.setDirectory(orphan.id, undefined);
    else countKept(changes, orphan.id, bytes);
    await changes.write();
  }
}

function forgetName(changes: Changes, { parent, name, bytes }: NameRow, kind: OrphanKind): number {
  const { entry } = decodeEntry(bytes);
  changes.deleteEntry(parent, name);
  if (entry.kind === 'directory') changes.setOrphan(entry.id, kind);
  if (kind === 'lost') {
    if (entry.kind === 'file') removePlace(changes, entry, { parent, name });
    return 0;
  }
  const { id, version } = entry;
  const record = { kind: entry.kind, id, version, drift: false, timeMs: 0, bytes: 0 };
  changes.setKept(parent, name, record);
  return entry.size;
}

async function forgetKeptBelow(
  store: ReplicaStore,
  folders: Folders,
  parent: NodeId,
): Promise<void> {
  const changes = new Changes(store);
  const rows = store.keptBelow(parent, { limit: batchMax });
  for (const { name, record } of rows) {
    changes.setKept(parent, name, undefined);
    if (record.id === 0) continue;
    if (record.kind === 'file') {
      const file = { id: record.id, version: record.version };
      removePlace(changes, file, { parent, name });
      restampRest({ folders, changes }, file);
      continue;
    }
    const directory = changes.directory(record.id);
    if (directory?.parent !== parent || directory.name !== name) continue;
    changes.setDirectory(record.id, undefined);
    changes.setOrphan(record.id, 'purged');
  }
  if (rows.length < batchMax) changes.setOrphan(parent, undefined);
  await changes.write();
}

/** Adds to the size of the kept directory that `id` is, or is below of. */
function countKept(changes: Changes, id: NodeId, bytes: number): void {
  let at: ParentId = id;
  while (at !== rootId && at !== keptParent) {
    const record = changes.directory(at);
    if (!record) return;
    at = record.parent;
    if (at !== keptParent) continue;
    const kept = changes.kept(keptParent, record.name);
    if (kept) changes.setKept(keptParent, record.name, { ...kept, bytes: kept.bytes + bytes });
  }
}
