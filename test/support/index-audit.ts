// What in a receiver's closed state leads nowhere: entries of the index, records of files.
import fs from 'node:fs';
import { join } from 'node:path';
import { type NodeId, rootId } from '../../src/snapshot/entry.ts';
import { decodeEntry } from '../../src/snapshot/entry-codec.ts';
import {
  decodeFileKey,
  decodeHints,
  decodeKept,
  type FileRecord,
  fileKey,
  sameLocalStamp,
  stampOf,
} from '../../src/store/receiver-records.ts';
import { ReplicaStore } from '../../src/store/replica-store.ts';

export interface IndexAudit {
  readonly files: number;
  readonly blocks: number;
  readonly faults: readonly string[];
}

export async function auditIndex(root: string): Promise<IndexAudit> {
  const folder = join(root, '.replica', 'state');
  const store = await ReplicaStore.open({ folder, durable: false });
  if (!store) throw new Error(`no state in ${folder}`);
  try {
    const found = audit(store);
    return { ...found, faults: [...found.faults, ...stampFaults(store, root)] };
  } finally {
    await store.close();
  }
}

function audit(store: ReplicaStore): IndexAudit {
  const { names, kept, files, blocks } = store.database.tables;
  const named = new Set<string>();
  for (const { value } of names.getRange({})) {
    const { entry } = decodeEntry(value, { root: true });
    named.add(`${entry.id}.${entry.version}`);
  }
  for (const { value } of kept.getRange({})) {
    const { id, version } = decodeKept(value);
    named.add(`${id}.${version}`);
  }
  const faults: string[] = [];
  let fileCount = 0;
  for (const key of files.getKeys({})) {
    const { id, version } = decodeFileKey(key);
    fileCount++;
    if (!named.has(`${id}.${version}`)) faults.push(`file ${id} version ${version} has no name`);
  }
  let blockCount = 0;
  for (const { key, value } of blocks.getRange({})) {
    blockCount++;
    const hints = decodeHints(value);
    const ids = new Set(hints.map(hint => hint.id));
    if (ids.size !== hints.length) faults.push(`block ${key.toString('hex')}: one file twice`);
    for (const id of ids) {
      const lists = versionsOf(store, id).map(version => store.file(id, version)?.list);
      const isThere = lists.some(list => {
        for (let i = 0; list && i < list.count; i++) {
          if (list.idAt(i).subarray(0, 8).equals(key)) return true;
        }
        return false;
      });
      if (!isThere) faults.push(`block ${key.toString('hex')} is not in file ${id}`);
    }
  }
  return { files: fileCount, blocks: blockCount, faults };
}

/** All of them: the store itself looks at the newest only. */
function versionsOf(store: ReplicaStore, id: NodeId): number[] {
  const end = fileKey((id + 1) as NodeId, 0); // The next id.
  const keys = store.database.tables.files.getKeys({ start: fileKey(id, 0), end });
  return [...keys].map(key => decodeFileKey(key).version);
}

/** Files of the tree whose stamp is not what was recorded: they would be taken for drift. */
function stampFaults(store: ReplicaStore, root: string): string[] {
  const faults: string[] = [];
  for (const key of store.database.tables.files.getKeys({})) {
    const { id, version } = decodeFileKey(key);
    const record = store.file(id, version);
    if (!record) continue;
    for (const place of record.places) {
      const path = pathOf(store, root, place);
      const now = path && fs.lstatSync(path, { bigint: true, throwIfNoEntry: false });
      if (!now || sameLocalStamp(stampOf(now), record.stamp)) continue;
      faults.push(`file ${id} version ${version} has another stamp at ${path}`);
    }
  }
  return faults;
}

/** undefined: in kept content. */
function pathOf(
  store: ReplicaStore,
  root: string,
  { parent, name }: FileRecord['places'][number],
): Buffer | undefined {
  const names: string[] = [name];
  for (let id = parent; id !== rootId; ) {
    const directory = id === 0 ? undefined : store.directory(id);
    if (!directory) return undefined;
    names.unshift(directory.name);
    id = directory.parent;
  }
  return Buffer.concat([Buffer.from(`${root}/`), Buffer.from(names.join('/'), 'latin1')]);
}
