import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Log, silentLog } from '../../src/log.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import type { ReceiverOptions } from '../../src/receiver/receiver-options.ts';
import { Sender } from '../../src/sender/sender.ts';
import { rootId } from '../../src/snapshot/entry.ts';
import { FakeSender } from '../support/fake-sender.ts';
import { onEachFileSystem } from '../support/folders.ts';
import { untilEqual } from '../support/live-pair.ts';
import { fillTree, mutate } from '../support/mutate.ts';
import { pushOnce, senderOptions } from '../support/push-once.ts';
import { seededRandom } from '../support/random.ts';
import { compareTrees } from '../support/tree.ts';
import { treeText } from '../support/tree-text.ts';
import { until } from '../support/until.ts';

const defaults = {
  adopt: false,
  takeOver: false,
  fsync: 'off',
  keepMs: 24 * 3600 * 1000,
  specialBits: false,
  log: silentLog,
  pauses: { firstSliceMs: 1, sliceMs: 1, sweepMs: 1, cleanMs: 1000 },
} as const;

async function open(
  t: Test,
  options: Partial<ReceiverOptions> & { root: string },
): Promise<Receiver> {
  const receiver = await Receiver.open({ ...defaults, ...options });
  t.teardown(() => receiver.close());
  return receiver;
}

/** Waits for a look at the whole tree that begins after this call. */
async function sweep(receiver: Receiver): Promise<void> {
  const count = receiver.sweepCount + 2;
  await until(() => receiver.sweepCount >= count);
}

function logTo(lines: string[]): Log {
  const warn = (fields: object, message: string): void =>
    void lines.push(`${message} ${JSON.stringify(fields)}`);
  return { ...silentLog, warn };
}

function keptIn(root: string): string[] {
  return treeText(join(root, '.replica', 'kept'))
    .map(line => line.replace(/^\w+-/, ''))
    .sort();
}

onEachFileSystem(t, 'every kind of drift is found, kept, reported and lost', async (t, folder) => {
  const root = join(folder, 'target');
  fs.mkdirSync(root);
  const lines: string[] = [];
  const receiver = await open(t, { root, log: logTo(lines) });
  const sender = await FakeSender.open(receiver);
  const file = (name: string) => sender.file(rootId, name, `content of ${name}`);
  const edited = file('edited');
  const sameSize = file('sameSize');
  const removed = file('removed');
  const replaced = file('replaced');
  const retouched = sender.directory(rootId, 'retouched', { mode: 0o755 });
  const swapped = sender.directory(rootId, 'swapped');
  const inner = sender.file(swapped.entry.id, 'inner', 'inner');
  const link = sender.link(rootId, 'link', 'one');
  const empty = sender.directory(rootId, 'empty');
  await sender.commit([
    edited,
    sameSize,
    removed,
    replaced,
    retouched,
    swapped,
    inner,
    link,
    empty,
  ]);
  await sweep(receiver);
  t.equal(receiver.driftCount, 0, 'our own work is no drift');

  const at = (name: string): string => join(root, name);
  fs.appendFileSync(at('edited'), ' and more');
  const { mtime } = fs.statSync(at('sameSize'));
  fs.writeFileSync(at('sameSize'), 'CONTENT of sameSize');
  fs.utimesSync(at('sameSize'), mtime, mtime);
  fs.rmSync(at('removed'));
  fs.rmSync(at('replaced'));
  fs.mkdirSync(at('replaced'));
  fs.chmodSync(at('retouched'), 0o700);
  fs.renameSync(at('swapped'), at('moved'));
  fs.mkdirSync(at('swapped'));
  fs.rmSync(at('link'));
  fs.symlinkSync('two', at('link'));
  fs.writeFileSync(join(root, 'empty', 'foreign'), 'foreign');
  execFileSync('mkfifo', [at('pipe')]);

  await sweep(receiver);
  const outcome = await sender.commit([]);
  const names = ['edited', 'link', 'removed', 'replaced', 'sameSize', 'swapped'];
  t.strictSame(outcome.lost.map(one => one.name).sort(), names);
  t.strictSame(treeText(root), ['empty/', 'pipe ?', 'retouched/']);
  t.equal(fs.statSync(at('retouched')).mode & 0o777, 0o755, 'a mode is put back');
  const mtimeOf = (name: string) => fs.statSync(at(name), { bigint: true }).mtimeNs;
  t.equal(mtimeOf('empty') / 1000n, empty.entry.mtimeNs / 1000n, 'times too');
  t.strictSame(keptIn(root), [
    "edited 'content of edited and more'",
    "foreign 'foreign'",
    'link -> two',
    'moved/',
    "moved/inner 'inner'",
    'replaced/',
    "sameSize 'CONTENT of sameSize'",
    'swapped/',
  ]);
  t.equal(receiver.driftCount, 8);
  for (const [path, what] of [
    ['edited', 'altered'],
    ['removed', 'missing'],
    ['moved', 'foreign'],
    ['empty/foreign', 'foreign'],
  ]) {
    t.ok(
      lines.some(line => line.includes(`"path":"${path}","what":"${what}"`)),
      `reported: ${path}`,
    );
  }
  const count = lines.length;
  await sweep(receiver);
  t.equal(lines.length, count, 'nothing is found twice');
  await sender.close();
});

onEachFileSystem(t, 'touched, linked and equal files are no drift', async (t, folder) => {
  const root = join(folder, 'target');
  fs.mkdirSync(root);
  const receiver = await open(t, { root });
  const sender = await FakeSender.open(receiver);
  const big = Buffer.alloc(900_000, 'many blocks of text ');
  const files = [
    sender.file(rootId, 'touched', big),
    sender.file(rootId, 'linked', 'B'),
    sender.file(rootId, 'saved', 'C'),
    sender.file(rootId, 'mode', 'D', { mode: 0o640 }),
  ];
  await sender.commit([...files, sender.link(rootId, 'link', 'nowhere')]);
  const linkTime = (): bigint => fs.lstatSync(join(root, 'link'), { bigint: true }).mtimeNs;
  const linkTimeBefore = linkTime();
  const before = treeText(root, { attributes: true });
  fs.utimesSync(join(root, 'touched'), 1, 1);
  fs.linkSync(join(root, 'linked'), join(folder, 'snapshot'));
  fs.writeFileSync(join(root, '.saved.new'), 'C');
  fs.renameSync(join(root, '.saved.new'), join(root, 'saved'));
  fs.chmodSync(join(root, 'mode'), 0o777);
  fs.lutimesSync(join(root, 'link'), 1, 1);
  await sweep(receiver);
  await sweep(receiver);
  t.equal(receiver.driftCount, 0);
  t.equal(linkTime(), linkTimeBefore, 'that of a link too');
  t.strictSame(treeText(root, { attributes: true }), before, 'attributes are put back');
  const outcome = await sender.commit([
    sender.file(rootId, 'linked', 'B2', { id: files[1]?.entry.id ?? rootId, version: 2 }),
  ]);
  t.strictSame(outcome, { rejected: [], lost: [] });
  t.equal(receiver.driftCount, 0, 'the new stamps count');
  await sender.close();
});

t.test('a connected sender makes what drifted anew', async t => {
  const folder = t.testdir({ target: {} });
  const source = join(folder, 'source');
  const root = join(folder, 'target');
  fillTree(join(source, 'tree'), seededRandom(5), 40);
  const receiver = await open(t, { root });
  const stop = new AbortController();
  const options = senderOptions(
    { folder, source, receiver },
    { once: false, signal: stop.signal, intervalMs: 20 },
  );
  const sender = await Sender.open(options);
  const run = (async () => {
    const kinds: string[] = [];
    for await (const event of sender.run()) kinds.push(event.kind);
    return kinds;
  })();
  await untilEqual(source, root, 20_000);
  await sweep(receiver);
  t.equal(receiver.driftCount, 0);
  const random = seededRandom(6);
  for (let i = 0; i < 25; i++) mutate(join(root, 'tree'), random);
  await sweep(receiver);
  t.ok(receiver.driftCount > 0);
  // A sender that lost one name of a file does not find its other names: they stay apart.
  const differences = (): string[] =>
    compareTrees(source, root).filter(line => !line.includes(' hardLinks: '));
  await until(() => differences().length === 0);
  stop.abort();
  t.ok((await run).includes('lost'));
  await sender.close();
});

t.test(
  'changes made while the receiver was stopped are found before the sender is told',
  async t => {
    const folder = t.testdir({ source: { a: 'A', b: 'B' }, target: {} });
    const source = join(folder, 'source');
    const root = join(folder, 'target');
    const first = await Receiver.open({ ...defaults, root });
    await pushOnce({ folder, source, receiver: first });
    await first.close();
    fs.writeFileSync(join(root, 'a'), 'mine');
    fs.rmSync(join(root, 'b'));
    const receiver = await open(t, { root });
    const { outcome } = await pushOnce({ folder, source, receiver });
    t.equal(outcome.inSync, true);
    t.strictSame(compareTrees(source, root), []);
    t.equal(receiver.driftCount, 2);
    t.strictSame(keptIn(root), ["a 'mine'"]);
  },
);

t.test('files of equal content that a tool made one file are two again', async t => {
  const folder = t.testdir({ source: { a: 'same', b: 'same' }, target: {} });
  const source = join(folder, 'source');
  const root = join(folder, 'target');
  fs.chmodSync(join(source, 'b'), 0o600);
  fs.utimesSync(join(source, 'b'), 1, 1);
  const first = await Receiver.open({ ...defaults, root });
  await pushOnce({ folder, source, receiver: first });
  await first.close();
  fs.rmSync(join(root, 'b'));
  fs.linkSync(join(root, 'a'), join(root, 'b'));
  const receiver = await open(t, { root });
  await pushOnce({ folder, source, receiver });
  t.strictSame(compareTrees(source, root), []);
  await sweep(receiver);
  t.strictSame(compareTrees(source, root), []);
  t.equal(receiver.driftCount, 1, 'once');
});

t.test('no false alarm while commits come in', async t => {
  const folder = t.testdir({ target: {} });
  const source = join(folder, 'source');
  const root = join(folder, 'target');
  const lines: string[] = [];
  const receiver = await open(t, { root, log: logTo(lines) });
  const random = seededRandom(11);
  fillTree(source, random, 40);
  for (let round = 0; round < 6; round++) {
    const { outcome } = await pushOnce({ folder, source, receiver });
    if (!outcome.inSync) t.fail(`round ${round}: ${outcome.error?.message}`);
    for (let i = 0; i < 20; i++) mutate(source, random);
  }
  await pushOnce({ folder, source, receiver });
  await sweep(receiver);
  t.strictSame(compareTrees(source, root), []);
  t.strictSame(lines, []);
  t.ok(receiver.sweepCount > 5);
});
