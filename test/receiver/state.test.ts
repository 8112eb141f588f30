import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { chooseStateFolder } from '../../src/receiver/open-store.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import type { ReceiverOptions } from '../../src/receiver/receiver-options.ts';
import { FakeSender, rootId } from '../support/fake-sender.ts';
import { collectingLog, receiverDefaults } from '../support/receivers.ts';
import { treeText } from '../support/tree-text.ts';

type Options = Partial<ReceiverOptions> & { readonly root: string };

async function open(t: Test, options: Options): Promise<Receiver> {
  const receiver = await Receiver.open({ ...receiverDefaults, fsync: 'off', ...options });
  t.teardown(() => receiver.close());
  return receiver;
}

/** Writes one file into a replica, and closes it. */
async function write(options: Options, name: string, text: string): Promise<void> {
  const receiver = await Receiver.open({ ...receiverDefaults, fsync: 'off', ...options });
  const sender = await FakeSender.open(receiver);
  await sender.commit([sender.file(rootId, name, text)]);
  await sender.close();
  await receiver.close();
}

/** What a sender is told at its welcome. */
async function entryCount(receiver: Receiver): Promise<bigint | undefined> {
  const sender = await FakeSender.open(receiver);
  await sender.close();
  return sender.welcome?.entryCount;
}

t.test('--state: one folder serves several destinations', async t => {
  const folder = t.testdir({ one: {}, two: {} });
  const stateFolder = join(folder, 'new', 'state');
  const one = { root: join(folder, 'one'), stateFolder };
  const two = { root: join(folder, 'two'), stateFolder };
  await write(one, 'a', 'A');
  await write(two, 'b', 'B');
  await write(two, 'c', 'C');
  t.equal(fs.readdirSync(stateFolder).length, 2);
  t.notOk(fs.existsSync(join(folder, 'one', '.replica', 'state')));
  t.equal(await entryCount(await open(t, one)), 1n);
  t.equal(await entryCount(await open(t, two)), 2n);
});

t.test('--state: another tree at the same path does not get the records of the first', async t => {
  const folder = t.testdir({ target: {}, other: {} });
  const stateFolder = join(folder, 'state');
  const root = join(folder, 'target');
  await write({ root, stateFolder }, 'a', 'A');
  await write({ root: join(folder, 'other') }, 'b', 'B');
  fs.renameSync(root, join(folder, 'away'));
  fs.renameSync(join(folder, 'other'), root);
  const { log, lines } = collectingLog();
  const receiver = await open(t, { root, stateFolder, log });
  t.match(lines.join('\n'), /warn the state of this replica cannot be used.*made anew/);
  t.equal(await entryCount(receiver), 1n);
  const sender = await FakeSender.open(receiver);
  await sender.commit([]);
  t.strictSame(treeText(root), ["b 'B'"], 'nothing of it is touched');
  t.equal(receiver.driftCount, 0);
  await sender.close();
});

t.test('--state: records that missed what came without it are made anew', async t => {
  const folder = t.testdir({ target: {} });
  const stateFolder = join(folder, 'state');
  const root = join(folder, 'target');
  await write({ root, stateFolder }, 'a', 'A');
  await write({ root }, 'b', 'B');
  const { log, lines } = collectingLog();
  const receiver = await open(t, { root, stateFolder, log });
  t.match(lines.join('\n'), /cannot be used/);
  t.equal(await entryCount(receiver), 2n);
});

t.test('a state folder in the destination is refused, and leaves nothing there', async t => {
  const root = t.testdir({ real: {} });
  fs.symlinkSync(root, join(root, 'real', 'around'));
  for (const stateFolder of [root, join(root, 'state'), join(root, 'real', 'around', 'x', 'y')]) {
    const options = { ...receiverDefaults, adopt: true, root, stateFolder };
    await t.rejects(Receiver.open(options), { code: 'ERR_PATH', message: /lies in the destin/ });
  }
  t.strictSame(fs.readdirSync(root), ['real']);
});

t.test('state on a network file system is refused with the advice', async t => {
  const folder = t.testdir({ remote: {}, local: {} });
  const root = join(folder, 'remote');
  const isNetwork = (path: string): boolean => path.startsWith(root);
  t.throws(() => chooseStateFolder({ root, isNetwork }), {
    code: 'ERR_PATH',
    message:
      /network file system.*'replica receive --state DIR' with a local DIR, and push to that/,
  });
  const local = join(folder, 'local');
  t.throws(() => chooseStateFolder({ root: local, stateFolder: `${root}-state`, isNetwork }), {
    code: 'ERR_PATH',
  });
  t.match(chooseStateFolder({ root, stateFolder: local, isNetwork }), /local\/[0-9a-f]{32}$/);
});

t.test('a lock of another machine says what to do when that is gone', async t => {
  const root = t.testdir({ '.replica': { 'receive.lock': '7 12345 old-container\n' } });
  await t.rejects(open(t, { root }), {
    code: 'ERR_PATH',
    message: /\(pid 7 on old-container\); if that is gone, remove \.replica\/receive\.lock/,
  });
  fs.rmSync(join(root, '.replica', 'receive.lock'));
  t.equal(await entryCount(await open(t, { root })), 0n);
});

t.test('a second receive on a destination is refused, whatever its state folder', async t => {
  const folder = t.testdir({ target: {} });
  const root = join(folder, 'target');
  const first = await open(t, { root });
  const refused = {
    code: 'ERR_PATH',
    message: /another receive, or a push to this folder, is running \(pid \d+\)/,
  };
  await t.rejects(open(t, { root }), refused);
  await t.rejects(open(t, { root, stateFolder: join(folder, 'state') }), refused);
  t.equal(await entryCount(first), 0n, 'the first goes on');
  await first.close();
  t.equal(await entryCount(await open(t, { root })), 0n);
});
