// Whether any entry of the records has, or had, extended attributes: what cannot set them must not
// be loaded otherwise, and peers that do not know them would not understand the records.
import type { ReplicaStore } from './replica-store.ts';

const key = Buffer.from('xattrs');

export function hasXattrsMark({ database }: Pick<ReplicaStore, 'database'>): boolean {
  return database.tables.meta.get(key) !== undefined;
}

/** Durable before the first entry that has some. */
export async function setXattrsMark({ database }: Pick<ReplicaStore, 'database'>): Promise<void> {
  await database.write(() => {
    database.put('meta', key, Buffer.from([1]));
  });
}
