// What arrived of a large file before the connection or the receiver ended is not sent again.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { blockId } from '../../src/blocks/block-id.ts';
import { BlockList, BlockListBuilder } from '../../src/blocks/block-list.ts';
import { unfinishedAgeMs, unfinishedCountMax } from '../../src/limits.ts';
import { Folders } from '../../src/receiver/folders.ts';
import type { Receiver } from '../../src/receiver/receiver.ts';
import { UnfinishedStages } from '../../src/receiver/unfinished.ts';
import type { NodeId } from '../../src/snapshot/entry.ts';
import { toName } from '../../src/snapshot/name.ts';
import { ConfinedDirectory } from '../../src/tree/confined-directory.ts';
import { MessageType, type Piece } from '../../src/wire/messages.ts';
import { FakeSender, rootId } from '../support/fake-sender.ts';
import { mountReflinks } from '../support/mounts.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { openReceiver } from '../support/receivers.ts';

const blockSize = 64 * 1024;
const content = randomBytes(seededRandom(1), 80 * blockSize);
const blocks = (bytes: Buffer): Buffer[] =>
  Array.from({ length: Math.ceil(bytes.length / blockSize) }, (_, i) =>
    bytes.subarray(i * blockSize, (i + 1) * blockSize),
  );
const unfinished = (root: string): string[] =>
  fs.readdirSync(join(root, '.replica', 'unfinished')).sort();

async function stage(sender: FakeSender, pieces: readonly Piece[], size: number): Promise<void> {
  const { connection } = sender;
  const open = { type: MessageType.StageOpen, stage: 1, id: sender.id(), size, baseVersion: 0 };
  await connection.send(open as never);
  for (let at = 0; at < pieces.length; at += 8) {
    const part = pieces.slice(at, at + 8);
    await connection.send({ type: MessageType.StageData, stage: 1, pieces: part });
  }
  // Answered when everything before is done.
  await sender.offer([Buffer.alloc(16)]);
}

/** As a sender does: offers everything, sends what is needed and names the rest. */
async function send(
  sender: FakeSender,
  bytes: Buffer,
): Promise<{ sentCount: number; rejected: readonly string[] }> {
  const parts = blocks(bytes);
  const needed = await sender.offer(parts.map(part => blockId(sender.secret, part)));
  const pieces = parts.flatMap((part, i) =>
    needed[i] === true ? sender.data(part, blockSize) : [sender.block(part)],
  );
  await stage(sender, pieces, bytes.length);
  const entry = sender.fileEntry(bytes.length, { id: (sender.nextId - 1) as never });
  const file = { kind: 'file', parent: rootId, name: toName('big'), entry } as const;
  const outcome = await sender.commit([{ ...file, content: { kind: 'stage', stage: 1 } }]);
  const sentCount = needed.filter(Boolean).length;
  return { sentCount, rejected: outcome.rejected.map(one => one.reason) };
}

/** Four fifths of the file arrive, then the connection ends. */
async function cut(receiver: Receiver): Promise<void> {
  const sender = await FakeSender.open(receiver);
  await stage(sender, sender.data(content.subarray(0, 64 * blockSize), blockSize), content.length);
  await sender.close();
}

/** As a SIGKILL leaves the folders while the stage is open, for the receiver that finds them so. */
async function kill(root: string, receiver: Receiver): Promise<void> {
  const sender = await FakeSender.open(receiver);
  await stage(sender, sender.data(content.subarray(0, 64 * blockSize), blockSize), content.length);
  const folders = ['staging', 'unfinished'].map(name => join(root, '.replica', name));
  for (const folder of folders) fs.cpSync(folder, `${folder}.image`, { recursive: true });
  await sender.close();
  await receiver.close();
  for (const folder of folders) {
    fs.rmSync(folder, { recursive: true });
    fs.renameSync(`${folder}.image`, folder);
  }
}

t.test('a stage goes on in place after a cut, and only the rest is sent', async t => {
  const root = t.testdir();
  const receiver = await openReceiver(t, { root });
  await cut(receiver);
  const [stageName = ''] = unfinished(root);
  const { ino } = fs.statSync(join(root, '.replica', 'unfinished', stageName));
  const sender = await FakeSender.open(receiver);
  t.strictSame(await send(sender, content), { sentCount: 16, rejected: [] });
  t.ok(fs.readFileSync(join(root, 'big')).equals(content), 'content');
  t.equal(fs.statSync(join(root, 'big')).ino, ino, 'the same file, not a copy');
  t.strictSame(unfinished(root), []);
  await sender.close();
});

t.test('a stage that began as a clone goes on, and what was behind it is gone', async t => {
  const mounted = mountReflinks(t);
  if ('skip' in mounted) {
    t.pass(mounted.skip, { skip: mounted.skip });
    return;
  }
  const root = join(mounted.folder, 'target');
  fs.mkdirSync(root);
  const receiver = await openReceiver(t, { root });
  const first = await FakeSender.open(receiver);
  t.strictSame(await send(first, content), { sentCount: 80, rejected: [] });
  const id = (first.nextId - 1) as NodeId;
  // 20 blocks of the base and 10 new ones arrive; behind them lies the rest of the base.
  const fresh = randomBytes(seededRandom(2), 50 * blockSize);
  const pieces: Piece[] = [
    { kind: 'copy', from: 0, count: 20 },
    ...first.data(fresh.subarray(0, 10 * blockSize), blockSize),
  ];
  const { connection } = first;
  const size = content.length;
  await connection.send({ type: MessageType.StageOpen, stage: 1, id, size, baseVersion: 1 });
  await connection.send({ type: MessageType.StageData, stage: 1, pieces });
  await first.offer([Buffer.alloc(16)]);
  await first.close();
  t.equal(unfinished(root).length > 0, true, 'it is kept');
  const sender = await FakeSender.open(receiver);
  const next = Buffer.concat([content.subarray(0, 20 * blockSize), fresh]);
  // Taken for the same file once more: 40 blocks of 70 are new.
  t.strictSame(await send(sender, next), { sentCount: 40, rejected: [] });
  t.ok(fs.readFileSync(join(root, 'big')).equals(next), 'content');
  t.equal(receiver.driftCount, 0);
  await sender.close();
  await receiver.close();
});

t.test('a stage goes on after SIGKILL of the receiver, its list torn', async t => {
  const root = t.testdir();
  await kill(root, await openReceiver(t, { root }));
  const [listFile = ''] = unfinished(root);
  const path = join(root, '.replica', 'unfinished', listFile);
  fs.truncateSync(path, fs.statSync(path).size - 20);
  const again = await openReceiver(t, { root });
  const sender = await FakeSender.open(again);
  t.strictSame(await send(sender, content), { sentCount: 18, rejected: [] });
  t.ok(fs.readFileSync(join(root, 'big')).equals(content), 'content');
  t.strictSame(unfinished(root), []);
  await sender.close();
});

t.test('altered bytes of an unfinished stage are told, and sent again: only those', async t => {
  const root = t.testdir();
  await kill(root, await openReceiver(t, { root }));
  const receiver = await openReceiver(t, { root });
  const [stageName = ''] = unfinished(root);
  const fd = fs.openSync(join(root, '.replica', 'unfinished', stageName), 'r+');
  for (const block of [0, 5, 63]) fs.writeSync(fd, 'altered', block * blockSize + 100);
  fs.closeSync(fd);
  const sender = await FakeSender.open(receiver);
  t.strictSame(await send(sender, content), { sentCount: 16, rejected: ['blocks'] });
  t.strictSame(await send(sender, content), { sentCount: 3, rejected: [] });
  t.ok(fs.readFileSync(join(root, 'big')).equals(content), 'content');
  await sender.close();
});

t.test('another file than was begun takes what it can use; in sync, the rest goes', async t => {
  const root = t.testdir();
  const receiver = await openReceiver(t, { root });
  await cut(receiver);
  const added = randomBytes(seededRandom(2), blockSize);
  const other = Buffer.concat([
    content.subarray(0, 10 * blockSize),
    added,
    content.subarray(10 * blockSize),
  ]);
  const sender = await FakeSender.open(receiver);
  t.strictSame(await send(sender, other), { sentCount: 17, rejected: [] });
  t.ok(fs.readFileSync(join(root, 'big')).equals(other), 'content');
  t.equal(unfinished(root).length, 2, 'the stage of before');
  await sender.connection.send({ type: MessageType.InSync });
  await sender.offer([Buffer.alloc(16)]);
  t.strictSame(unfinished(root), []);
  await sender.close();
});

t.test('what a refused file brought is not sent again', async t => {
  const root = t.testdir();
  const receiver = await openReceiver(t, { root });
  const sender = await FakeSender.open(receiver);
  const [known, fresh, other] = [0, 1, 2].map(i => Buffer.alloc(8_000, i + 1));
  if (!known || !fresh || !other) throw new Error('three blocks');
  await sender.commit([sender.file(rootId, 'known', known)]);
  const pieces = [sender.block(known), ...sender.data(fresh), sender.block(other)];
  const entry = sender.fileEntry(24_000);
  const file = { kind: 'file', parent: rootId, name: toName('new'), entry } as const;
  const inline = { kind: 'inline', baseVersion: 0 } as const;
  const first = await sender.commit([{ ...file, content: { ...inline, pieces } }]);
  t.match(first.rejected, [{ index: 0, reason: 'blocks' }]);
  const ids = [known, fresh, other].map(part => blockId(sender.secret, part));
  t.strictSame(await sender.offer(ids), [false, false, true]);
  const again = [sender.block(known), sender.block(fresh), ...sender.data(other)];
  const second = await sender.commit([{ ...file, content: { ...inline, pieces: again } }]);
  t.strictSame(second.rejected, []);
  t.ok(fs.readFileSync(join(root, 'new')).equals(Buffer.concat([known, fresh, other])));
  await sender.close();
});

t.test('a base that is gone is told apart from blocks, and what came is kept', async t => {
  const root = t.testdir();
  const receiver = await openReceiver(t, { root });
  const sender = await FakeSender.open(receiver);
  const file = sender.file(rootId, 'a', Buffer.alloc(20_000, 1));
  await sender.commit([file]);
  const fresh = Buffer.alloc(20_000, 2);
  const entry = { ...file.entry, size: 40_000, version: 3 };
  const pieces: Piece[] = [{ kind: 'copy', from: 0, count: 3 }, ...sender.data(fresh, 20_000)];
  const change = { kind: 'file', parent: rootId, name: toName('a'), entry } as const;
  const content = { kind: 'inline', baseVersion: 2, pieces } as const;
  const { rejected } = await sender.commit([{ ...change, content }]);
  t.match(rejected, [{ index: 0, reason: 'base' }]);
  t.strictSame(await sender.offer([blockId(sender.secret, fresh)]), [false]);
  t.ok(fs.readFileSync(join(root, 'a')).equals(Buffer.alloc(20_000, 1)), 'the old version stays');
  await sender.close();
});

t.test('unfinished stages are bounded in bytes, number and age', async t => {
  const root = ConfinedDirectory.openRoot(t.testdir());
  const folders = Folders.open(root);
  t.teardown(() => folders.close());
  let nowMs = Date.now();
  const secret = Buffer.alloc(32, 7);
  const options = { folders, secret, nowMs: () => nowMs };
  const stages = new UnfinishedStages({ ...options, bytesMax: 1024 * 1024 });
  const add = (name: string, fill: number, into = stages): Buffer => {
    const bytes = Buffer.alloc(200 * 1024, fill);
    const place = { directory: folders.staging, name: toName(name) };
    fs.writeFileSync(join(t.testdirName, '.replica', 'staging', name), bytes);
    const list = new BlockListBuilder();
    const ids = Array.from({ length: 4 }, (_, i) => {
      const part = bytes.subarray(i * 50 * 1024, (i + 1) * 50 * 1024);
      const id = blockId(secret, part);
      list.add(id, part.length);
      return id;
    });
    into.keep(place, place.name, list.build());
    return ids[0] ?? Buffer.alloc(0);
  };
  const ids = Array.from({ length: 6 }, (_, i) => add(`s${i}`, i + 1));
  t.strictSame(
    ids.map(id => stages.has(id)),
    [false, true, true, true, true, true],
    'the oldest went first',
  );
  t.ok(stages.idleBytes <= 1024 * 1024, `${stages.idleBytes} bytes`);
  t.equal(unfinished(t.testdirName).length, 10);
  nowMs += unfinishedAgeMs;
  const last = add('s6', 9);
  t.strictSame(
    [...ids, last].map(id => stages.has(id)),
    [...ids.map(() => false), true],
    'those that are too old went',
  );
  const many = new UnfinishedStages(options);
  many.load();
  for (let i = 0; i < unfinishedCountMax + 3; i++) add(`m${i}`, i + 1, many);
  t.equal(unfinished(t.testdirName).length, 2 * unfinishedCountMax);
  const foreign = new UnfinishedStages({ ...options, secret: Buffer.alloc(32, 8) });
  foreign.load();
  t.notOk(foreign.has(last));
  t.strictSame(unfinished(t.testdirName), [], 'those of another replica went');
});

t.test('the list beside a stage has a fixed layout', async t => {
  const root = ConfinedDirectory.openRoot(t.testdir());
  const folders = Folders.open(root);
  t.teardown(() => folders.close());
  const options = { folders, secret: Buffer.alloc(32, 7), nowMs: Date.now };
  const list = new UnfinishedStages(options).begin(toName('s'));
  list.append(BlockList.from(Buffer.from(`00ff${'5a'.repeat(16)}`, 'hex')).packed);
  list.close();
  const bytes = fs.readFileSync(join(t.testdirName, '.replica', 'unfinished', 's.blocks'));
  t.equal(bytes.toString('hex'), `97e740268cd7ed4c0fdb1026dc9f473000ff${'5a'.repeat(16)}`);
});
