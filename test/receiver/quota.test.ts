// receive --quota: what fits flows, what does not is refused and leaves nothing.
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { openStagesMax } from '../../src/limits.ts';
import type { Receiver } from '../../src/receiver/receiver.ts';
import { MessageType, type Operation } from '../../src/wire/messages.ts';
import { FakeSender, type Outcome, remove, rename, rootId } from '../support/fake-sender.ts';
import { name } from '../support/messages.ts';
import { openReceiver } from '../support/receivers.ts';
import { treeText } from '../support/tree-text.ts';

const refusal = (growth: number, left: number): object => ({
  reason: 'refused',
  message: `no room for ${growth} bytes more: the receiver's --quota of 100 leaves ${left}`,
});

async function open(t: Test): Promise<{ root: string; receiver: Receiver; sender: FakeSender }> {
  const root = t.testdir();
  const receiver = await openReceiver(t, { root, quota: 100 });
  return { root, receiver, sender: await FakeSender.open(receiver) };
}

t.test('files that fit flow beside one that does not, and room that is made counts', async t => {
  const { root, sender } = await open(t);
  const outcomes: Outcome[] = [];
  const commit = async (...operations: Operation[]): Promise<void> => {
    outcomes.push(await sender.commit(operations));
  };
  const a = sender.file(rootId, 'a', 'x'.repeat(60));
  const b = sender.file(rootId, 'b', 'y'.repeat(41));
  const { id } = a.entry;
  await commit(a, b, sender.file(rootId, 'c', 'z'.repeat(40)));
  t.match(outcomes[0]?.rejected, [{ index: 1, ...refusal(41, 40) }]);
  // Full to the byte: what needs no more is welcome, what needs one byte is not.
  await commit(sender.link(rootId, 'l', 't'), rename(a, rootId, 'a2'));
  await commit(sender.file(rootId, 'a2', 'w'.repeat(60), { id, version: 2 }));
  t.same(
    outcomes.slice(1).map(({ rejected }) => rejected),
    [[], []],
  );
  await commit(sender.file(rootId, 'a2', 'w'.repeat(61), { id, version: 3 }));
  t.match(outcomes.at(-1)?.rejected, [{ index: 0, ...refusal(1, 0) }]);
  await commit(sender.file(rootId, 'a2', 'v', { id, version: 4 }));
  await commit(sender.file(rootId, 'b', 'y'.repeat(59)));
  t.same(outcomes.at(-1)?.rejected, []);
  await commit(remove(rootId, 'a2', id));
  await commit(sender.file(rootId, 'd', 'd'));
  t.same(outcomes.at(-1)?.rejected, []);
  t.same(
    treeText(root).map(line => line[0]),
    ['b', 'c', 'd', 'l'],
  );
  await sender.close();
});

t.test('what was there before counts, and what a cut session had staged does not', async t => {
  const { root, receiver, sender } = await open(t);
  await sender.commit([sender.file(rootId, 'a', 'x'.repeat(60))]);
  const commit = sender.nextCommit;
  const operations = [sender.file(rootId, 'b', 'y'.repeat(40))];
  await sender.connection.send({ type: MessageType.Operations, commit, operations });
  await sender.close();
  const again = await FakeSender.open(receiver);
  t.same((await again.commit([again.file(rootId, 'c', 'z'.repeat(40))])).rejected, []);
  await again.close();
  await receiver.close();
  const reopened = await openReceiver(t, { root, quota: 100 });
  const next = await FakeSender.open(reopened);
  t.match((await next.commit([next.file(rootId, 'd', 'd')])).rejected, [refusal(1, 0)]);
  await next.close();
});

t.test('a stage without room is not written, and its operation refused', async t => {
  const { root, sender } = await open(t);
  const { connection } = sender;
  const entry = sender.fileEntry(200);
  const stage = 7;
  await connection.send({
    type: MessageType.StageOpen,
    stage,
    id: entry.id,
    size: 200,
    baseVersion: 0,
  });
  const pieces = sender.data(Buffer.alloc(200, 'x'));
  await connection.send({ type: MessageType.StageData, stage, pieces });
  const file = (name: string): Operation => ({
    kind: 'file',
    parent: rootId,
    name: name as never, // A name.
    entry,
    content: { kind: 'stage', stage },
  });
  const { rejected } = await sender.commit([file('large'), sender.file(rootId, 'small', 's')]);
  t.match(rejected, [{ index: 0, ...refusal(200, 100) }]);
  t.same(treeText(root), ["small 's'"]);
  for (const folder of ['staging', 'unfinished']) {
    t.same(fs.readdirSync(join(root, '.replica', folder)), []);
  }
  await connection.send({
    type: MessageType.StageOpen,
    stage,
    id: entry.id,
    size: 200,
    baseVersion: 0,
  });
  await connection.send({ type: MessageType.StageAbort, stage });
  for (let i = 0; i <= openStagesMax; i++) {
    await connection
      .send({ type: MessageType.StageOpen, stage: i, id: entry.id, size: 200, baseVersion: 0 })
      .catch(() => {});
  }
  t.match(await sender.next(MessageType.Failure), { message: /more than 32 stages are open/ });
  await sender.close();
});

t.test('a stage without room stays refused though room was made meanwhile', async t => {
  const { sender } = await open(t);
  const a = sender.file(rootId, 'a', 'x'.repeat(60));
  await sender.commit([a]);
  const entry = sender.fileEntry(60);
  const stage = 7;
  const opening = { type: MessageType.StageOpen, stage, id: entry.id, size: 60, baseVersion: 0 };
  await sender.connection.send(opening);
  await sender.commit([remove(rootId, 'a', a.entry.id)]);
  const content = { kind: 'stage', stage } as const;
  const file: Operation = { kind: 'file', parent: rootId, name: 'b' as never, entry, content };
  t.match((await sender.commit([file])).rejected, [refusal(60, 40)]);
  await sender.close();
});

t.test('a stage that had room keeps it, and leaves nothing open', async t => {
  const { sender } = await open(t);
  const { connection } = sender;
  const entry = sender.fileEntry(60);
  const stage = 7;
  await connection.send({
    type: MessageType.StageOpen,
    stage,
    id: entry.id,
    size: 60,
    baseVersion: 0,
  });
  const pieces = sender.data(Buffer.alloc(60, 'x'));
  await connection.send({ type: MessageType.StageData, stage, pieces });
  const other = sender.file(rootId, 'a', 'y'.repeat(60));
  t.match((await sender.commit([other])).rejected, [refusal(60, 40)]);
  const content = { kind: 'stage', stage } as const;
  const file: Operation = { kind: 'file', parent: rootId, name: 'b' as never, entry, content };
  t.same((await sender.commit([file])).rejected, []);
  await sender.send([file]);
  t.match(await sender.next(MessageType.Failure), { message: /stage 7 is not open/ });
  await sender.close();
});

t.test('stages take room when they open, and give it back', async t => {
  const { sender } = await open(t);
  const stage = async (number: number): Promise<void> => {
    const { id } = sender.fileEntry(60);
    const open = { stage: number, id, size: 60, baseVersion: 0 };
    await sender.connection.send({ type: MessageType.StageOpen, ...open });
  };
  await stage(1);
  const small = (name: string): ReturnType<typeof sender.file> =>
    sender.file(rootId, name, 'y'.repeat(60));
  t.match((await sender.commit([small('a')])).rejected, [refusal(60, 40)]);
  await sender.connection.send({ type: MessageType.StageAbort, stage: 1 });
  t.same((await sender.commit([small('a')])).rejected, []);
});

/** Bytes of the files that are there. */
function held(root: string): number {
  return fs
    .readdirSync(root, { withFileTypes: true })
    .reduce((sum, one) => sum + (one.isFile() ? fs.statSync(join(root, one.name)).size : 0), 0);
}

t.test('no detour leads past it', async t => {
  const detours = ['a link that gets content', 'a name that is left', 'a size of 0'] as const;
  for (const detour of detours) {
    const { root, sender } = await open(t);
    let rejected = 0;
    const commit = async (...operations: Parameters<typeof sender.commit>[0]): Promise<void> => {
      rejected += (await sender.commit(operations)).rejected.length;
    };
    let a = sender.file(rootId, 'a', 'x'.repeat(60));
    await commit(a);
    for (let i = 0; i < 5; i++) {
      const content = 'y'.repeat(60);
      if (detour === 'a link that gets content') {
        const { entry, parent } = a;
        await commit({ kind: 'hardlink', parent, name: name(`b${i}`), entry });
        await commit(sender.file(rootId, `b${i}`, content));
      } else if (detour === 'a name that is left') {
        const next = sender.file(rootId, 'a', content);
        await commit(rename(a, rootId, `old${i}`), next);
        a = next;
      } else {
        const file = sender.file(rootId, `f${i}`, content);
        await commit(file);
        const entry = { ...file.entry, size: 0 };
        await commit({ kind: 'attributes', parent: rootId, name: file.name, entry });
      }
    }
    t.ok(held(root) <= 100, `${detour}: ${held(root)} bytes held`);
    t.ok(rejected > 0);
    await sender.close();
  }
});
