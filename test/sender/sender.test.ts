import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { silentLog } from '../../src/log.ts';
import { type Connection, memoryPair } from '../../src/net/connection.ts';
import type { SenderEvent, SenderOutcome } from '../../src/sender/events.ts';
import { Sender, type SenderOptions } from '../../src/sender/sender.ts';
import { rootId } from '../../src/snapshot/entry.ts';
import { defaultMaxDelete } from '../../src/snapshot/guard.ts';
import { FakeReceiver } from '../support/fake-receiver.ts';
import { readModelTree } from '../support/model-tree.ts';
import { fillTree, mutate } from '../support/mutate.ts';
import { randomBytes, seededRandom } from '../support/random.ts';

type TestContext = Parameters<Parameters<typeof t.test>[0]>[0];

function connectTo(receiver: FakeReceiver): () => Promise<Connection> {
  return async () => {
    const [near, far] = memoryPair();
    receiver
      .serve(far)
      .catch((error: unknown) => far.close({ code: 'bug', message: String(error) }));
    return near;
  };
}

function optionsFor(folder: string, changes: Partial<SenderOptions>): SenderOptions {
  return {
    source: join(folder, 'source'),
    connect: () => Promise.reject(new Error('no receiver')),
    stateFolder: join(folder, 'state'),
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
    checksum: false,
    timeoutMs: 5000,
    takeOver: false,
    log: silentLog,
    signal: new AbortController().signal,
    ...changes,
  };
}

async function runOnce(
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

function sameTrees(t: TestContext, receiver: FakeReceiver, root: string): void {
  const sorted = (tree: Map<string, string>): [string, string][] =>
    [...tree].sort(([a], [b]) => (a < b ? -1 : 1));
  t.strictSame(sorted(receiver.model.tree()), sorted(readModelTree(root)));
  const visit = (id: typeof rootId, path: Buffer): void => {
    for (const [name, entry] of receiver.model.names.get(id) ?? []) {
      const at = Buffer.concat([path, Buffer.from('/'), Buffer.from(name, 'latin1')]);
      if (entry.kind === 'directory') visit(entry.id, at);
      if (entry.kind !== 'file') continue;
      if (!receiver.content(entry.id).equals(fs.readFileSync(at))) t.fail(`content of ${at}`);
    }
  };
  visit(rootId, Buffer.from(root));
}

t.test('pushes random trees once after once, and nothing when nothing changed', async t => {
  for (let seed = 1; seed <= 4; seed++) {
    const folder = t.testdir();
    const random = seededRandom(seed);
    const receiver = new FakeReceiver();
    const options = optionsFor(folder, { connect: connectTo(receiver) });
    fillTree(options.source, random, 40);
    fs.writeFileSync(join(options.source, 'large'), randomBytes(random, 6_000_000));
    for (let round = 0; round < 5; round++) {
      const { outcome } = await runOnce(options);
      t.match(
        outcome,
        { inSync: true, problems: 0, error: undefined },
        `seed ${seed} round ${round}`,
      );
      sameTrees(t, receiver, options.source);
      for (let i = 0; i < 15; i++) mutate(options.source, random);
    }
    await runOnce(options);
    const before = receiver.operationCount;
    const { events } = await runOnce(options);
    t.equal(receiver.operationCount, before, 'a second pass does no operation');
    t.notOk(
      events.some(event => event.kind === 'reconciling'),
      'in sync without reconciling',
    );
    fs.rmSync(options.stateFolder, { recursive: true });
    const again = await runOnce(options);
    t.ok(again.events.some(event => event.kind === 'reconciling'));
    t.equal(receiver.operationCount, before + 1, 'lost state costs names and stats: only the root');
  }
});
