// A file that was read in this life of the sender and is edited costs about its edit.
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { SenderEvent } from '../../src/sender/events.ts';
import { Sender } from '../../src/sender/sender.ts';
import type { SenderOptions } from '../../src/sender/sender-options.ts';
import { type Message, MessageType, type Operation, type Piece } from '../../src/wire/messages.ts';
import { noise } from '../support/content.ts';
import { connectTo, optionsFor } from '../support/fake-push.ts';
import { FakeReceiver } from '../support/fake-receiver.ts';
import { makeDiskFolder } from '../support/folders.ts';

type Commit = Extract<SenderEvent, { kind: 'commit' }>;

/** Pushes while `story` goes on: a step ends when its file is in a commit and not refused. */
async function live(
  folder: string,
  receiver: FakeReceiver,
  story: (source: string) => Iterable<void>,
  changes: Partial<SenderOptions> = {},
): Promise<Commit[]> {
  const stop = new AbortController();
  const { signal } = stop;
  const options = { ...changes, connect: connectTo(receiver), once: false, signal };
  const changed = optionsFor(folder, options);
  fs.mkdirSync(changed.source, { recursive: true });
  const steps = story(changed.source)[Symbol.iterator]();
  steps.next();
  const sender = await Sender.open(changed);
  const commits: Commit[] = [];
  for await (const event of sender.run()) {
    if (event.kind !== 'commit') continue;
    commits.push(event);
    if (event.resent === 0 && steps.next().done) stop.abort();
  }
  await sender.close();
  return commits;
}

const kindsOf = (operation: Operation): Piece['kind'][] =>
  operation.kind === 'file' && operation.content.kind === 'inline'
    ? operation.content.pieces.map(piece => piece.kind)
    : [];

t.test('edits of small files are patches, and are bytes once a patch was refused', async t => {
  const receiver = new FakeReceiver();
  const sent: Piece['kind'][] = [];
  let isRefusing = false;
  receiver.refuse = operation => {
    const kinds = kindsOf(operation);
    sent.push(...kinds);
    return isRefusing && kinds.includes('patch') ? 'base' : undefined;
  };
  let asked = 0;
  receiver.lie = message => {
    if (message.type === MessageType.Grains) asked++;
    return [message];
  };
  const content = noise(1, 6000);
  const commits = await live(makeDiskFolder(t), receiver, function* (source) {
    const path = join(source, 'a');
    fs.writeFileSync(path, content);
    yield;
    content.write('edit', 3000);
    fs.writeFileSync(path, content);
    yield;
    isRefusing = true;
    content.write('again', 1000);
    fs.writeFileSync(path, content);
    yield;
  });
  t.strictSame(sent, ['data', 'patch', 'patch', 'data']);
  t.equal(asked, 0, 'grains are here');
  const edit = commits[1]?.bytesSent ?? 0;
  t.ok(edit < 100, `${edit} bytes`);
  t.strictSame(
    commits.map(commit => commit.resent),
    [0, 0, 1, 0],
  );
});

t.test('what was read in one life is patched in the next', async t => {
  const receiver = new FakeReceiver();
  const folder = makeDiskFolder(t);
  const content = noise(2, 6000);
  const save = (source: string): void => fs.writeFileSync(join(source, 'a'), content);
  await live(folder, receiver, function* (source) {
    save(source);
    yield;
  });
  const sent: Piece['kind'][] = [];
  receiver.refuse = operation => {
    sent.push(...kindsOf(operation));
    return undefined;
  };
  const edit = function* (source: string): Generator<void> {
    content.write('edit', 3000 + sent.length * 1000);
    save(source);
    yield;
  };
  await live(folder, receiver, edit);
  t.strictSame(sent, ['patch']);
  fs.truncateSync(join(folder, 'state', 'grains'), 100);
  await live(folder, receiver, edit);
  t.strictSame(sent, ['patch', 'patch'], 'grains that are lost are asked for');
  fs.rmSync(join(folder, 'state', 'grains'));
  receiver.features = 0n;
  await live(folder, receiver, edit);
  t.strictSame(sent, ['patch', 'patch', 'data'], 'a receiver that tells none costs bytes');
});

/** One life in which files are sent, and another, without grains, in which each is edited. */
async function forgetful(
  t: Test,
  files: Readonly<Record<string, Buffer>>,
  options: {
    readonly lie?: (message: Message) => readonly Message[];
    readonly edit?: (content: Buffer) => Buffer;
    readonly changes?: Partial<SenderOptions>;
    readonly losesAll?: boolean;
  } = {},
) {
  const receiver = new FakeReceiver();
  const folder = makeDiskFolder(t);
  const write = (source: string, change: (content: Buffer) => Buffer): void => {
    for (const [path, content] of Object.entries(files)) {
      fs.writeFileSync(join(source, path), change(content));
    }
  };
  const isDone = (size: number) => receiver.files.size === size;
  const first = function* (source: string): Generator<void> {
    write(source, content => content);
    while (!isDone(Object.keys(files).length)) yield;
  };
  await live(folder, receiver, first);
  const lost = options.losesAll ? 'state' : 'state/grains';
  fs.rmSync(join(folder, lost), { recursive: true });
  const edited = options.edit ?? flipMiddle;
  const told: Extract<Message, { type: typeof MessageType.Grains }>[] = [];
  receiver.isLenient = options.lie !== undefined;
  receiver.lie = message => {
    if (message.type === MessageType.Grains) told.push(message);
    return options.lie?.(message) ?? [message];
  };
  const has = (): boolean => {
    const held = [...receiver.files.values()].map(({ blocks }) => Buffer.concat(blocks));
    const wanted = Object.values(files).map(content => edited(content));
    return wanted.every(content => held.some(one => one.equals(content)));
  };
  const second = function* (source: string): Generator<void> {
    write(source, edited);
    yield;
    while (!has()) yield;
  };
  const commits = await live(folder, receiver, second, options.changes);
  const sum = (of: (commit: Commit) => number): number =>
    commits.reduce((total, commit) => total + of(commit), 0);
  return { bytes: sum(one => one.bytesSent), resent: sum(one => one.resent), told };
}

function flipMiddle(content: Buffer): Buffer {
  const copy = Buffer.from(content);
  const at = content.length >> 1;
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

const many = Object.fromEntries(
  Array.from({ length: 100 }, (_, i) => [`f${i}`, noise(100 + i, 20_000)]),
);
const large = { large: noise(3, 5_000_000) };

t.test('files edited together share two questions', async t => {
  const { bytes, told } = await forgetful(t, many);
  t.ok(bytes < 100 * 200, `${bytes} bytes`);
  const ranges = told.reduce((sum, one) => sum + one.ranges.length, 0);
  t.equal(ranges, 200, 'each file has a coarse range and a fine one');
  // A tick may see the first of them before the others are there.
  t.ok(told.length <= 8, `${told.length} answers`);
});

t.test('with its whole state lost, only what the receiver lacks is asked about', async t => {
  const { bytes, told, resent } = await forgetful(t, many, { losesAll: true });
  t.ok(bytes < 100 * 200, `${bytes} bytes`);
  t.ok(told.length <= 8, `${told.length} answers`);
  t.equal(resent, 0);
});

t.test('a large file is patched as well, in its stage', async t => {
  const { bytes, told } = await forgetful(t, large);
  t.ok(bytes < 300, `${bytes} bytes`);
  t.equal(told.length, 2);
});

t.test('--optimize time asks for nothing, bytes for everything', async t => {
  const never = await forgetful(t, large, { changes: { optimize: 'time' } });
  t.strictSame(never.told, []);
  t.ok(never.bytes > 5000, `${never.bytes} bytes`);
  const always = await forgetful(t, large, { changes: { optimize: 'bytes' } });
  t.equal(always.told.length, 2);
});

t.test('a receiver that lies about its grains costs bytes, and that is counted', async t => {
  // Whatever is asked for, this is how the version before looks: like the new one, elsewhere.
  const secondHalf = (content: Buffer): Buffer =>
    Buffer.concat([content.subarray(10_000), content.subarray(0, 9999)]);
  const swapped = (message: Message): readonly Message[] => {
    if (message.type !== MessageType.Grains) return [message];
    const ranges = message.ranges.map(hashes => {
      return Buffer.concat([hashes.subarray(20), hashes.subarray(0, 20)]);
    });
    return [{ ...message, ranges }];
  };
  const files = { a: noise(4, 20_000), b: noise(5, 20_000) };
  for (const losesAll of [false, true]) {
    const options = { lie: swapped, edit: secondHalf, losesAll };
    const { resent, bytes } = await forgetful(t, files, options);
    t.equal(resent, 2, 'each file was refused once');
    t.ok(bytes >= 40_000, `${bytes} bytes`);
  }
});

t.test('a receiver that does not have the version any more is sent bytes', async t => {
  const none = (message: Message): readonly Message[] => {
    if (message.type !== MessageType.Grains) return [message];
    return [{ ...message, ranges: message.ranges.map(() => Buffer.alloc(0)) }];
  };
  const { bytes, resent, told } = await forgetful(t, { a: noise(6, 20_000) }, { lie: none });
  t.ok(bytes > 5000, `${bytes} bytes`);
  t.equal(resent, 0);
  t.equal(told.length, 1);
});
