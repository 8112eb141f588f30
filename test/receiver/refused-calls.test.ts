// A destination whose file system refuses some calls, and a receiver that ends as somebody calls.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Receiver } from '../../src/receiver/receiver.ts';
import { Fuse } from '../support/crashing-directory.ts';
import { FakeSender } from '../support/fake-sender.ts';
import { makeDiskFolder } from '../support/folders.ts';
import { pushOnce, runUntilTeardown, senderOptions } from '../support/push-once.ts';
import { collectingLog, openReceiver, receiverDefaults } from '../support/receivers.ts';
import { compareTrees } from '../support/tree.ts';
import { until } from '../support/until.ts';

type Test = Parameters<Parameters<typeof t.test>[0]>[0];

const fastPauses = { sliceMs: 1, firstSliceMs: 1, sweepMs: 1, cleanMs: 3_600_000 };

/** Pushes what `make` puts into the source, to a receiver whose destination refuses when told to. */
async function synced(t: Test, make: (source: string) => void, isLooking = false) {
  const folder = makeDiskFolder(t);
  const [source, root] = [join(folder, 'source'), join(folder, 'target')];
  for (const path of [source, root]) fs.mkdirSync(path);
  make(source);
  const fuse = new Fuse();
  const { log, lines } = collectingLog();
  const looks = isLooking ? { pauses: fastPauses } : {};
  const openRoot = (path: string) => fuse.openRoot(path);
  const receiver = await openReceiver(t, { root, log, openRoot, ...looks });
  const push = { folder, source, receiver };
  t.match((await pushOnce(push)).outcome, { inSync: true });
  return { source, root, fuse, lines, receiver, push };
}

function files(...names: readonly string[]): (source: string) => void {
  return source => {
    for (const name of names) fs.writeFileSync(join(source, name), name);
  };
}

t.test('where files are bound to their directories (EXDEV of link) they are replaced', async t => {
  const { source, root, fuse, push } = await synced(t, files('file'));
  fuse.refusals.add({ kind: 'call', call: 'link', code: 'EXDEV' });
  fs.writeFileSync(join(source, 'file'), 'after');
  t.match((await pushOnce(push)).outcome, { inSync: true, problems: 0 });
  t.ok(fuse.refusals.count > 0, 'a link was refused');
  t.strictSame(compareTrees(source, root), []);
});

t.test(
  'a further name of a file arrives though its first cannot be brought up to date',
  async t => {
    const { source, root, fuse, push } = await synced(t, files('first'));
    fs.writeFileSync(join(source, 'first'), 'and after');
    fs.linkSync(join(source, 'first'), join(source, 'second'));
    fuse.refusals.add({ kind: 'name', name: 'first', code: 'EACCES' });
    const abandon = new AbortController();
    // What is refused so often is tried for ever.
    fuse.before = () => fuse.refusals.count > 20 && abandon.abort();
    const sender = await runUntilTeardown(t, senderOptions(push, { once: false, intervalMs: 50 }));
    const flushed = await sender.flush(abandon.signal).catch((error: unknown) => String(error));
    t.match(flushed, { problems: Number, held: 0 });
    t.equal(fs.readFileSync(join(root, 'second'), 'utf8'), 'and after');
    fuse.refusals.lift();
    t.match(await sender.flush(), { problems: 0 });
    t.strictSame(compareTrees(source, root), [], 'and they are one file then');
  },
);

t.test('a flush ends though the name that was refused is gone, and its delete held', async t => {
  const { source, root, fuse, push } = await synced(t, files('first', 'x', 'y', 'z'));
  const maxDelete = { kind: 'count', value: 1 } as const;
  const options = senderOptions(push, { once: false, intervalMs: 3_600_000, maxDelete });
  const sender = await runUntilTeardown(t, options);
  await sender.flush();
  fs.writeFileSync(join(source, 'first'), 'and after');
  fs.linkSync(join(source, 'first'), join(source, 'second'));
  fuse.refusals.add({ kind: 'name', name: 'first', code: 'EACCES' });
  await sender.flush();
  for (const name of ['first', 'x', 'y']) fs.rmSync(join(source, name));
  t.match(await sender.flush(), { held: 3 });
  t.equal(await sender.decide('approve'), 3);
  t.match(await sender.flush(), { held: 0, problems: 0 });
  t.strictSame(compareTrees(source, root), []);
});

t.test('a sender that calls while the receiver ends hears that, at whatever moment', async t => {
  const { log, lines } = collectingLog();
  const root = makeDiskFolder(t);
  for (let turns = 0; turns < 25; turns++) {
    const receiver = await Receiver.open({ ...receiverDefaults, root, log });
    const sender = FakeSender.connect(receiver);
    await sender.hello({ instanceId: Buffer.alloc(16, turns + 1) });
    for (let i = 0; i < turns; i++) await new Promise(resolve => setImmediate(resolve));
    await receiver.close();
    await sender.served;
  }
  t.strictSame(
    lines.filter(line => line.startsWith('error')),
    [],
  );
});

t.test('attributes that are refused as a file gets another name are not recorded', async t => {
  for (const call of ['chmod', 'setTimes'] as const) {
    const { source, root, fuse, push } = await synced(t, files('file', 'other'));
    fs.renameSync(join(source, 'file'), join(source, 'renamed'));
    fs.linkSync(join(source, 'other'), join(source, 'linked'));
    fs.chmodSync(join(source, 'renamed'), 0o600);
    fs.chmodSync(join(source, 'linked'), 0o600);
    const seconds =
      call === 'setTimes' ? 1_000_000_000 : fs.statSync(join(source, 'other')).mtimeMs / 1000;
    fs.utimesSync(join(source, 'linked'), seconds, seconds);
    fuse.refusals.add({ kind: 'call', call, code: 'EPERM' });
    t.match((await pushOnce(push)).outcome, { inSync: false }, `${call}: it is told`);
    fuse.refusals.lift();
    t.match((await pushOnce(push)).outcome, { inSync: true, problems: 0 });
    t.strictSame(compareTrees(source, root), [], `${call}: and made up for`);
  }
});

t.test('a directory that could not take its time back gets it once it can', async t => {
  const { source, root, fuse } = await synced(t, at => fs.mkdirSync(join(at, 'd')), true);
  const stats = fs.lstatSync(join(root, 'd'), { bigint: true });
  fuse.refusals.add({ kind: 'entry', stats });
  fs.utimesSync(join(root, 'd'), 1_000_000_000, 1_000_000_000);
  const { count } = fuse.refusals;
  await until(() => fuse.refusals.count > count + 1, 'two more tries');
  fuse.refusals.lift();
  await until(() => compareTrees(source, root).length === 0, 'equal');
});

t.test('what a refused step left in place is still known after a crash', async t => {
  const folder = makeDiskFolder(t);
  const source = join(folder, 'source');
  const root = join(folder, 'target');
  for (const path of [source, root]) fs.mkdirSync(path);
  fs.writeFileSync(join(source, 'file'), 'before');
  const fuse = new Fuse();
  let isDue = false;
  const { log, lines } = collectingLog();
  const options = {
    ...receiverDefaults,
    root,
    log,
    openRoot: (path: string) => fuse.openRoot(path),
  };
  const onStep = (label: string): void => {
    if (isDue && label === 'records') fuse.blow();
  };
  const first = await Receiver.open({ ...options, onStep });
  t.match((await pushOnce({ folder, source, receiver: first })).outcome, { inSync: true });
  fs.writeFileSync(join(source, 'file'), 'and after');
  fuse.refusals.add({ kind: 'name', name: 'file', code: 'EACCES' });
  isDue = true;
  await pushOnce({ folder, source, receiver: first }, { timeoutMs: 100 });
  t.ok(fuse.isBlown && fuse.refusals.count > 0, 'it was refused, and then came the crash');
  await first.close().catch(() => {});
  fuse.replace();
  fs.rmSync(join(root, '.replica', 'receive.lock'), { force: true });
  lines.length = 0;
  const receiver = await openReceiver(t, { ...options, pauses: fastPauses });
  t.match((await pushOnce({ folder, source, receiver })).outcome, { inSync: false });
  await until(() => receiver.sweepCount > 1, 'a look at the tree');
  t.equal(fs.readFileSync(join(root, 'file'), 'utf8'), 'before');
  t.strictSame(
    lines.filter(line => line.includes('drift')),
    [],
  );
  fuse.refusals.lift();
  t.match((await pushOnce({ folder, source, receiver })).outcome, { inSync: true });
});

t.test('what made room for a refused step and cannot go back is kept, and comes again', async t => {
  const { source, root, fuse, lines, push } = await synced(t, at => {
    for (const name of ['a', 'b']) fs.mkdirSync(join(at, name));
    files('a/file', 'b/file')(at);
  });
  fs.renameSync(join(source, 'a'), join(source, 'c'));
  fs.renameSync(join(source, 'b'), join(source, 'a'));
  fs.renameSync(join(source, 'c'), join(source, 'b'));
  for (const name of ['a', 'b']) fuse.refusals.add({ kind: 'name', name, code: 'EACCES' });
  t.match((await pushOnce(push)).outcome, { inSync: false });
  t.strictSame(fs.readdirSync(join(root, '.replica', 'limbo')), [], 'nothing is left in limbo');
  fuse.refusals.lift();
  t.match((await pushOnce(push)).outcome, { inSync: true });
  t.strictSame(compareTrees(source, root), []);
  t.strictSame(
    lines.filter(line => line.includes('drift')),
    [],
  );
});

t.test('a mode that cannot be put back keeps no drift elsewhere from being found', async t => {
  const { source, root, fuse, receiver } = await synced(t, files('a', 'z'), true);
  fuse.refusals.add({ kind: 'call', call: 'chmod', name: 'a', code: 'EPERM' });
  fs.chmodSync(join(root, 'a'), 0o600);
  await until(() => fuse.refusals.count > 2, 'some tries');
  fs.writeFileSync(join(root, 'z'), 'altered');
  await until(() => receiver.driftCount > 0, 'the drift was found');
  fuse.refusals.lift();
  const mode = fs.statSync(join(source, 'a')).mode;
  await until(() => fs.statSync(join(root, 'a')).mode === mode, 'the mode was put back');
});
