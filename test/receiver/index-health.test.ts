// The block index says the truth, or little else: nothing in it outlives what it leads to.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { blockId } from '../../src/blocks/block-id.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import { blockKey, encodeHints } from '../../src/store/receiver-records.ts';
import { ReplicaStore } from '../../src/store/replica-store.ts';
import { FakeSender, rootId } from '../support/fake-sender.ts';
import { auditIndex } from '../support/index-audit.ts';
import { fillTree, mutate } from '../support/mutate.ts';
import { pushOnce } from '../support/push-once.ts';
import { seededRandom } from '../support/random.ts';
import { receiverDefaults } from '../support/receivers.ts';
import { ownShare } from '../support/seeds.ts';
import { until } from '../support/until.ts';

const never = 2 ** 31 - 1;
const cleaning = { firstSliceMs: 1, sliceMs: 1, sweepMs: never, cleanMs: 1 };

/** Kept content goes at once. */
function open(root: string, nowMs = () => Date.now() + 10): Promise<Receiver> {
  const options = { fsync: 'off', keepMs: 0, pauses: cleaning, nowMs } as const;
  return Receiver.open({ ...receiverDefaults, root, ...options });
}

async function emptied(root: string): Promise<void> {
  await until(() => fs.readdirSync(join(root, '.replica', 'kept')).length === 0);
}

for (const way of ownShare(['removed', 'taken over', 'rebuilt, then removed'] as const)) {
  t.test(`no record or entry outlives its file: ${way}`, async t => {
    const folder = t.testdir({ source: {}, other: { one: 'one' }, target: {} });
    const source = join(folder, 'source');
    const root = join(folder, 'target');
    const random = seededRandom(21);
    t.comment('seed 21');
    fillTree(source, random, 60);
    fs.writeFileSync(join(source, 'large'), Buffer.alloc(300_000, 'text of a large file '));
    let receiver = await open(root);
    t.teardown(() => receiver.close());
    for (let round = 0; round < 2; round++) {
      await pushOnce({ folder, source, receiver });
      for (let i = 0; i < 15; i++) mutate(source, random);
    }
    await pushOnce({ folder, source, receiver });
    if (way.startsWith('rebuilt')) {
      await receiver.close();
      fs.rmSync(join(root, '.replica', 'state'), { recursive: true });
      receiver = await open(root);
      await pushOnce({ folder, source, receiver });
    }
    await receiver.close();
    const full = await auditIndex(root);
    t.strictSame(full.faults, []);
    t.ok(full.files > 10 && full.blocks > 10, `${full.files} files, ${full.blocks} blocks`);

    receiver = await open(root);
    if (way === 'taken over') {
      const sourceId = Buffer.alloc(16, 9);
      const push = { folder, source: join(folder, 'other'), receiver };
      const stateFolder = join(folder, 'other-state');
      const changes = { sourceId, stateFolder, takeOver: true, acceptDeletes: true };
      const { outcome } = await pushOnce(push, changes);
      t.ok(outcome.inSync);
      fs.rmSync(join(folder, 'other', 'one'));
      await pushOnce(push, { ...changes, takeOver: false });
    } else {
      for (const name of fs.readdirSync(source)) {
        fs.rmSync(join(source, name), { recursive: true, force: true });
      }
      const { outcome } = await pushOnce({ folder, source, receiver }, { acceptDeletes: true });
      t.ok(outcome.inSync);
    }
    await emptied(root);
    await receiver.close();
    t.strictSame(await auditIndex(root), { files: 0, blocks: 0, faults: [] });
  });
}

t.test('an entry that leads nowhere is dropped when it is used', async t => {
  const root = t.testdir();
  const first = await open(root);
  const sender = await FakeSender.open(first);
  const here = Buffer.alloc(5000, 'here');
  const gone = Buffer.alloc(5000, 'gone');
  const file = sender.file(rootId, 'file', here);
  await sender.commit([file]);
  const { secret } = sender;
  await sender.close();
  await first.close();

  const folder = join(root, '.replica', 'state');
  const store = await ReplicaStore.open({ folder, durable: false });
  const forged = encodeHints([{ id: file.entry.id, block: 0 }]);
  await store?.database.write(() => {
    store.database.put('blocks', blockKey(blockId(secret, gone)), forged);
  });
  await store?.close();

  const second = await open(root);
  const again = await FakeSender.open(second);
  t.strictSame(await again.offer([blockId(secret, gone)]), [false], 'believed to be there');
  const copy = again.file(rootId, 'copy', gone);
  const pieces = [again.block(gone)];
  const content = { kind: 'inline', baseVersion: 0, pieces } as const;
  const { rejected } = await again.commit([{ ...copy, content } as never]);
  t.equal(rejected[0]?.reason, 'blocks');
  await again.commit([again.file(rootId, 'copy', here)]);
  t.strictSame(await again.offer([blockId(secret, gone)]), [true], 'asked for now');
  t.strictSame(await again.offer([blockId(secret, here)]), [false]);
  await again.close();
  await second.close();
  t.strictSame((await auditIndex(root)).faults, []);
});

t.test('an entry of a file without a record is no answer', async t => {
  const root = t.testdir();
  const first = await open(root);
  const sender = await FakeSender.open(first);
  const bytes = Buffer.alloc(5000, 'nowhere');
  const { secret } = sender;
  await sender.close();
  await first.close();
  const folder = join(root, '.replica', 'state');
  const store = await ReplicaStore.open({ folder, durable: false });
  const forged = encodeHints([{ id: 999 as never, block: 0 }]);
  await store?.database.write(() => {
    store.database.put('blocks', blockKey(blockId(secret, bytes)), forged);
  });
  await store?.close();
  const second = await open(root);
  t.teardown(() => second.close());
  const again = await FakeSender.open(second);
  t.strictSame(await again.offer([blockId(secret, bytes)]), [true]);
  await again.close();
});
