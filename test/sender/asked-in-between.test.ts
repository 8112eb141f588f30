// What is asked for while something is under way is answered by what comes after it.
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { memoryPair } from '../../src/net/memory-pair.ts';
import type { Change } from '../../src/sender/change.ts';
import type { Scanner } from '../../src/sender/scanner.ts';
import type { Sender } from '../../src/sender/sender.ts';
import type { SenderOptions } from '../../src/sender/sender-options.ts';
import { SnapshotStore } from '../../src/store/snapshot-store.ts';
import { DirectSource } from '../../src/tree/source.ts';
import { SystemError } from '../../src/tree/system-error.ts';
import { MessageType } from '../../src/wire/messages.ts';
import { makeDiskFolder } from '../support/folders.ts';
import { pushOnce, runUntilTeardown, senderOptions } from '../support/push-once.ts';
import { openReceiver } from '../support/receivers.ts';
import { openScanner, sweep } from '../support/scanning.ts';
import { until } from '../support/until.ts';

const never = 3_600_000;
const past = new Date(1.7e12);

type Connect = SenderOptions['connect'];

/** A live sender that looks when it is flushed only. */
async function start(
  t: Test,
  wrap: (connect: Connect) => Connect = connect => connect,
): Promise<{ sender: Sender; source: string; target: string }> {
  const folder = makeDiskFolder(t);
  const [source, target] = [join(folder, 'source'), join(folder, 'target')];
  for (const path of [source, target]) fs.mkdirSync(path);
  fs.writeFileSync(join(source, 'f'), 'first');
  fs.utimesSync(join(source, 'f'), past, past);
  const receiver = await openReceiver(t, { root: target });
  const connect = wrap(async () => {
    const [near, far] = memoryPair();
    void receiver.serve(far);
    return near;
  });
  const own = { connect, once: false, intervalMs: never, cpuShare: 1e-9 };
  const sender = await runUntilTeardown(t, senderOptions({ folder, source, receiver }, own));
  // Until its times are believed.
  await sender.flush();
  await new Promise(resolve => setTimeout(resolve, 2100));
  await sender.flush();
  await sender.flush();
  return { sender, source, target };
}

const read = (folder: string, name: string): string => fs.readFileSync(join(folder, name), 'utf8');

t.test('a flush whose connection breaks is answered by the next one', async t => {
  let isArmed = false;
  let isDown = false;
  let open = (): void => {};
  const opened = new Promise<void>(resolve => {
    open = resolve;
  });
  const { sender, source, target } = await start(t, connect => async signal => {
    if (isDown) await opened;
    const near = await connect(signal);
    const send = near.send.bind(near);
    near.send = async message => {
      if (isArmed && message.type === MessageType.Operations) {
        isArmed = false;
        isDown = true;
        void near.close();
      }
      return send(message);
    };
    return near;
  });
  fs.writeFileSync(join(source, 'f'), 'second');
  isArmed = true;
  let isFlushed = false;
  const flushed = sender.flush().then(() => {
    isFlushed = true;
    return read(target, 'f');
  });
  await until(() => isDown);
  await until(() => sender.status.state !== 'in sync');
  await new Promise(resolve => setTimeout(resolve, 300));
  t.equal(isFlushed, false, 'nothing is durable while nobody is connected');
  isDown = false;
  open();
  t.equal(await flushed, 'second');
});

t.test('a flush reads what goes by another name with its old times', async t => {
  const { sender, source, target } = await start(t);
  fs.writeFileSync(join(source, 'f'), 'SECON');
  fs.utimesSync(join(source, 'f'), past, past);
  fs.renameSync(join(source, 'f'), join(source, 'g'));
  await sender.flush();
  t.equal(read(target, 'g'), 'SECON');
});

const folders = 20;
const perFolder = 100;
const folderName = (i: number): string => `d${String(i).padStart(2, '0')}`;

function confirm(scanner: Scanner, changes: readonly Change[]): void {
  scanner.observed.confirm(changes.filter(one => one.token > 0).map(({ token }) => ({ token })));
}

function removeFiles(root: string, from: number, to: number): void {
  for (let i = from; i < to; i++) {
    const folder = join(root, folderName(i));
    for (const name of fs.readdirSync(folder)) fs.rmSync(join(folder, name));
  }
}

/** 1,200 deletes are held; the verdict comes in the middle of the next sweep. */
function decideInMidSweep(
  t: Test,
  verdict: 'approve' | 'reject',
  between: (root: string) => void,
): { removed: string[]; heldAfter: number | undefined } {
  const maxDelete = { kind: 'count', value: 100 } as const;
  const { root, scanner } = openScanner(t, verdict, { maxDelete });
  fs.mkdirSync(root);
  for (let i = 0; i < folders; i++) {
    fs.mkdirSync(join(root, folderName(i)));
    for (let j = 0; j < perFolder; j++) fs.writeFileSync(join(root, folderName(i), `f${j}`), 'x');
  }
  for (let i = 0; i < 2; i++) confirm(scanner, sweep(scanner).changes);
  removeFiles(root, 8, 20);
  const held = sweep(scanner);
  confirm(scanner, held.changes);
  t.match(held.summary.held, { count: 1200 });
  between(root);
  const changes: Change[] = [];
  let isDecided = false;
  for (let slices = 1; ; slices++) {
    const slice = scanner.next(100_000, 0);
    changes.push(...slice.changes);
    if (slice.summary !== undefined) break;
    if (slices !== 12) continue;
    t.equal(scanner.decide(verdict), 1200);
    isDecided = true;
  }
  t.ok(isDecided, 'in the middle of a sweep');
  confirm(scanner, changes);
  const next = sweep(scanner);
  const all = [...changes, ...next.changes];
  const removed = all.filter(({ kind }) => kind === 'remove').map(({ path }) => path);
  return { removed, heldAfter: next.summary.held?.count };
}

t.test('what was rejected in the middle of a sweep stays, all of it', async t => {
  const { removed, heldAfter } = decideInMidSweep(t, 'reject', () => {});
  t.strictSame(removed, []);
  t.equal(heldAfter, undefined);
});

t.test('an approval in the middle of a sweep is for what was held', async t => {
  const accident = (root: string): void => removeFiles(root, 0, 6);
  const { removed } = decideInMidSweep(t, 'approve', accident);
  t.equal(removed.filter(path => path >= folderName(8)).length, 1200);
  t.strictSame(
    removed.filter(path => path < folderName(6)),
    [],
    'nobody was asked about these',
  );
});

for (const how of ['linked', 'renamed, and another in its place'] as const) {
  t.test(`content under its old times is read when it is ${how}, also by --once`, async t => {
    const folder = t.testdir({ source: { f: 'first' }, target: {} });
    const [source, target] = [join(folder, 'source'), join(folder, 'target')];
    fs.utimesSync(join(source, 'f'), past, past);
    const receiver = await openReceiver(t, { root: target });
    await pushOnce({ folder, source, receiver });
    // The process of before may have read it just now: only then are its times believed.
    const stateFolder = join(folder, 'sender-state');
    const store = SnapshotStore.open(stateFolder);
    store.transaction(() => {
      for (const { id } of store.recent(10)) store.dropRecent(id);
    });
    await store.close();
    fs.writeFileSync(join(source, 'f'), 'SECON');
    fs.utimesSync(join(source, 'f'), past, past);
    if (how === 'linked') fs.linkSync(join(source, 'f'), join(source, 'a'));
    else {
      fs.renameSync(join(source, 'f'), join(source, 'a'));
      fs.writeFileSync(join(source, 'f'), 'another');
    }
    const { outcome } = await pushOnce({ folder, source, receiver });
    t.equal(outcome.inSync, true);
    t.equal(read(target, 'a'), 'SECON');
    t.equal(read(target, 'f'), how === 'linked' ? 'SECON' : 'another');
  });
}

t.test('a sweep with --checksum is not over until the files were read', async t => {
  const { root, scanner, store } = openScanner(t, 'checksum', { checksum: true });
  fs.mkdirSync(root);
  const names = ['a', 'b', 'c'];
  for (const name of names) fs.writeFileSync(join(root, name), name);
  confirm(scanner, sweep(scanner).changes);
  store.transaction(() => {
    for (const { id } of store.recent(10)) store.dropRecent(id);
  });
  t.equal(sweep(scanner).summary.deferred, 3, '--once looks again');
  const { changes, summary } = sweep(scanner);
  t.same(
    changes.map(change => (change.kind === 'file' ? [change.path, change.purpose] : [])),
    names.map(name => [name, 'trust']),
  );
  t.equal(summary.deferred, 3, 'they are not read yet');
  for (const change of changes) {
    if (change.kind !== 'file') continue;
    const { entry, parent, name } = change;
    scanner.observed.looked(entry.id, name !== 'b', { parent, name });
  }
  const last = sweep(scanner);
  t.same(
    last.changes.map(change => change.kind !== 'remove' && change.path),
    ['b'],
    'what is another content under the same times is sent',
  );
  confirm(scanner, last.changes);
  t.match(sweep(scanner).summary, { deferred: 0, changes: 0 });
});

t.test('while a rule file cannot be read its rules stay, or nothing is sent', async t => {
  let isBroken = false;
  class BreakingSource extends DirectSource {
    override readText(path: string): string {
      if (isBroken) throw new SystemError('EIO', 'a disk that fails');
      return super.readText(path);
    }
  }
  for (const isKnown of [true, false]) {
    isBroken = !isKnown;
    const { root, scanner } = openScanner(
      t,
      `rules-${isKnown}`,
      {},
      root => new BreakingSource(root),
    );
    fs.mkdirSync(root);
    for (const name of ['secret', 'other']) fs.writeFileSync(join(root, name), name);
    fs.writeFileSync(join(root, '.replicaignore'), 'secret\n');
    const found: string[] = [];
    const look = (): number => {
      const { changes, summary } = sweep(scanner);
      confirm(scanner, changes);
      found.push(...changes.filter(({ kind }) => kind === 'file').map(({ path }) => path));
      t.equal(summary.deferred, 0, 'nobody waits for it');
      return summary.problems;
    };
    look();
    isBroken = true;
    t.ok(look() > 0, 'it is reported');
    isBroken = false;
    look();
    t.strictSame(
      found.filter(path => path === 'secret'),
      [],
      `${isKnown}`,
    );
    t.ok(found.includes('other'), 'caught up with');
  }
});

t.test('a removal that takes longer than a look is one accident all the same', async t => {
  const { root, scanner } = openScanner(t, 'slowly');
  fs.mkdirSync(root);
  for (let i = 0; i < folders; i++) {
    fs.mkdirSync(join(root, folderName(i)));
    for (let j = 0; j < perFolder; j++) fs.writeFileSync(join(root, folderName(i), `f${j}`), 'x');
  }
  for (let i = 0; i < 2; i++) confirm(scanner, sweep(scanner).changes);
  let removed = 0;
  const look = (): number | undefined => {
    const { changes, summary } = sweep(scanner);
    removed += changes.filter(({ kind }) => kind === 'remove').length;
    confirm(scanner, changes);
    return summary.held?.count;
  };
  for (let i = 0; i < folders; i++) {
    removeFiles(root, i, i + 1);
    look();
  }
  t.equal(removed, 1000, 'half of 2,020, in steps of 100');
  t.equal(look(), 1000);
  t.equal(scanner.decide('approve'), 1000);
  t.equal(look(), undefined);
  t.equal(removed, 2000);
  fs.rmdirSync(join(root, folderName(0)));
  t.equal(look(), undefined, 'what was approved is forgotten');
});
