// Numbers that only go up: a peer that takes the last one must not leave the others without.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { nodeIdMax } from '../../src/snapshot/entry.ts';
import { FakeSender, rootId } from '../support/fake-sender.ts';
import { nodeId } from '../support/messages.ts';
import { pushOnce } from '../support/push-once.ts';
import { openReceiver } from '../support/receivers.ts';
import { compareTrees } from '../support/tree.ts';

for (const id of [nodeIdMax, nodeIdMax - 1, 2 ** 40 + 2]) {
  t.test(`node id ${id} ends the connection, and the next sender has ids left`, async t => {
    const root = t.testdir();
    const receiver = await openReceiver(t, { root });
    const sender = await FakeSender.open(receiver);
    const file = sender.file(rootId, 'a', 'a', { id: nodeId(id) });
    await t.rejects(sender.commit([file]), /far beyond the next one/);
    await sender.close();
    const next = await FakeSender.open(receiver);
    t.equal(next.welcome?.nextId, 2);
    t.strictSame(await next.commit([next.file(rootId, 'a', 'a')]), { rejected: [], lost: [] });
    await next.close();
  });
}

t.test('the last version of a file is followed by the first of another node', async t => {
  const folder = t.testdir({ source: { a: 'of the owner' }, target: {} });
  const [source, root] = [join(folder, 'source'), join(folder, 'target')];
  const receiver = await openReceiver(t, { root });
  const sender = await FakeSender.open(receiver);
  const version = 2 ** 32 - 1;
  await sender.commit([sender.file(rootId, 'a', 'hostile', { version })]);
  await sender.close();
  for (const content of [undefined, 'edited']) {
    if (content !== undefined) fs.writeFileSync(join(source, 'a'), content);
    const { outcome } = await pushOnce({ folder, source, receiver });
    t.match(outcome, { inSync: true, problems: 0, error: undefined });
    t.strictSame(compareTrees(source, root), []);
  }
});
