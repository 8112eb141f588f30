// What in a receiver's closed state leads nowhere: entries of the index, records of files.
import { join } from 'node:path';
import { decodeEntry } from '../../src/snapshot/entry-codec.ts';
import { decodeFileKey, decodeHints, decodeKept } from '../../src/store/receiver-records.ts';
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
    return audit(store);
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
      const lists = store.versions(id).map(version => store.file(id, version)?.list);
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
