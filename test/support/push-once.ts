// The real sender into a receiver in this process: one `--once`, or until the test is over.
import { join } from 'node:path';
import { memoryPair } from '../../src/net/memory-pair.ts';
import type { Receiver } from '../../src/receiver/receiver.ts';
import type { SenderEvent, SenderOutcome } from '../../src/sender/events.ts';
import { Sender } from '../../src/sender/sender.ts';
import { type SenderOptions, senderDefaults } from '../../src/sender/sender-options.ts';

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
    ...senderDefaults,
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
    cpuMs: () => 0,
    timeoutMs: 5000,
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

/** A sender that runs until the test is over; `events` gets what it tells. */
export async function runUntilTeardown(
  test: { teardown: (act: () => Promise<void>) => void },
  options: SenderOptions,
  events: SenderEvent[] = [],
): Promise<Sender> {
  const stop = new AbortController();
  const sender = await Sender.open({ ...options, signal: stop.signal });
  const running = (async () => {
    for await (const event of sender.run()) events.push(event);
  })();
  test.teardown(async () => {
    stop.abort();
    await running;
    await sender.close();
  });
  return sender;
}
