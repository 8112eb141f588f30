// A sender in this process, pushing once to a FakeReceiver.
import { join } from 'node:path';
import type { Connection } from '../../src/net/connection.ts';
import { memoryPair } from '../../src/net/memory-pair.ts';
import type { SenderEvent, SenderOutcome } from '../../src/sender/events.ts';
import { Sender } from '../../src/sender/sender.ts';
import { type SenderOptions, senderDefaults } from '../../src/sender/sender-options.ts';
import type { FakeReceiver } from './fake-receiver.ts';

/** Each connection is served by the fake receiver. */
export function connectTo(receiver: FakeReceiver): () => Promise<Connection> {
  return async () => {
    const [near, far] = memoryPair();
    receiver
      .serve(far)
      .catch((error: unknown) => far.close({ code: 'bug', message: String(error) }));
    return near;
  };
}

/** `--once` from `folder`/source, with the defaults of the command line. */
export function optionsFor(folder: string, changes: Partial<SenderOptions>): SenderOptions {
  return {
    ...senderDefaults,
    source: join(folder, 'source'),
    connect: () => Promise.reject(new Error('no receiver')),
    stateFolder: join(folder, 'state'),
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

export async function runOnce(
  options: SenderOptions,
): Promise<{ outcome: SenderOutcome; events: SenderEvent[] }> {
  const sender = await Sender.open(options);
  const events: SenderEvent[] = [];
  for await (const event of sender.run()) events.push(event);
  await sender.close();
  const last = events.at(-1);
  if (last?.kind !== 'end') throw new Error('no end event');
  return { outcome: last.outcome, events };
}
