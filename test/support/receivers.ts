// Receivers with everything at its default, for tests.
import type { Log } from '../../src/log.ts';
import { silentLog } from '../../src/log.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import type { ReceiverOptions } from '../../src/receiver/receiver-options.ts';
import type { PlacedEntry } from '../../src/snapshot/entry.ts';
import { MessageType } from '../../src/wire/messages.ts';
import type { FakeSender } from './fake-sender.ts';
import { describe } from './operation-model.ts';

export const receiverDefaults = {
  adopt: false,
  takeOver: false,
  fsync: 'batch',
  keepMs: 24 * 3600 * 1000,
  specialBits: false,
  log: silentLog,
} as const;

/** `teardown` is a test's; the receiver is closed with it. */
export async function openReceiver(
  test: { teardown: (act: () => Promise<void>) => void },
  options: Partial<ReceiverOptions> & { readonly root: string },
): Promise<Receiver> {
  const receiver = await Receiver.open({ ...receiverDefaults, ...options });
  test.teardown(() => receiver.close());
  return receiver;
}

/** Everything the receiver says it has, by its digests and listings. */
export async function listAll(sender: FakeSender): Promise<string[]> {
  const entries = await listEntries(sender);
  return entries.map(({ parent, name, entry }) => describe(parent, name, entry));
}

export async function listEntries(sender: FakeSender): Promise<readonly PlacedEntry[]> {
  const { connection } = sender;
  await connection.send({ type: MessageType.ListDigests });
  const ids: number[] = [];
  for (;;) {
    const page = await sender.next(MessageType.DirectoryDigests);
    ids.push(...page.directories.map(one => one.id));
    if (page.last) break;
  }
  const entries: PlacedEntry[] = [];
  if (ids.length === 0) return entries;
  // As given by the receiver itself.
  await connection.send({ type: MessageType.GetListing, ids: ids as never });
  for (;;) {
    const page = await sender.next(MessageType.Listing);
    entries.push(...page.entries);
    if (page.last) return entries;
  }
}

/** Collects what is logged, for tests that look for a line. */
export function collectingLog(): { readonly log: Log; readonly lines: string[] } {
  const lines: string[] = [];
  const add = (level: string) => (fields: object, message: string) => {
    const text = JSON.stringify(fields, (_key, value) =>
      value instanceof Error ? String(value.stack) : value,
    );
    lines.push(`${level} ${message} ${text}`);
  };
  return {
    lines,
    log: { debug: add('debug'), info: add('info'), warn: add('warn'), error: add('error') },
  };
}
