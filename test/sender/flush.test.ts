// What a running sender is asked: flush, pause, decisions about deletes, explanations.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { memoryPair } from '../../src/net/memory-pair.ts';
import type { Receiver } from '../../src/receiver/receiver.ts';
import type { Change } from '../../src/sender/change.ts';
import type { SenderEvent } from '../../src/sender/events.ts';
import { Scanner } from '../../src/sender/scanner.ts';
import { Sender } from '../../src/sender/sender.ts';
import type { SenderOptions } from '../../src/sender/sender-options.ts';
import { DirectSource } from '../../src/tree/source.ts';
import { makeDiskFolder } from '../support/folders.ts';
import { runUntilTeardown, senderOptions } from '../support/push-once.ts';
import { pick, seededRandom } from '../support/random.ts';
import { openReceiver } from '../support/receivers.ts';
import { defaultScan, openScanner, receiverState, sweep } from '../support/scanning.ts';

type Test = Parameters<Parameters<typeof t.test>[0]>[0];

/** Long after the test: whatever is found is found because it was asked for. */
const neverMs = 3_600_000;

interface Running {
  readonly sender: Sender;
  readonly source: string;
  readonly target: string;
  readonly events: SenderEvent[];
  readonly receiver: Receiver;
  /** Resolves when such an event came. */
  until(kind: SenderEvent['kind']): Promise<void>;
}

async function start(
  t: Test,
  files: Record<string, string>,
  changes: Partial<SenderOptions> = {},
): Promise<Running> {
  const folder = makeDiskFolder(t);
  const source = join(folder, 'source');
  const target = join(folder, 'target');
  for (const path of [source, target]) fs.mkdirSync(path);
  for (const [path, text] of Object.entries(files)) write(source, path, text);
  const receiver = await openReceiver(t, { root: target });
  const stop = new AbortController();
  // A tick of its own may look at next to nothing.
  const cpuShare = 1e-9;
  const own = { once: false, intervalMs: neverMs, cpuShare, signal: stop.signal };
  const options = { ...own, ...changes };
  const sender = await Sender.open(senderOptions({ folder, source, receiver }, options));
  const events: SenderEvent[] = [];
  let wake = (): void => {};
  const running = (async () => {
    for await (const event of sender.run()) {
      events.push(event);
      wake();
    }
  })();
  t.teardown(async () => {
    stop.abort();
    await running;
    await sender.close();
  });
  const until = async (kind: SenderEvent['kind']): Promise<void> => {
    while (!events.some(event => event.kind === kind)) {
      await new Promise<void>(resolve => {
        wake = resolve;
      });
    }
  };
  return { sender, source, target, events, receiver, until };
}

function write(folder: string, path: string, text: string): void {
  const full = join(folder, path);
  fs.mkdirSync(join(full, '..'), { recursive: true });
  fs.writeFileSync(full, text);
}

function read(folder: string, path: string): string {
  return fs.readFileSync(join(folder, path), 'utf8');
}

t.test('flush: an edit made just before is at the replica, whatever else is written', async t => {
  const random = seededRandom(1);
  const files = Object.fromEntries(
    Array.from({ length: 200 }, (_, i) => [`d${i % 20}/f${i}`, `first ${i}`]),
  );
  const paths = Object.keys(files);
  const { sender, source, target } = await start(t, files);
  for (let round = 0; round < 30; round++) {
    const path = pick(random, paths);
    const other = pick(random, paths);
    const text = `edit ${String(round).padStart(4, '0')}`;
    // In place and of the same size: nothing but the file's own times tells.
    const fd = fs.openSync(join(source, path), 'r+');
    fs.writeSync(fd, text, 0);
    fs.closeSync(fd);
    const flushed = sender.flush();
    if (other !== path) fs.appendFileSync(join(source, other), '.');
    t.match(await flushed, { problems: 0, held: 0 });
    t.equal(read(target, path).slice(0, text.length), text, `round ${round}: ${path}`);
  }
});

t.test('flush: what took the name of a directory that was renamed is at the replica', async t => {
  const { sender, source, target } = await start(t, {});
  for (const name of ['d', 'e']) fs.mkdirSync(join(source, name));
  fs.symlinkSync('nowhere', join(source, 'a'));
  await sender.flush();
  fs.rmSync(join(source, 'a'));
  fs.renameSync(join(source, 'e'), join(source, 'c'));
  fs.renameSync(join(source, 'd'), join(source, 'a'));
  write(source, 'd', 'new');
  await sender.flush();
  t.equal(read(target, 'd'), 'new');
});

t.test('flush: what was read when its times could not tell is read again', async t => {
  const { root, scanner } = openScanner(t, 'doubt');
  fs.mkdirSync(root);
  fs.writeFileSync(join(root, 'file'), 'first');
  const found = sweep(scanner).changes;
  scanner.observed.confirm(found.map(({ token }) => ({ token, version: 1 })));
  const before = sweep(scanner);
  t.same(before.changes, [], 'not yet due for a second look');
  t.equal(before.summary.deferred, 0);
  scanner.observed.doubtRecent();
  const { changes, summary } = sweep(scanner);
  t.match(changes, [{ kind: 'file', purpose: 'trust', path: 'file' }]);
  t.equal(summary.deferred, 1, 'not settled until it was looked at');
  const [look] = changes;
  if (look?.kind !== 'file') throw new Error('no look');
  const place = { parent: look.parent, name: look.name };
  scanner.observed.looked(look.entry.id, false, place);
  t.match(sweep(scanner).changes, [{ kind: 'file', purpose: 'content', path: 'file' }]);
});

t.test('flush waits for the receiver to come back', async t => {
  let isDown = false;
  let noticed = (): void => {};
  const isNoticed = new Promise<void>(resolve => {
    noticed = resolve;
  });
  let open = (): void => {};
  const opened = new Promise<void>(resolve => {
    open = resolve;
  });
  const connections: { close(): Promise<void> }[] = [];
  const folder = makeDiskFolder(t);
  const source = join(folder, 'source');
  write(source, 'file', 'first');
  const target = join(folder, 'target');
  fs.mkdirSync(target);
  const receiver = await openReceiver(t, { root: target });
  const connect = async () => {
    if (isDown) {
      noticed();
      await opened;
    }
    const [near, far] = memoryPair();
    connections.push(near);
    void receiver.serve(far);
    return near;
  };
  const changes = { connect, once: false, intervalMs: neverMs };
  const sender = await runUntilTeardown(t, senderOptions({ folder, source, receiver }, changes));
  await sender.flush();
  isDown = true;
  await connections[0]?.close();
  await isNoticed;
  fs.writeFileSync(join(source, 'file'), 'second');
  let isFlushed = false;
  const flushed = sender.flush().then(() => {
    isFlushed = true;
  });
  t.equal(sender.status.inSync, false);
  t.equal(isFlushed, false);
  open();
  await flushed;
  t.equal(read(target, 'file'), 'second');
});

t.test('flush counts what could not be read, and does not wait for it', async t => {
  if (process.geteuid?.() === 0) {
    t.pass('root may read everything');
    return;
  }
  const { sender, source, target } = await start(t, { 'a/file': 'one' });
  await sender.flush();
  write(source, 'a/secret', 'x');
  fs.chmodSync(join(source, 'a/secret'), 0);
  write(source, 'b/file', 'two');
  t.match(await sender.flush(), { problems: 1 });
  t.equal(read(target, 'b/file'), 'two');
  t.match(await sender.explain('a/secret'), { state: 'put off' });
  t.match(sender.status.problems, [{ path: 'a/secret', code: 'EACCES' }]);
  fs.chmodSync(join(source, 'a/secret'), 0o600);
  t.match(await sender.flush(), { problems: 0 });
});

t.test('flush fails while the source is gone, and after the end', async t => {
  const { sender, source } = await start(t, { file: 'x' });
  await sender.flush();
  fs.renameSync(source, `${source}.away`);
  await t.rejects(sender.flush(), { code: 'ERR_PATH', message: /it is not there/ });
  t.match(sender.status, { state: 'source gone', inSync: false });
  fs.renameSync(`${source}.away`, source);
  t.match(await sender.flush(), { entries: 1 });
  t.match(sender.status, { state: 'in sync', inSync: true });
});

t.test('a flush that is abandoned is forgotten', async t => {
  const { sender } = await start(t, { file: 'x' });
  const stop = new AbortController();
  stop.abort();
  await t.rejects(sender.flush(stop.signal), { code: 'ERR_TIMEOUT' });
  t.match(await sender.flush(), { entries: 1 });
});

t.test('a paused sender looks at nothing until it is resumed', async t => {
  const { sender, source, target, until } = await start(t, { file: 'one' }, { intervalMs: 10 });
  await until('synced');
  const waiting = sender.flush();
  sender.pause();
  await t.rejects(waiting, { code: 'ERR_USAGE' }, 'a flush would never end');
  await t.rejects(sender.flush(), { code: 'ERR_USAGE' });
  t.match(sender.status, { state: 'paused', inSync: false });
  write(source, 'file', 'two');
  // A tick that had begun when it was paused may have seen it; the next edit nothing sees.
  await new Promise(resolve => setImmediate(resolve));
  write(source, 'more', 'three');
  sender.resume();
  await sender.flush();
  t.equal(read(target, 'more'), 'three');
});

t.test('pause keeps what comes after it from the replica', async t => {
  const { sender, source, target, events } = await start(t, { file: 'one' });
  await sender.flush();
  // Nothing is under way: with this interval no tick is.
  sender.pause();
  write(source, 'file', 'two');
  const commits = () => events.filter(event => event.kind === 'commit').length;
  const before = commits();
  sender.resume();
  sender.pause();
  await sender.explain('file'); // The scanner answers in turn: a tick would have come before this.
  t.equal(read(target, 'file'), 'one');
  t.equal(commits(), before);
});

const few = { maxDelete: { kind: 'count', value: 2 } } as const;

t.test('held deletes: approved ones are carried out', async t => {
  const { sender, source, target } = await start(t, { a: '1', b: '2', c: '3', d: '4' }, few);
  await sender.flush();
  for (const name of ['a', 'b', 'c']) fs.rmSync(join(source, name));
  t.match(await sender.flush(), { held: 3 });
  t.match(sender.status, { state: 'deletes held', held: { count: 3 }, inSync: false });
  t.match(await sender.explain('a'), { state: 'held' });
  t.same(await sender.pending(2), ['held delete a', 'held delete b']);
  t.same(fs.readdirSync(target).sort(), ['.replica', 'a', 'b', 'c', 'd']);
  t.equal(await sender.decide('approve'), 3);
  t.match(await sender.flush(), { held: 0 });
  t.same(await sender.pending(10), []);
  t.same(fs.readdirSync(target).sort(), ['.replica', 'd']);
  fs.rmSync(join(source, 'd'));
  t.match(await sender.flush(), { held: 1 }, 'approved once, not for ever');
});

t.test('held deletes: rejected ones stay, and what comes back is replicated', async t => {
  const files = { a: '1', 'b/c': '2', 'b/d': '3', e: '4' };
  const { sender, source, target } = await start(t, files, few);
  await sender.flush();
  fs.rmSync(join(source, 'a'));
  fs.rmSync(join(source, 'b'), { recursive: true });
  t.match(await sender.flush(), { held: 4 });
  t.equal(await sender.decide('reject'), 4);
  t.match(await sender.flush(), { held: 0 });
  t.match(sender.status, { state: 'in sync', inSync: true, rejected: 2 });
  t.equal(read(target, 'b/c'), '2');
  t.match(await sender.explain('a'), { state: 'rejected' });
  write(source, 'a', 'again');
  write(source, 'b/c', 'again');
  await sender.flush();
  t.equal(read(target, 'a'), 'again');
  t.equal(read(target, 'b/c'), 'again');
  t.equal(await sender.decide('reject'), 0, 'nothing is held');
  fs.rmSync(join(source, 'a'));
  await sender.flush();
  t.notOk(fs.existsSync(join(target, 'a')), 'what came back and went again is judged anew');
});

t.test('a rejection that is taken back: the next look holds it again, however short', async t => {
  const { root, scanner } = openScanner(t, 'undo', { maxDelete: { kind: 'count', value: 1 } });
  fs.mkdirSync(join(root, 'd'), { recursive: true });
  for (const name of ['a', 'b', 'c', 'd/e']) write(root, name, name);
  const confirm = (changes: readonly Change[]): void =>
    scanner.observed.confirm(changes.map(({ token }) => ({ token })));
  confirm(sweep(scanner).changes);
  for (const name of ['a', 'b', 'd/e']) fs.rmSync(join(root, name));
  t.match(sweep(scanner).summary, { held: { count: 3 }, rejected: 0 });
  t.equal(scanner.decide('reject'), 3);
  const short = { budgetMs: 1e-9 };
  const { changes, summary } = sweep(scanner);
  confirm(changes);
  t.match(summary, { held: undefined, rejected: 3 });
  t.match(sweep(scanner, short).summary, { held: undefined, rejected: 3 });
  t.equal(scanner.decide('undo'), 3);
  t.match(sweep(scanner, short).summary, { held: { count: 3 }, rejected: 0 });
  t.equal(scanner.decide('undo'), 0);
});

t.test('each path is explained', async t => {
  const files = {
    'docs/plan.txt': 'plan',
    'docs/draft.tmp': 'x',
    '.replicaignore': '*.tmp\n!keep.tmp\n',
    'docs/keep.tmp': 'y',
    'build/app.js': 'z',
    'docs/.replicaignore': 'secret/\n',
    'docs/secret/key': 'k',
  };
  const { sender, source } = await start(t, files, { exclude: ['/build'] });
  await sender.flush();
  const cases: readonly [string, string, RegExp][] = [
    ['', 'in sync', /root/],
    ['docs', 'in sync', /directory/],
    ['./docs//plan.txt', 'in sync', /file, 4 bytes, version 1/],
    ['docs/keep.tmp', 'in sync', /file/],
    ['docs/draft.tmp', 'ignored', /'\*\.tmp' of \.replicaignore/],
    ['build', 'ignored', /'\/build' of --exclude/],
    ['build/app.js', 'ignored', /below 'build'.*'\/build' of --exclude/],
    ['docs/secret/key', 'ignored', /below 'secret'.*'secret\/' of docs\/\.replicaignore/],
    ['docs/plan.txt/x', 'absent', /neither/],
    ['nowhere/at/all', 'absent', /neither/],
    ['..', 'absent', /no name/],
  ];
  for (const [path, state, detail] of cases) {
    t.match(await sender.explain(path), { state, detail }, path);
  }
  write(source, 'docs/new', 'n');
  t.match(await sender.explain('docs/new'), { state: 'not seen yet', detail: /new/ });
  fs.appendFileSync(join(source, 'docs/plan.txt'), '!');
  t.match(await sender.explain('docs/plan.txt'), { state: 'not seen yet', detail: /changed/ });
});

t.test('approved is what was held then, not what is gone later', async t => {
  const { sender, source, target } = await start(
    t,
    { a: '1', b: '2', c: '3', d: '4', e: '5' },
    few,
  );
  await sender.flush();
  for (const name of ['a', 'b', 'c']) fs.rmSync(join(source, name));
  t.match(await sender.flush(), { held: 3 });
  // They come back before the next look: the approval is used up by nothing.
  for (const name of ['a', 'b', 'c']) write(source, name, 'back');
  t.equal(await sender.decide('approve'), 3);
  t.match(await sender.flush(), { held: 0 });
  for (const name of ['b', 'c', 'd', 'e']) fs.rmSync(join(source, name));
  t.match(await sender.flush(), { held: 4 }, 'another accident is held');
  t.same(fs.readdirSync(target).sort(), ['.replica', 'a', 'b', 'c', 'd', 'e']);
});

t.test('--accept-deletes accepts what is gone at the start, not an accident later', async t => {
  const files = { a: '1', b: '2', c: '3', d: '4' };
  const { sender, source } = await start(t, files, { ...few, acceptDeletes: true });
  await sender.flush();
  for (const name of ['a', 'b', 'c']) fs.rmSync(join(source, name));
  t.match(await sender.flush(), { held: 3 });
});

t.test('--accept-deletes accepts all that is gone in the first sweep, and only that', async t => {
  const { root, scanner, store } = openScanner(t, 'accept', few);
  fs.mkdirSync(root);
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) fs.writeFileSync(join(root, name), name);
  settle(scanner, sweep(scanner).changes);
  for (const name of ['a', 'b', 'c']) fs.rmSync(join(root, name));
  t.match(sweep(scanner).summary.held, { count: 3 });
  // The same state, by a process that was told to accept.
  const source = new DirectSource(root);
  const options = { ...defaultScan, ...few, root, acceptDeletes: true };
  const accepting = new Scanner(store, source, options);
  accepting.confirmed.connect(receiverState);
  const { changes, summary } = sweep(accepting);
  t.equal(summary.held, undefined);
  t.equal(changes.filter(change => change.kind === 'remove').length, 3);
  settle(accepting, changes);
  for (const name of ['d', 'e', 'f']) fs.rmSync(join(root, name));
  fs.writeFileSync(join(root, 'g'), 'g');
  t.match(sweep(accepting).summary.held, { count: 3 });
});

t.test('an approval holds until all of it is handed out', async t => {
  const { root, scanner } = openScanner(t, 'room', few);
  fs.mkdirSync(root);
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) fs.writeFileSync(join(root, name), name);
  settle(scanner, sweep(scanner).changes);
  for (const name of ['a', 'b', 'c', 'd', 'e']) fs.rmSync(join(root, name));
  t.match(sweep(scanner).summary.held, { count: 5 });
  t.equal(scanner.decide('approve'), 5);
  const removed: string[] = [];
  for (let i = 0; i < 3; i++) {
    const { changes, summary } = sweep(scanner, { room: 2 });
    t.equal(summary.held, undefined, `sweep ${i}`);
    for (const change of changes) if (change.kind === 'remove') removed.push(change.path);
    settle(scanner, changes);
  }
  t.same(removed.sort(), ['a', 'b', 'c', 'd', 'e']);
});

/** Everything handed out became durable. */
function settle(scanner: Scanner, changes: readonly Change[]): void {
  scanner.observed.confirm(changes.map(({ token }) => ({ token, version: 1 })));
}
