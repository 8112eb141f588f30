// What `verify` finds, and what it leaves alone. Receiver and verifier are in this process.
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { blockId, zeroBlockId } from '../../src/blocks/block-id.ts';
import { BlockListBuilder } from '../../src/blocks/block-list.ts';
import { blockSizeMin, checkedBlocksMax } from '../../src/limits.ts';
import { memoryPair } from '../../src/net/memory-pair.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import type { ReceiverOptions } from '../../src/receiver/receiver-options.ts';
import { type Verified, Verifier, type VerifierOptions } from '../../src/sender/verifier.ts';
import { decodeFile, encodeFile, fileKey, stampOf } from '../../src/store/receiver-records.ts';
import { ReplicaStore } from '../../src/store/replica-store.ts';
import { MessageType } from '../../src/wire/messages.ts';
import { FakeSender, rootId } from '../support/fake-sender.ts';
import { isPrivileged } from '../support/folders.ts';
import { fillTree } from '../support/mutate.ts';
import { pushOnce } from '../support/push-once.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { receiverDefaults } from '../support/receivers.ts';
import { compareTrees } from '../support/tree.ts';

interface Pair {
  readonly folder: string;
  readonly source: string;
  readonly root: string;
}

function makePair(t: Test): Pair {
  const folder = t.testdir({ source: {}, target: {} });
  return { folder, source: join(folder, 'source'), root: join(folder, 'target') };
}

/** Nothing is put right by itself. */
function openReceiver(root: string, options: Partial<ReceiverOptions> = {}): Promise<Receiver> {
  const receiver = { ...receiverDefaults, fsync: 'off', root, isOnlyVerified: true } as const;
  return Receiver.open({ ...receiver, ...options });
}

async function push(pair: Pair): Promise<void> {
  const receiver = await openReceiver(pair.root, { isOnlyVerified: false });
  const { outcome } = await pushOnce({ ...pair, receiver });
  await receiver.close();
  if (!outcome.inSync) throw new Error('not in sync');
}

function openVerifier(
  receiver: Receiver,
  source: string,
  changes: Partial<VerifierOptions> = {},
): Promise<Verifier> {
  return Verifier.open({
    source,
    connect: async () => {
      const [near, far] = memoryPair();
      void receiver.serve(far);
      return near;
    },
    sourceId: Buffer.alloc(16, 1),
    label: 'test:/source',
    paths: [],
    exclude: [],
    deleteExcluded: false,
    timeoutMs: 1000,
    settleMs: 0,
    signal: new AbortController().signal,
    ...changes,
  });
}

function lines({ differences }: Pick<Verified, 'differences'>): string[] {
  return differences.map(one => `${one.reason} ${one.path}`).sort();
}

async function verify(pair: Pair, changes: Partial<VerifierOptions> = {}): Promise<string[]> {
  const receiver = await openReceiver(pair.root);
  const verifier = await openVerifier(receiver, pair.source, changes);
  const verified = await verifier.pass();
  await verifier.close();
  await receiver.close();
  return lines(verified);
}

/** Finds, mends, sends and looks again. */
async function repair(pair: Pair): Promise<string[]> {
  const receiver = await openReceiver(pair.root);
  const verifier = await openVerifier(receiver, pair.source);
  const { differences } = await verifier.pass();
  const { hasSender } = await verifier.mend(differences);
  if (hasSender) throw new Error('there is no sender');
  const { outcome } = await pushOnce({ ...pair, receiver });
  if (!outcome.inSync) throw new Error('not in sync');
  const after = await verifier.pass();
  await verifier.close();
  await receiver.close();
  return lines(after);
}

/** Other bytes, the same size, mode and times. */
function flip(path: string, at: number): void {
  const { atimeNs, mtimeNs } = fs.statSync(path, { bigint: true });
  const bytes = fs.readFileSync(path);
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  const fd = fs.openSync(path, 'r+');
  fs.writeSync(fd, bytes, at, 1, at);
  fs.closeSync(fd);
  const seconds = (ns: bigint): number => (Number(ns / 1000n) + 0.5) / 1e6;
  fs.utimesSync(path, seconds(atimeNs), seconds(mtimeNs));
}

/** Everything lstat says of a tree but access times. */
function stats(root: string): string[] {
  return fs
    .readdirSync(root, { recursive: true, encoding: 'latin1' })
    .filter(name => !name.startsWith('.replica'))
    .map(name => {
      const path = Buffer.from(`${root}/${name}`, 'latin1');
      const { ino, mode, size, mtimeNs, ctimeNs } = fs.lstatSync(path, { bigint: true });
      return [name, ino, mode, size, mtimeNs, ctimeNs].join(' ');
    })
    .sort();
}

/** Three blocks at least. */
const size = 200_000;

t.test('equal trees are equal, and stay as they are', async t => {
  const pair = makePair(t);
  fillTree(pair.source, seededRandom(7), 60);
  fs.writeFileSync(join(pair.source, 'one name'), 'two names');
  fs.linkSync(join(pair.source, 'one name'), join(pair.source, 'another'));
  fs.writeFileSync(join(pair.source, 'holes'), Buffer.alloc(size));
  await push(pair);
  const before = { source: stats(pair.source), target: stats(pair.root) };
  t.strictSame(await verify(pair), []);
  t.strictSame({ source: stats(pair.source), target: stats(pair.root) }, before);
});

t.test('a bit flipped in the replica is found, mended and kept, wherever it is', async t => {
  const pair = makePair(t);
  const path = join(pair.source, 'large');
  fs.writeFileSync(path, randomBytes(seededRandom(1), size));
  fs.writeFileSync(join(pair.source, 'other'), 'other');
  await push(pair);
  for (const at of [0, size / 2, size - 1]) {
    flip(join(pair.root, 'large'), at);
    const damaged = fs.readFileSync(join(pair.root, 'large'));
    const before = stats(pair.root);
    t.strictSame(await verify(pair), ['content large']);
    t.strictSame(stats(pair.root), before, 'a look changes nothing');
    t.strictSame(await repair(pair), []);
    t.strictSame(compareTrees(pair.source, pair.root), []);
    const kept = join(pair.root, '.replica', 'kept');
    const contents = fs.readdirSync(kept).map(name => fs.readFileSync(join(kept, name)));
    t.ok(
      contents.some(bytes => bytes.equals(damaged)),
      'what was there is kept',
    );
  }
});

t.test('the top folder is compared, and mended, like any other', async t => {
  const pair = makePair(t);
  fs.writeFileSync(join(pair.source, 'file'), 'content');
  await push(pair);
  fs.chmodSync(pair.root, 0o711);
  t.strictSame(await verify(pair), ['mode ']);
  t.strictSame(await repair(pair), []);
  fs.utimesSync(pair.root, 1, 1);
  t.strictSame(await verify(pair), ['time ']);
  t.strictSame(await repair(pair), []);
  t.strictSame(compareTrees(pair.source, pair.root), []);
  fs.chmodSync(pair.source, 0o750);
  t.strictSame(await verify(pair), ['mode ']);
  t.strictSame(await repair(pair), []);
  t.strictSame(compareTrees(pair.source, pair.root), []);
});

t.test('a hard link that is none at the replica is found and made again', async t => {
  const pair = makePair(t);
  fs.mkdirSync(join(pair.source, 'folder'));
  for (const name of ['a', 'b', 'c']) fs.writeFileSync(join(pair.source, 'folder', name), 'file');
  fs.linkSync(join(pair.source, 'folder', 'a'), join(pair.source, 'linked'));
  await push(pair);
  const path = join(pair.root, 'linked');
  const { atime, mtime } = fs.statSync(pair.root);
  const stats = fs.statSync(path);
  fs.rmSync(path);
  fs.writeFileSync(path, 'file');
  fs.utimesSync(path, stats.atime, stats.mtime);
  fs.utimesSync(pair.root, atime, mtime);
  t.match(await verify(pair), ['hard link linked']);
  t.strictSame(await repair(pair), []);
  t.strictSame(compareTrees(pair.source, pair.root), []);
});

t.test('a hard link that only the source has is found', async t => {
  const pair = makePair(t);
  const folder = join(pair.source, 'folder');
  fs.mkdirSync(folder);
  for (const name of ['a', 'b']) {
    fs.writeFileSync(join(folder, name), 'same');
    fs.utimesSync(join(folder, name), 1_600_000_000, 1_600_000_000);
  }
  await push(pair);
  const { atime, mtime } = fs.statSync(folder);
  fs.rmSync(join(folder, 'b'));
  fs.linkSync(join(folder, 'a'), join(folder, 'b'));
  fs.utimesSync(folder, atime, mtime);
  t.match(await verify(pair), ['hard link folder/b']);
  t.strictSame(await repair(pair), []);
  t.strictSame(compareTrees(pair.source, pair.root), []);
});

t.test('what could not be looked into at first is, as a whole, the second time', async t => {
  const pair = makePair(t);
  fs.mkdirSync(join(pair.source, 'folder', 'deep'), { recursive: true });
  for (const name of ['a', 'b']) fs.writeFileSync(join(pair.source, 'folder', 'deep', name), name);
  const receiver = await openReceiver(pair.root, { isOnlyVerified: false });
  t.teardown(() => receiver.close());
  await pushOnce({ ...pair, receiver }, { exclude: ['/folder'] });
  const verifier = await openVerifier(receiver, pair.source);
  t.teardown(() => verifier.close());
  const first = await verifier.pass();
  t.strictSame(lines(first), ['missing folder']);
  // A sender is on its way.
  await pushOnce({ ...pair, receiver }, { exclude: ['b'] });
  t.match(lines(await verifier.again(first.differences)), ['missing folder/deep/b']);
  await pushOnce({ ...pair, receiver });
  t.strictSame(lines(await verifier.again(first.differences)), []);
});

const locked = isPrivileged ? 'root may read everything' : false;
t.test('a directory that can be listed again is compared', { skip: locked }, async t => {
  const pair = makePair(t);
  const folder = join(pair.source, 'folder');
  fs.mkdirSync(folder);
  fs.writeFileSync(join(folder, 'file'), 'content');
  await push(pair);
  flip(join(pair.root, 'folder', 'file'), 0);
  const { mode } = fs.statSync(folder);
  fs.chmodSync(folder, 0);
  const receiver = await openReceiver(pair.root);
  t.teardown(() => receiver.close());
  const verifier = await openVerifier(receiver, pair.source);
  t.teardown(() => verifier.close());
  const { differences } = await verifier.pass();
  fs.chmodSync(folder, mode);
  t.match(lines({ differences }), ['mode folder', 'unreadable folder']);
  t.strictSame(lines(await verifier.again(differences)), ['content folder/file']);
});

t.test('a verifier of before is told of neither', async t => {
  const pair = makePair(t);
  fs.writeFileSync(join(pair.source, 'a'), 'file');
  fs.linkSync(join(pair.source, 'a'), join(pair.source, 'b'));
  await push(pair);
  fs.rmSync(join(pair.root, 'b'));
  fs.writeFileSync(join(pair.root, 'b'), 'file');
  const receiver = await openReceiver(pair.root);
  t.teardown(() => receiver.close());
  const verifier = await FakeSender.open(receiver, { role: 'verifier' });
  await verifier.connection.send({ type: MessageType.Verify, content: true, ids: [rootId] });
  const { entries } = await verifier.next(MessageType.Checked);
  t.strictSame(
    entries.map(({ name, finding }) => `${name} ${finding}`),
    ['a same', 'b type'],
  );
  await verifier.close();
});

t.test('records forged to match an altered replica deceive nobody', async t => {
  const pair = makePair(t);
  fs.writeFileSync(join(pair.source, 'file'), randomBytes(seededRandom(2), 20_000));
  await push(pair);
  const path = join(pair.root, 'file');
  flip(path, 10_000);
  const folder = join(pair.root, '.replica', 'state');
  const store = await ReplicaStore.open({ folder, durable: false });
  if (!store) throw new Error('no state');
  const entry = store.entry(rootId, 'file' as never);
  if (!entry) throw new Error('no entry');
  const key = fileKey(entry.id, entry.version);
  const record = decodeFile(store.database.tables.files.get(key) ?? Buffer.alloc(0));
  const bytes = fs.readFileSync(path);
  const list = new BlockListBuilder();
  for (let i = 0; i < record.list.count; i++) {
    const from = record.list.offsetAt(i);
    const block = bytes.subarray(from, from + record.list.sizeAt(i));
    list.add(blockId(store.secret, block), block.length);
  }
  const stamp = stampOf(fs.statSync(path, { bigint: true }));
  const forged = encodeFile({ ...record, stamp, list: list.build() });
  await store.database.write(() => store.database.put('files', key, forged));
  await store.close();
  t.strictSame(await verify(pair), ['content file']);
  t.strictSame(await repair(pair), []);
  t.strictSame(compareTrees(pair.source, pair.root), []);
});

t.test('an edit of the source with its times restored is found and sent', async t => {
  const pair = makePair(t);
  fs.writeFileSync(join(pair.source, 'file'), randomBytes(seededRandom(3), size));
  fs.utimesSync(join(pair.source, 'file'), 1_600_000_000, 1_600_000_000);
  await push(pair);
  const before = fs.readFileSync(join(pair.root, 'file'));
  flip(join(pair.source, 'file'), 70_000);
  t.strictSame(await verify(pair), ['content file']);
  t.ok(fs.readFileSync(join(pair.root, 'file')).equals(before));
  t.strictSame(await repair(pair), []);
  t.strictSame(compareTrees(pair.source, pair.root), []);
});

t.test('each kind of difference is named with its reason', async t => {
  const pair = makePair(t);
  const { source, root } = pair;
  for (const name of ['mode', 'time', 'type', 'missing', 'gone', 'same', 'rewritten']) {
    fs.writeFileSync(join(source, name), `content of ${name}`);
  }
  fs.mkdirSync(join(source, 'folder', 'deep'), { recursive: true });
  fs.writeFileSync(join(source, 'folder', 'deep', 'file'), 'deep');
  fs.symlinkSync('one', join(source, 'link'));
  fs.symlinkSync('one', join(source, 'ours'));
  fs.writeFileSync(join(source, 'a'), 'group');
  fs.linkSync(join(source, 'a'), join(source, 'b'));
  await push(pair);
  fs.chmodSync(join(root, 'mode'), 0o600);
  fs.utimesSync(join(root, 'time'), 1, 1);
  fs.rmSync(join(root, 'type'));
  fs.symlinkSync('elsewhere', join(root, 'type'));
  fs.rmSync(join(root, 'missing'));
  fs.writeFileSync(join(root, 'foreign'), 'foreign');
  fs.writeFileSync(join(root, 'rewritten'), 'someone wrote here');
  fs.rmSync(join(root, 'folder', 'deep'), { recursive: true });
  fs.rmSync(join(root, 'link'));
  fs.symlinkSync('two', join(root, 'link'));
  fs.rmSync(join(source, 'gone'));
  fs.writeFileSync(join(source, 'new'), 'new');
  fs.rmSync(join(source, 'ours'));
  fs.symlinkSync('two', join(source, 'ours'));
  const b = fs.statSync(join(source, 'b'));
  fs.rmSync(join(source, 'b'));
  fs.writeFileSync(join(source, 'b'), 'group');
  fs.utimesSync(join(source, 'b'), b.atime, b.mtime);
  fs.utimesSync(join(root, 'folder'), 1, 1);
  const found = (await verify(pair)).filter(line => !/ [ab]$/.test(line));
  t.strictSame(found, [
    'content link',
    'content rewritten',
    'extra foreign',
    'extra gone',
    'missing folder/deep',
    'missing missing',
    'missing new',
    'mode mode',
    'target ours',
    'time ',
    'time folder',
    'time time',
    'type type',
  ]);
  t.strictSame(await repair(pair), []);
  t.strictSame(compareTrees(source, root), []);
  t.strictSame(await verify(pair, { paths: ['folder'] }), []);
});

t.test('what is excluded, or outside of the paths given, is not compared', async t => {
  const pair = makePair(t);
  const { source, root } = pair;
  for (const name of ['in', 'out']) {
    fs.mkdirSync(join(source, name));
    fs.writeFileSync(join(source, name, 'file'), name);
  }
  await push(pair);
  for (const name of ['in', 'out']) flip(join(root, name, 'file'), 0);
  t.strictSame(await verify(pair, { paths: ['in'] }), ['content in/file']);
  t.strictSame(await verify(pair, { exclude: ['/out'] }), ['content in/file']);
  fs.writeFileSync(join(source, '.replicaignore'), 'file\n');
  t.strictSame(await verify(pair), ['missing .replicaignore', 'time ']);
});

t.test('a list of blocks longer than a frame is compared to its end', async t => {
  const pair = makePair(t);
  const count = checkedBlocksMax + 1000;
  const size = count * blockSizeMin;
  const path = join(pair.source, 'file');
  fs.writeFileSync(path, '', { mode: 0o644 });
  fs.chmodSync(path, 0o644);
  fs.truncateSync(path, size);
  fs.utimesSync(path, 1_600_000_000, 1_600_000_000);
  const receiver = await openReceiver(pair.root, { isOnlyVerified: false });
  t.teardown(() => receiver.close());
  const sender = await FakeSender.open(receiver);
  const { mtimeNs } = fs.statSync(path, { bigint: true });
  const file = sender.file(rootId, 'file', '', { size, mtimeNs });
  const stage = 1;
  const open = { type: MessageType.StageOpen, stage, id: file.entry.id, size } as const;
  await sender.connection.send({ ...open, baseVersion: 0 });
  const id = zeroBlockId(sender.secret, blockSizeMin);
  const zero = { kind: 'zero', id, size: blockSizeMin } as const;
  const pieces = new Array<typeof zero>(1000).fill(zero);
  for (let from = 0; from < count; from += pieces.length) {
    await sender.connection.send({ type: MessageType.StageData, stage, pieces });
  }
  await sender.commit([{ ...file, content: { kind: 'stage', stage } } as never]);
  const verifier = await openVerifier(receiver, pair.source);
  t.teardown(() => verifier.close());
  const equal = await verifier.pass();
  t.strictSame(lines(equal), []);
  t.equal(equal.bytes, size);
  flip(path, size - 1);
  t.strictSame(lines(await verifier.pass()), ['content file']);
  await sender.close();
});

t.test('a verifier fences no sender, and there are two at most', async t => {
  const pair = makePair(t);
  fs.writeFileSync(join(pair.source, 'file'), 'content');
  const receiver = await openReceiver(pair.root, { isOnlyVerified: false });
  t.teardown(() => receiver.close());
  await pushOnce({ ...pair, receiver });
  const sender = await FakeSender.open(receiver, { instanceId: Buffer.alloc(16, 9) });
  const first = await openVerifier(receiver, pair.source);
  const second = await openVerifier(receiver, pair.source);
  await t.rejects(openVerifier(receiver, pair.source, { timeoutMs: 0 }), { code: 'ERR_TIMEOUT' });
  t.strictSame(lines(await first.pass()), []);
  t.strictSame(lines(await second.pass()), []);
  flip(join(pair.root, 'file'), 0);
  const { differences } = await first.pass();
  t.strictSame(await first.mend(differences), { count: 1, hasSender: true });
  const { entries } = await sender.next(MessageType.Lost);
  t.equal(entries[0]?.name, 'file', 'the sender is told');
  await sender.commit([sender.file(rootId, 'again', 'content')]);
  await first.close();
  await second.close();
  await sender.close();
});

t.test('another source is refused', async t => {
  const pair = makePair(t);
  await push(pair);
  const receiver = await openReceiver(pair.root);
  t.teardown(() => receiver.close());
  const sourceId = Buffer.alloc(16, 5);
  await t.rejects(openVerifier(receiver, pair.source, { sourceId }), { code: 'ERR_FOREIGN' });
});
