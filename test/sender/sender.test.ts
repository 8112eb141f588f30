import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Receiver } from '../../src/receiver/receiver.ts';
import { rootId } from '../../src/snapshot/entry.ts';
import { connectTo, optionsFor, runOnce } from '../support/fake-push.ts';
import { FakeReceiver } from '../support/fake-receiver.ts';
import { readModelTree } from '../support/model-tree.ts';
import { fillTree, mutate } from '../support/mutate.ts';
import { pushOnce } from '../support/push-once.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { receiverDefaults } from '../support/receivers.ts';
import { ownSeeds } from '../support/seeds.ts';

type TestContext = Parameters<Parameters<typeof t.test>[0]>[0];

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
  for (const seed of ownSeeds(2)) {
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

t.test('--once reads a renamed file before it calls it equal', async t => {
  const folder = t.testdir({ source: { old: 'content' }, target: {} });
  const source = join(folder, 'source');
  const root = join(folder, 'target');
  const receiver = await Receiver.open({ ...receiverDefaults, root, fsync: 'off' });
  t.teardown(() => receiver.close());
  const age = () => fs.utimesSync(join(source, 'old'), 1_600_000_000, 1_600_000_000);
  age();
  await pushOnce({ folder, source, receiver });
  // The same inode, size and time: taken for a rename alone.
  fs.writeFileSync(join(source, 'old'), 'CONTENT');
  age();
  fs.renameSync(join(source, 'old'), join(source, 'new'));
  const { outcome } = await pushOnce({ folder, source, receiver });
  t.ok(outcome.inSync);
  t.equal(fs.readFileSync(join(root, 'new'), 'utf8'), 'CONTENT');
});
