// How many bytes of files a replica's records speak of, each name of a file counted.
import type { Entry } from '../snapshot/entry.ts';
import { decodeEntry } from '../snapshot/entry-codec.ts';
import type { Name } from '../snapshot/name.ts';
import type { ParentId } from './receiver-records.ts';
import type { ReplicaStore } from './replica-store.ts';

const rowsMax = 1024;

/** Reads every record, about 1 µs each. */
export function countContent(store: Pick<ReplicaStore, 'allNames'>): number {
  let bytes = 0;
  let after: { parent: ParentId; name: Name } | undefined;
  for (;;) {
    const rows = store.allNames({ after, limit: rowsMax });
    for (const row of rows) bytes += contentSize(decodeEntry(row.bytes, { root: true }).entry);
    after = rows.at(-1);
    if (rows.length < rowsMax) return bytes;
  }
}

export function contentSize(entry: Entry | undefined): number {
  return entry?.kind === 'file' ? entry.size : 0;
}
