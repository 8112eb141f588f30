// What a sender is told about what the replica holds, for agreeing.
import { listingEntriesMax, payloadSizeMax } from '../limits.ts';
import type { Connection } from '../net/connection.ts';
import type { NodeId, PlacedEntry } from '../snapshot/entry.ts';
import { decodeEntry } from '../snapshot/entry-codec.ts';
import type { Name } from '../snapshot/name.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import { MessageType } from '../wire/messages.ts';
import { turn } from './turn.ts';

/** Rows read from the store at a time. */
const pageMax = 1024;

/** Entries of one Listing in bytes: half a frame leaves room for the largest entry. */
const listingBytesMax = payloadSizeMax / 2;

interface ListingOptions {
  readonly store: ReplicaStore;
  readonly connection: Connection;
}

/** The answer to ListDigests. */
export async function sendDigests({ store, connection }: ListingOptions): Promise<void> {
  const type = MessageType.DirectoryDigests;
  let directories: { id: NodeId; digest: Buffer }[] = [];
  let after: { parent: NodeId; name: Name } | undefined;
  for (;;) {
    const rows = store.allNames({ after, limit: listingEntriesMax });
    for (const { parent, name, bytes } of rows) {
      // The root's own entry, the only one of parent 0, is left out.
      const id = parent as NodeId;
      const digest = store.digestOf(id, bytes);
      const last = directories.at(-1);
      if (last?.id === id) xor(last.digest, digest);
      else directories.push({ id, digest });
      after = { parent: id, name };
    }
    // The last one may go on in the next rows.
    if (rows.length < listingEntriesMax) break;
    const open = directories.pop();
    if (directories.length > 0) await connection.send({ type, last: false, directories });
    directories = open ? [open] : [];
    await turn();
  }
  await connection.send({ type, last: true, directories });
}

/** The answer to GetListing. */
export async function sendListing(
  { store, connection }: ListingOptions,
  ids: readonly NodeId[],
): Promise<void> {
  let entries: PlacedEntry[] = [];
  let bytes = 0;
  for (const parent of ids) {
    let after: Name | undefined;
    for (;;) {
      const rows = store.names(parent, { after, limit: pageMax });
      for (const row of rows) {
        const { name, entry } = decodeEntry(row.bytes);
        entries.push({ parent, name, entry });
        bytes += 6 + row.bytes.length;
        after = name;
        if (entries.length < listingEntriesMax && bytes < listingBytesMax) continue;
        await connection.send({ type: MessageType.Listing, last: false, entries });
        entries = [];
        bytes = 0;
      }
      if (rows.length < pageMax) break;
      await turn();
    }
  }
  await connection.send({ type: MessageType.Listing, last: true, entries });
}

function xor(target: Buffer, bytes: Buffer): void {
  for (let i = 0; i < target.length; i++) target[i] = (target[i] ?? 0) ^ (bytes[i] ?? 0);
}
