import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { HoleCount } from '../../src/receiver/hole-count.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import { MessageType } from '../../src/wire/messages.ts';
import { FakeSender, rootId } from '../support/fake-sender.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { receiverDefaults } from '../support/receivers.ts';

t.test('a base that is altered while it is copied from makes no version', async t => {
  const root = t.testdir();
  const receiver = await Receiver.open({ ...receiverDefaults, root, fsync: 'off' });
  t.teardown(() => receiver.close());
  const sender = await FakeSender.open(receiver);
  t.teardown(() => sender.close());
  const random = seededRandom(4);
  const content = randomBytes(random, 240 * 1024);
  const tail = randomBytes(random, 8192);
  const file = sender.file(rootId, 'a', content);
  await sender.commit([file]);
  const size = content.length + tail.length;
  const entry = { ...file.entry, version: 2, size };
  const open = { stage: 1, id: entry.id, size, baseVersion: 1 };
  await sender.connection.send({ type: MessageType.StageOpen, ...open });
  await sender.offer([Buffer.alloc(16, 7)]); // Answered once the stage is open.
  const fd = fs.openSync(join(root, 'a'), 'r+');
  fs.writeSync(fd, 'edited at the destination', 100_000);
  fs.closeSync(fd);
  const count = content.length / 8192;
  const pieces = [{ kind: 'copy' as const, from: 0, count }, ...sender.data(tail)];
  await sender.connection.send({ type: MessageType.StageData, stage: 1, pieces });
  const operation = { ...file, entry, content: { kind: 'stage' as const, stage: 1 } };
  const { rejected } = await sender.commit([operation as typeof file]);
  t.match(rejected, [{ reason: 'base' }], 'it is sent again, from nothing');
});

t.test('of a stage that is cut short holes are not kept beyond its content', async t => {
  const root = t.testdir();
  const receiver = await Receiver.open({ ...receiverDefaults, root, fsync: 'off' });
  t.teardown(() => receiver.close());
  const sender = await FakeSender.open(receiver);
  t.teardown(() => sender.close());
  const unfinished = join(root, '.replica/unfinished');
  const cut = async (stage: number, frames: number): Promise<number> => {
    const { id } = sender.fileEntry(2 ** 40);
    const open = { stage, id, size: 2 ** 40, baseVersion: 0 };
    await sender.connection.send({ type: MessageType.StageOpen, ...open });
    const data = sender.data(randomBytes(seededRandom(stage), 8192));
    await sender.connection.send({ type: MessageType.StageData, stage, pieces: data });
    const pieces = Array.from({ length: 2048 }, () => sender.zero(8192));
    for (let i = 0; i < frames; i++)
      await sender.connection.send({ type: MessageType.StageData, stage, pieces });
    await sender.connection.send({ type: MessageType.StageAbort, stage });
    await sender.offer([Buffer.alloc(16, stage)]); // Answered once it is over.
    return fs.readdirSync(unfinished).length;
  };
  t.equal(await cut(1, 33), 0, '66,000 blocks of zeroes beside one of content');
  t.ok((await cut(2, 10)) > 0, 'a few do no harm');
});

t.test('holes of files under way take no more memory than they may', async t => {
  const root = t.testdir();
  const receiver = await Receiver.open({ ...receiverDefaults, root, fsync: 'off' });
  t.teardown(() => receiver.close());
  const sender = await FakeSender.open(receiver);
  t.teardown(() => sender.close());
  const original = HoleCount.prototype.take;
  HoleCount.prototype.take = function () {
    Object.assign(this, { blocksMax: 1000 });
    return original.call(this);
  };
  t.teardown(() => {
    HoleCount.prototype.take = original;
  });
  const send = async (stage: number, count: number): Promise<string[]> => {
    const size = count * 8192;
    const entry = sender.fileEntry(size);
    const open = { stage, id: entry.id, size, baseVersion: 0 };
    await sender.connection.send({ type: MessageType.StageOpen, ...open });
    const pieces = Array.from({ length: count }, () => sender.zero(8192));
    await sender.connection.send({ type: MessageType.StageData, stage, pieces });
    const file = sender.file(rootId, `holes ${stage}`, '');
    const operation = { ...file, entry, content: { kind: 'stage' as const, stage } };
    const { rejected } = await sender.commit([operation as typeof file]);
    return rejected.map(({ reason }) => reason);
  };
  t.strictSame(await send(1, 1001), ['refused']);
  t.strictSame(await send(2, 1000), [], 'what was refused takes none');
  t.strictSame(await send(3, 1000), [], 'nor what is complete');
  t.equal(fs.statSync(join(root, 'holes 3')).size, 1000 * 8192);
});
