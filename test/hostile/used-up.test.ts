// Numbers that only go up: a peer that takes the last one must not leave the others without.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { idsPerSecondMax, idsSkippedMax } from '../../src/limits.ts';
import { IdAllowance } from '../../src/receiver/id-allowance.ts';
import { nodeIdMax } from '../../src/snapshot/entry.ts';
import { FakeSender, rootId } from '../support/fake-sender.ts';
import { nodeId } from '../support/messages.ts';
import { pushOnce } from '../support/push-once.ts';
import { openReceiver } from '../support/receivers.ts';
import { compareTrees } from '../support/tree.ts';

for (const id of [nodeIdMax, nodeIdMax - 1, 2 ** 32 + 2]) {
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

t.test('however often a sender connects it cannot use the node ids up', async t => {
  const receiver = await openReceiver(t, { root: t.testdir() });
  const reached: number[] = [];
  for (let i = 0; i < 130; i++) {
    const sender = await FakeSender.open(receiver);
    const id = sender.nextId + 2 ** 31;
    reached.push(sender.nextId);
    await sender.commit([sender.file(rootId, `f${i}`, 'a', { id: nodeId(id) })]).catch(() => {});
    await sender.close();
  }
  const last = reached.at(-1) ?? 0;
  t.ok(last > 2 ** 31, 'some may be skipped');
  t.ok(last <= 2 ** 33, `${last}`);
});

t.test('ids that were skipped come back with time, and no faster than that', async t => {
  const ids = new IdAllowance(2, 0);
  t.equal(ids.endAt(2, 1000), 2 + idsSkippedMax, 'none were skipped');
  const next = 2 + idsSkippedMax;
  t.equal(ids.endAt(next, 1000), next, 'all were');
  t.equal(ids.endAt(next, 3000), next + 2 * idsPerSecondMax);
  t.equal(ids.endAt(next, 2000), next + 2 * idsPerSecondMax, 'a clock that went back takes none');
  for (let ms = 3000; ms < 4000; ms += 0.001) ids.endAt(next, ms);
  t.ok(ids.endAt(next, 4000) <= next + 3 * idsPerSecondMax, 'asking often makes no more');
  t.ok(ids.endAt(next, 4001) > next + 2.9 * idsPerSecondMax, 'nor fewer');
  t.equal(ids.endAt(next, 2 ** 50), next + idsSkippedMax);
  t.equal(new IdAllowance(nodeIdMax - 5, 0).endAt(nodeIdMax - 5, 0), nodeIdMax);
});

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
