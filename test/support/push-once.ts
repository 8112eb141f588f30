// One `--once` of the real sender into a receiver in this process.
import { join } from 'node:path';
import { silentLog } from '../../src/log.ts';
import { memoryPair } from '../../src/net/memory-pair.ts';
import type { Receiver } from '../../src/receiver/receiver.ts';
import type { SenderEvent, SenderOutcome } from '../../src/sender/events.ts';
import { Sender } from '../../src/sender/sender.ts';
import type { SenderOptions } from '../../src/sender/sender-options.ts';
import { defaultMaxDelete } from '../../src/snapshot/guard.ts';

export interface Pushed {
  readonly outcome: SenderOutcome;
  readonly events: readonly SenderEvent[];
  /** Bytes of content in all commits. */
  readonly sentBytes: number;
  readonly operations: number;
}

export function senderOptions(
  push: { readonly folder: string; readonly source: string; readonly receiver: Receiver },
  changes: Partial<SenderOptions> = {},
): SenderOptions {
  return {
    source: push.source,
    connect: async () => {
      const [near, far] = memoryPair();
      void push.receiver.serve(far);
      return near;
    },
    stateFolder: join(push.folder, 'sender-state'),
    sourceId: Buffer.alloc(16, 1),
    label: 'test:/source',
    intervalMs: 50,
    once: true,
    dryRun: false,
    paths: [],
    exclude: [],
    delete: true,
    deleteExcluded: false,
    maxDelete: defaultMaxDelete,
    acceptDeletes: false,
    scanJobs: 'auto',
    cpuShare: 0.1,
    cpuMs: () => 0,
    checksum: false,
    timeoutMs: 5000,
    takeOver: false,
    log: silentLog,
    signal: new AbortController().signal,
    ...changes,
  };
}

export async function pushOnce(
  push: { readonly folder: string; readonly source: string; readonly receiver: Receiver },
  changes: Partial<SenderOptions> = {},
): Promise<Pushed> {
  const sender = await Sender.open(senderOptions(push, changes));
  const events: SenderEvent[] = [];
  for await (const event of sender.run()) events.push(event);
  await sender.close();
  const last = events.at(-1);
  if (last?.kind !== 'end') throw new Error('no end event');
  let sentBytes = 0;
  let operations = 0;
  for (const event of events) {
    if (event.kind !== 'commit') continue;
    sentBytes += event.bytesSent;
    operations += event.operations;
  }
  return { outcome: last.outcome, events, sentBytes, operations };
}
