import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { indexedBlockSizeMin } from '../../src/limits.ts';
import { type Log, silentLog } from '../../src/log.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import type { ReceiverOptions } from '../../src/receiver/receiver-options.ts';
import type { Operation } from '../../src/wire/messages.ts';
import { FakeSender, type Placed, rename, rootId } from '../support/fake-sender.ts';
import { isPrivileged } from '../support/folders.ts';
import { nodeId } from '../support/messages.ts';
import { fillTree } from '../support/mutate.ts';
import { pushOnce } from '../support/push-once.ts';
import { seededRandom } from '../support/random.ts';
import { listEntries } from '../support/receivers.ts';
import { ownShare } from '../support/seeds.ts';
import { compareTrees } from '../support/tree.ts';
import { treeText } from '../support/tree-text.ts';

const defaults = {
  adopt: false,
  takeOver: false,
  fsync: 'off',
  keepMs: 24 * 3600 * 1000,
  specialBits: false,
  log: silentLog,
} as const;

function open(options: Partial<ReceiverOptions> & { root: string }): Promise<Receiver> {
  return Receiver.open({ ...defaults, ...options });
}

function statePath(root: string): string {
  return join(root, '.replica', 'state');
}

/** Everything of a tree that a rebuild must not touch: ctime tells of any change. */
function untouched(root: string): string[] {
  const lines: string[] = [];
  const walk = (folder: Buffer): void => {
    for (const name of fs.readdirSync(folder, 'buffer').sort(Buffer.compare)) {
      if (folder.equals(Buffer.from(root)) && name.equals(Buffer.from('.replica'))) continue;
      const path = Buffer.concat([folder, Buffer.from('/'), name]);
      const stats = fs.lstatSync(path, { bigint: true });
      const { ino, mode, ctimeNs, mtimeNs } = stats;
      lines.push(`${path.toString('latin1')} ${ino} ${mode} ${ctimeNs} ${mtimeNs}`);
      if (stats.isDirectory()) walk(path);
    }
  };
  walk(Buffer.from(root));
  return lines;
}

const damages: Record<string, (state: string) => void> = {
  removed: state => fs.rmSync(state, { recursive: true }),
  empty: state => fs.truncateSync(join(state, 'data.mdb'), 0),
  'cut short': state =>
    fs.truncateSync(join(state, 'data.mdb'), fs.statSync(join(state, 'data.mdb')).size - 4096),
  'no database': state => fs.writeFileSync(join(state, 'data.mdb'), 'hello'.repeat(10_000)),
  'zeroes in the middle': state => {
    const fd = fs.openSync(join(state, 'data.mdb'), 'r+');
    const size = fs.fstatSync(fd).size;
    fs.writeSync(fd, Buffer.alloc(size - 8192), 0, size - 8192, 8192);
    fs.closeSync(fd);
  },
};

for (const [name, damage] of ownShare(Object.entries(damages))) {
  t.test(`state ${name}: rebuilt, nothing changed, nothing deleted, little sent`, async t => {
    const folder = t.testdir();
    const source = join(folder, 'source');
    const root = join(folder, 'target');
    fs.mkdirSync(root);
    fillTree(source, seededRandom(3), 60);
    fs.mkdirSync(join(source, 'group'));
    fs.writeFileSync(join(source, 'group', 'one'), 'x'.repeat(30_000));
    fs.linkSync(join(source, 'group', 'one'), join(source, 'group', 'two'));
    fs.writeFileSync(join(source, 'large'), Buffer.alloc(6_000_000, 'some text, '));
    const first = await open({ root });
    const before = await pushOnce({ folder, source, receiver: first });
    t.equal(before.outcome.inSync, true);
    await first.close();
    t.strictSame(compareTrees(source, root), []);

    const stats = untouched(root);
    damage(statePath(root));
    const lines: string[] = [];
    const warn = (_fields: object, message: string): void => void lines.push(message);
    const second = await open({ root, log: { ...silentLog, warn } satisfies Log });
    t.teardown(() => second.close());
    t.strictSame(untouched(root), stats, 'a rebuild changes nothing');
    t.match(lines.join(), /made anew/);
    const after = await pushOnce({ folder, source, receiver: second });
    t.equal(after.outcome.inSync, true);
    const tinyBytes = 60 * indexedBlockSizeMin;
    t.ok(after.sentBytes < tinyBytes, `${after.sentBytes} bytes sent, of tiny files only`);
    t.strictSame(compareTrees(source, root), []);
    t.equal(second.driftCount, 0);
  });
}

t.test('--adopt: what is there is used, what the source lacks is kept', async t => {
  const folder = t.testdir({
    source: { same: 'same content', other: 'new content', dir: { inner: 'inner' } },
    target: { same: 'same content', other: 'old content', extra: 'extra', dir: { more: 'more' } },
  });
  const source = join(folder, 'source');
  const root = join(folder, 'target');
  await t.rejects(open({ root }), { code: 'ERR_PATH', message: /--adopt/ });
  t.notOk(fs.existsSync(join(root, '.replica')), 'a refusal leaves nothing behind');
  const receiver = await open({ root, adopt: true });
  t.teardown(() => receiver.close());
  const { outcome } = await pushOnce({ folder, source, receiver });
  t.equal(outcome.inSync, true);
  t.strictSame(compareTrees(source, root), []);
  const kept = treeText(join(root, '.replica', 'kept')).map(line => line.replace(/^[^-]*-/, ''));
  t.strictSame(kept.sort(), [
    "extra 'extra'",
    "more 'more'",
    "other 'old content'",
    "same 'same content'",
  ]);
});

t.test('special files stay out of records, unreadable ones are replaced', async t => {
  const folder = t.testdir({ source: { a: 'A' }, target: { a: 'a', locked: 'L', dir: {} } });
  const source = join(folder, 'source');
  const root = join(folder, 'target');
  execFileSync('mkfifo', [join(root, 'pipe')]);
  fs.chmodSync(join(root, 'locked'), 0);
  fs.chmodSync(join(root, 'dir'), 0);
  const receiver = await open({ root, adopt: true });
  t.teardown(() => receiver.close());
  const sender = await FakeSender.open(receiver);
  t.equal(sender.welcome?.entryCount, 3n, 'a, locked, dir');
  await sender.connection.send({ type: 12, ids: [rootId] });
  const listing = await sender.next(13);
  t.strictSame(
    listing.entries.map(one => [one.name, one.entry.mode, one.entry.stamp.ino]),
    [
      ['a', 0o644, 0n],
      ['dir', 0, 0n],
      ['locked', 0, 0n],
    ],
  );
  await sender.close();
  t.equal(Number(fs.lstatSync(join(root, 'locked')).mode) & 0o777, 0);
  const { outcome } = await pushOnce({ folder, source, receiver });
  t.equal(outcome.inSync, true);
  t.strictSame(treeText(root), ["a 'A'", 'pipe ?']);
  if (!isPrivileged) fs.chmodSync(join(root, '.replica', 'kept'), 0o700);
});

async function replicaOf(t: Test, content: Record<string, string>): Promise<string> {
  const root = t.testdir({ target: {} });
  const receiver = await open({ root: join(root, 'target') });
  const sender = await FakeSender.open(receiver);
  await sender.commit(
    Object.entries(content).map(([name, text]) => sender.file(rootId, name, text)),
  );
  await sender.close();
  await receiver.close();
  return root;
}

t.test('a copy of a replica is no replica with drift: its records are made anew', async t => {
  const folder = await replicaOf(t, { a: 'A', b: 'B' });
  execFileSync('cp', ['-a', join(folder, 'target'), join(folder, 'copy')]);
  const lines: string[] = [];
  const warn = (fields: object): void => void lines.push(JSON.stringify(fields));
  const receiver = await open({ root: join(folder, 'copy'), log: { ...silentLog, warn } });
  t.teardown(() => receiver.close());
  t.match(lines.join(), /copy of/);
  const sender = await FakeSender.open(receiver);
  t.equal(sender.welcome?.entryCount, 2n);
  await sender.commit([]);
  t.equal(receiver.driftCount, 0);
  await sender.close();
});

for (const kind of ['file', 'directory'] as const) {
  for (const crashAt of [undefined, 'end', 'records']) {
    const when = crashAt === undefined ? '' : `, with a crash at '${crashAt}'`;
    t.test(`after lost state a ${kind} from limbo takes no kept name${when}`, async t => {
      const root = t.testdir();
      await leaveInLimbo(root, kind, ['first', 'second']);
      fs.rmSync(statePath(root), { recursive: true });
      await leaveInLimbo(root, kind, ['', 'third'], crashAt);
      const receiver = await open({ root });
      const kept = treeText(join(root, '.replica', 'kept')).join();
      t.match(kept, /first/);
      t.match(kept, /second/);
      t.match(treeText(root).join(), /third/);
      await receiver.close();
    });
  }
}

/**
 * Two commits: the first makes 'a', if there is none yet; the second puts another 'a' in its place, and
 * does not get to give the first its new name.
 */
async function leaveInLimbo(
  root: string,
  kind: 'file' | 'directory',
  contents: readonly [string, string],
  crashAt?: string,
): Promise<void> {
  let isArmed = false;
  const onStep = (label: string): void => {
    if (isArmed && label === crashAt) throw new Error('crash');
  };
  const receiver = await open({ root, onStep });
  const sender = await FakeSender.open(receiver);
  const make = (text: string): readonly (Operation & Placed)[] => {
    if (kind === 'file') return [sender.file(rootId, 'a', text)];
    const made = sender.directory(rootId, 'a');
    return [made, sender.file(made.entry.id, 'inner', text)];
  };
  await sender.commit(contents[0] === '' ? [] : make(contents[0]));
  const found = (await listEntries(sender)).find(one => one.name === 'a');
  assert(found);
  isArmed = true;
  const committed = sender.commit([...make(contents[1]), rename(found, nodeId(999), 'b')]);
  if (crashAt === undefined) assert.equal((await committed).rejected[0]?.reason, 'gone');
  else await assert.rejects(committed);
  await sender.close().catch(() => {});
  await receiver.close().catch(() => {});
}
