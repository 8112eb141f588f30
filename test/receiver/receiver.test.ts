import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { silentLog } from '../../src/log.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import type { ReceiverOptions } from '../../src/receiver/receiver-options.ts';
import { toName } from '../../src/snapshot/name.ts';
import { ConfinedDirectory } from '../../src/tree/confined-directory.ts';
import { SystemError } from '../../src/tree/system-error.ts';
import { FakeSender, remove, rename, rootId } from '../support/fake-sender.ts';
import { pushOnce } from '../support/push-once.ts';
import { listAll } from '../support/receivers.ts';
import { treeText } from '../support/tree-text.ts';

const defaults = {
  adopt: false,
  takeOver: false,
  fsync: 'batch',
  keepMs: 24 * 3600 * 1000,
  specialBits: false,
  log: silentLog,
} as const;

async function open(t: Test, options: Partial<ReceiverOptions> = {}): Promise<Receiver> {
  const root = options.root ?? t.testdir();
  const receiver = await Receiver.open({ ...defaults, root, ...options });
  t.teardown(() => receiver.close());
  return receiver;
}

t.test('a first copy: directories, files, links, modes and times', async t => {
  const root = t.testdir();
  const receiver = await open(t, { root });
  const sender = await FakeSender.open(receiver);
  const sub = sender.directory(rootId, 'sub', { mode: 0o500 });
  const outcome = await sender.commit([
    sub,
    sender.file(sub.entry.id, 'a', 'hello', { mode: 0o604 }),
    sender.file(rootId, 'empty', ''),
    sender.link(rootId, 'link', 'sub/a'),
    { kind: 'attributes', parent: 0, name: '', entry: { ...sub.entry, id: rootId, mode: 0o755 } },
  ]);
  t.strictSame(outcome, { rejected: [], lost: [] });
  const us = sub.entry.mtimeNs / 1000n;
  t.strictSame(treeText(root, { attributes: true }), [
    `empty '' 644 ${us}`,
    'link -> sub/a',
    `sub/ 500 ${us}`,
    `sub/a 'hello' 604 ${us}`,
  ]);
  t.equal(fs.lstatSync(root, { bigint: true }).mtimeNs / 1000n, us, 'time of the root');
  fs.chmodSync(join(root, 'sub'), 0o700); // Or only root could clear it away.
  await sender.close();
});

t.test('a replaced file is kept, the new one takes its place', async t => {
  const root = t.testdir();
  const receiver = await open(t, { root });
  const sender = await FakeSender.open(receiver);
  const file = sender.file(rootId, 'a', 'one');
  await sender.commit([file]);
  const { id } = file.entry;
  const outcome = await sender.commit([sender.file(rootId, 'a', 'two', { id, version: 2 })]);
  t.strictSame(outcome, { rejected: [], lost: [] });
  t.strictSame(treeText(root), ["a 'two'"]);
  t.strictSame(treeText(join(root, '.replica', 'kept')), ["2.0.0-a 'one'"]);
  await sender.close();
});

t.test('swaps and cycles within a commit', async t => {
  const root = t.testdir();
  const receiver = await open(t, { root });
  const sender = await FakeSender.open(receiver);
  const a = sender.file(rootId, 'a', 'A');
  const b = sender.file(rootId, 'b', 'B');
  const d = sender.directory(rootId, 'd');
  const inner = sender.file(d.entry.id, 'inner', 'I');
  const l = sender.link(rootId, 'l', 'target');
  await sender.commit([a, b, d, inner, l]);
  const outcome = await sender.commit([
    rename(a, rootId, 'b'),
    rename(b, rootId, 'd'),
    rename(d, rootId, 'l'),
    rename(l, rootId, 'a'),
  ]);
  t.strictSame(outcome, { rejected: [], lost: [] });
  t.strictSame(treeText(root), ['a -> target', "b 'A'", "d 'B'", 'l/', "l/inner 'I'"]);
  t.strictSame(fs.readdirSync(join(root, '.replica', 'limbo')), []);
  t.strictSame(fs.readdirSync(join(root, '.replica', 'kept')), []);
  await sender.close();
});

t.test('a removed directory is kept in one move, and its files are block sources', async t => {
  const root = t.testdir();
  const receiver = await open(t, { root });
  const sender = await FakeSender.open(receiver);
  const d = sender.directory(rootId, 'd');
  const bytes = Buffer.alloc(20_000, 'x');
  const f = sender.file(d.entry.id, 'f', bytes);
  await sender.commit([d, f]);
  t.strictSame(await sender.commit([remove(rootId, 'd', d.entry.id)]), { rejected: [], lost: [] });
  t.strictSame(treeText(root), []);
  const pieces = [bytes.subarray(0, 8192), bytes.subarray(0, 8192), bytes.subarray(16384)];
  const again = {
    ...sender.file(rootId, 'back', bytes),
    content: { kind: 'inline', baseVersion: 0, pieces: pieces.map(p => sender.block(p)) },
  } as const;
  t.strictSame(await sender.commit([again]), { rejected: [], lost: [] });
  t.strictSame(treeText(root), ['back 20000 bytes']);
  await sender.close();
});

t.test('a drifted file is kept and the source wins; an altered name is not removed', async t => {
  const root = t.testdir();
  const receiver = await open(t, { root });
  const sender = await FakeSender.open(receiver);
  const a = sender.file(rootId, 'a', 'A');
  const b = sender.file(rootId, 'b', 'B');
  await sender.commit([a, b]);
  fs.writeFileSync(join(root, 'a'), 'mine');
  fs.writeFileSync(join(root, 'c'), 'foreign');
  const outcome = await sender.commit([
    sender.file(rootId, 'a', 'A2', { id: a.entry.id, version: 2 }),
    sender.file(rootId, 'c', 'C'),
    remove(rootId, 'b', b.entry.id),
  ]);
  t.strictSame(outcome, { rejected: [], lost: [] });
  t.strictSame(treeText(root), ["a 'A2'", "c 'C'"]);
  t.equal(receiver.driftCount, 2);
  t.strictSame(treeText(join(root, '.replica', 'kept')), [
    "2.0.0-a 'mine'",
    "2.1.0-c 'foreign'",
    "2.2.0-b 'B'",
  ]);
  await sender.close();
});

t.test('a step that failed and was undone is no drift', async t => {
  const root = t.testdir();
  let isFailing = false;
  const onStep = (label: string) => {
    if (!isFailing || label !== 'file 0') return;
    const staging = join(root, '.replica', 'staging');
    for (const name of fs.readdirSync(staging)) fs.rmSync(join(staging, name));
  };
  const receiver = await open(t, { root, onStep });
  const sender = await FakeSender.open(receiver);
  const a = sender.file(rootId, 'a', 'one');
  await sender.commit([a]);
  const { id } = a.entry;
  isFailing = true;
  const failed = await sender.commit([sender.file(rootId, 'a', 'two', { id, version: 2 })]);
  isFailing = false;
  t.strictSame(
    failed.rejected.map(({ reason }) => reason),
    ['refused'],
  );
  t.strictSame(treeText(root), ["a 'one'"]);
  const outcome = await sender.commit([sender.file(rootId, 'a', 'three', { id, version: 3 })]);
  t.strictSame(outcome, { rejected: [], lost: [] });
  t.equal(receiver.driftCount, 0);
  t.strictSame(treeText(root), ["a 'three'"]);
  await sender.close();
});

t.test('digest, listing and watermark survive a restart', async t => {
  const root = t.testdir();
  const first = await Receiver.open({ ...defaults, root });
  const sender = await FakeSender.open(first);
  const d = sender.directory(rootId, 'd');
  const f = sender.file(d.entry.id, 'f', 'F');
  await sender.commit([d, f]);
  await sender.commit([]);
  await sender.close();
  await first.close();
  const receiver = await open(t, { root });
  const again = await FakeSender.open(receiver);
  t.equal(again.welcome?.watermark, 2n);
  t.equal(again.welcome?.entryCount, 2n);
  t.equal(again.welcome?.nextId, 4);
  t.strictSame(again.welcome?.epoch, sender.welcome?.epoch);
  await again.connection.send({ type: 10 });
  const digests = await again.next(11);
  t.strictSame(
    digests.directories.map(one => one.id),
    [1, d.entry.id],
  );
  await again.connection.send({ type: 12, ids: [rootId, d.entry.id] });
  const listing = await again.next(13);
  t.strictSame(listing.entries, [
    { parent: rootId, name: toName('d'), entry: d.entry },
    { parent: d.entry.id, name: toName('f'), entry: f.entry },
  ]);
  await again.close();
});

t.test('a destination that was removed under the receiver is called so', async t => {
  const root = join(t.testdir({ target: {} }), 'target');
  const receiver = await open(t, { root });
  const first = await FakeSender.open(receiver);
  await first.commit([first.file(rootId, 'a', 'A')]);
  await first.close();
  fs.rmSync(root, { recursive: true });
  await t.rejects(FakeSender.open(receiver), { message: /"code":"io".*destination was removed/ });
});

t.test("a destination that is somebody else's, and writable, is written to", async t => {
  const root = t.testdir();
  const refuse = (): never => {
    throw new SystemError('EPERM', 'not the owner');
  };
  const openRoot = (path: string): ConfinedDirectory =>
    Object.assign(ConfinedDirectory.openRoot(path), { setTimesSelf: refuse, chmodSelf: refuse });
  const receiver = await open(t, { root, openRoot });
  const sender = await FakeSender.open(receiver);
  const { entry } = sender.directory(rootId, 'unused');
  const top = { ...entry, id: rootId, mode: 0o711 };
  for (const name of ['a', 'b']) {
    const attributes = { kind: 'attributes', parent: 0, name: '', entry: top } as const;
    const { rejected, lost } = await sender.commit([sender.file(rootId, name, name), attributes]);
    t.match(rejected, [{ index: 1, reason: 'refused', message: /^\.: .*owner \(EPERM\)$/ }]);
    t.strictSame(lost, []);
  }
  t.strictSame(treeText(root), ["a 'a'", "b 'b'"]);
  t.strictSame(
    await listAll(sender),
    ['1/a file 3 v1', '1/b file 4 v1'],
    'the root is not recorded',
  );
  await sender.close();
});

t.test('a directory that keeps its mode and time is a problem of the pass', async t => {
  const folder = t.testdir({ source: { d: { f: 'F' } }, target: {} });
  const [source, root] = [join(folder, 'source'), join(folder, 'target')];
  let isRefused = true;
  const refuse = (name: 'setTimesSelf' | 'chmodSelf') =>
    function (this: ConfinedDirectory, value: never): void {
      if (isRefused && this.stat().ino === fs.statSync(join(root, 'd'), { bigint: true }).ino) {
        throw new SystemError('EPERM', 'not the owner');
      }
      ConfinedDirectory.prototype[name].call(this, value);
    };
  const openRoot = (path: string): ConfinedDirectory => {
    const directory = ConfinedDirectory.openRoot(path);
    const sub = directory.sub.bind(directory);
    return Object.assign(directory, {
      sub: (name: never) =>
        Object.assign(sub(name), {
          setTimesSelf: refuse('setTimesSelf'),
          chmodSelf: refuse('chmodSelf'),
        }),
    });
  };
  const receiver = await open(t, { root, openRoot });
  isRefused = false;
  t.match((await pushOnce({ folder, source, receiver })).outcome, { inSync: true, problems: 0 });
  isRefused = true;
  fs.writeFileSync(join(source, 'd', 'g'), 'G');
  fs.utimesSync(join(source, 'd'), 1e9, 1e9);
  const refused = await pushOnce({ folder, source, receiver });
  t.match(refused.outcome, { inSync: false, problems: 1, error: undefined });
  const problems = refused.events.flatMap(one => (one.kind === 'problem' ? [one.problem] : []));
  t.match(problems, [{ path: 'd', code: 'EREFUSED', message: /EPERM/ }]);
  t.equal(fs.readFileSync(join(root, 'd', 'g'), 'utf8'), 'G', 'what is in it flows');
  isRefused = false;
  t.match((await pushOnce({ folder, source, receiver })).outcome, { inSync: true, problems: 0 });
  t.equal(fs.statSync(join(root, 'd')).mtimeMs, 1e12);
});
