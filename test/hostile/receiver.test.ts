// A receiver that holds the key and lies to a sender, through real sockets: the session ends with
// an error that says so, or the lie does no harm; never a crash, a hang, or a touch of the source.
// The same sender then brings everything to the next receiver, which does not lie.
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { silentLog } from '../../src/log.ts';
import type { Connection } from '../../src/net/connection.ts';
import { dial } from '../../src/net/dial.ts';
import { Listener } from '../../src/net/listener.ts';
import { Sender } from '../../src/sender/sender.ts';
import { type NodeId, nodeIdMax, noStamp, rootId } from '../../src/snapshot/entry.ts';
import { createKey } from '../../src/store/key-file.ts';
import { type Message, MessageType } from '../../src/wire/messages.ts';
import { optionsFor } from '../support/fake-push.ts';
import { FakeReceiver } from '../support/fake-receiver.ts';
import { makeDiskFolder } from '../support/folders.ts';
import { name, nodeId } from '../support/messages.ts';
import { readModelTree } from '../support/model-tree.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { ownShare } from '../support/seeds.ts';
import { compareReadTrees, readTree } from '../support/tree.ts';
import { until } from '../support/until.ts';

const host = '127.0.0.1';
const key = createKey({});

/** Says `said` instead of, or after, each message of `type` that the receiver means to send. */
interface Lie {
  readonly what: string;
  /** The code of the sender's error; undefined: the lie is borne, and the outcome is in sync. */
  readonly code: 'ERR_PROTOCOL' | 'ERR_SOCKET' | undefined;
  readonly on: Message['type'];
  readonly say: (message: never, told: number) => readonly Message[];
  /** The receiver had the tree before: a first, honest run. */
  readonly isSecond?: true;
}

type Of<T extends Message['type']> = Extract<Message, { type: T }>;

function lie<T extends Message['type']>(
  what: string,
  code: Lie['code'],
  on: T,
  say: (message: Of<T>, told: number) => readonly Message[],
): Lie {
  return { what, code, on, say };
}

const { Welcome, Need, Durable, DirectoryDigests, Listing, Lost, Rejected } = MessageType;
const protocol = 'ERR_PROTOCOL';
const rejected = (
  commit: bigint,
  index: number,
  reason: Of<typeof Rejected>['reason'],
): Message => {
  return { type: Rejected, commit, index, reason, message: 'no' };
};
const entryOf = (id: NodeId, kind: 'file' | 'directory') => ({
  ...{ kind, id, mode: 0o755, size: 0, mtimeNs: 0n, stamp: noStamp, target: '' },
  version: kind === 'file' ? 1 : 0,
});
const place = (parent: NodeId, text: string, id: NodeId, kind: 'file' | 'directory') => ({
  ...{ parent, name: name(text), entry: entryOf(id, kind) },
});
const listing = (last: boolean, ...entries: Of<typeof Listing>['entries']): Message => {
  return { type: Listing, last, entries };
};
const lost: Message = { type: Lost, entries: [{ parent: rootId, name: name('a'), id: nodeId(7) }] };
const need: Message = { type: Need, batch: 9, bitmap: Buffer.from([255]) };

const lies: readonly Lie[] = [
  lie('asks for blocks of an offer never made', protocol, Need, m => [m, { ...m, batch: 2 }]),
  lie('tells of grains that nobody asked for', protocol, Durable, m => [
    { type: MessageType.Grains, batch: 1, ranges: [Buffer.alloc(4)] },
    m,
  ]),
  lie('asks before anything was offered', protocol, Welcome, m => [m, need]),
  lie('answers another offer', protocol, Need, m => [{ ...m, batch: m.batch + 1 }]),
  lie('asks for more blocks than were offered', protocol, Need, m => [
    { ...m, bitmap: Buffer.alloc(1024, 255) },
  ]),
  lie('answers for fewer blocks than were offered', protocol, Need, m => [
    { ...m, bitmap: m.bitmap.subarray(0, -1) },
  ]),
  lie('acknowledges what was never sent', protocol, Durable, m => [
    { ...m, commit: m.commit + 1n },
  ]),
  lie('acknowledges the last commit there can be', protocol, Durable, m => [
    { ...m, commit: 2n ** 64n - 1n },
  ]),
  lie('acknowledges before anything was sent', protocol, Welcome, m => [
    m,
    { type: Durable, commit: m.watermark + 1n },
  ]),
  lie('acknowledges what was durable before', protocol, Durable, m => [
    { ...m, commit: m.commit - 1n },
    m,
  ]),
  lie('rejects what was never sent', protocol, Durable, m => [
    rejected(m.commit + 5n, 0, 'gone'),
    m,
  ]),
  lie('rejects an operation that its commit lacks', protocol, Durable, m => [
    rejected(m.commit, 255, 'gone'),
    m,
  ]),
  lie('rejects twice', protocol, Durable, m => [
    rejected(m.commit, 0, 'gone'),
    rejected(m.commit, 0, 'blocks'),
    m,
  ]),
  lie('refuses attributes that it was not sent', protocol, Durable, m => [
    rejected(m.commit, 0, 'xattrs'),
    m,
  ]),
  lie('rejects what is durable', protocol, Durable, m => [rejected(m.commit - 1n, 0, 'gone'), m]),
  lie('lacks blocks for ever', protocol, Durable, m => [rejected(m.commit, 0, 'blocks'), m]),
  lie('lost what it never had', undefined, Durable, (m, told) => (told > 3 ? [m] : [lost, m])),
  lie('tells of listings nobody asked for', protocol, Durable, m => [listing(true), m]),
  lie('tells of digests nobody asked for', protocol, Durable, m => [
    { type: DirectoryDigests, last: true, directories: [] },
    m,
  ]),
  lie('verifies what nobody asked it to', protocol, Durable, m => [
    { type: MessageType.Checked, last: true, entries: [], extras: [] },
    m,
  ]),
  lie('refuses a stage that was never opened', protocol, Durable, m => [
    { type: MessageType.StageRefused, stage: 1, message: 'no' },
    m,
  ]),
  lie('forgot what nobody asked it to', protocol, Durable, m => [
    { type: MessageType.Forgotten, count: 1, hasSender: false },
    m,
  ]),
  lie('credits more than was sent', protocol, Durable, m => [
    { type: MessageType.Credit, handledBytes: 2n ** 63n },
    m,
  ]),
  lie('has no commit numbers left', protocol, Welcome, m => [{ ...m, watermark: 2n ** 64n - 1n }]),
  lie('has hardly a commit number left', protocol, Welcome, m => [
    { ...m, watermark: 2n ** 64n - 2n },
  ]),
  lie('has no node ids left', protocol, Welcome, m => [{ ...m, nextId: nodeId(nodeIdMax) }]),
  lie('holds 2^64 entries', undefined, Welcome, m => [{ ...m, entryCount: 2n ** 64n - 1n }]),
  lie('says Welcome twice', protocol, Welcome, m => [m, m]),
  lie('has a digest that nothing adds up to', 'ERR_SOCKET', Welcome, m => [
    { ...m, digest: Buffer.alloc(16, 1) },
  ]),
  second('lists a directory that was not asked for', protocol, Listing, m => [
    // In place of another: the count is right.
    listing(true, place(nodeId(55), 'x', nodeId(56), 'file'), ...m.entries.slice(1)),
  ]),
  second('lists more than it has', protocol, Listing, (m, told) => [
    ...Array.from({ length: 40 }, (_, i) =>
      listing(false, place(rootId, `x${told}.${i}`, nodeId(1000 + i), 'file')),
    ),
    m,
  ]),
  second('lists directories within each other', 'ERR_SOCKET', Listing, () => [
    listing(
      true,
      place(rootId, 'sub', nodeId(5), 'directory'),
      place(rootId, 'x', nodeId(5), 'directory'),
    ),
  ]),
  second('never ends its digests', protocol, DirectoryDigests, m => [
    ...Array.from({ length: 40 }, () => ({ ...m, last: false })),
    m,
  ]),
  second('loses without end while it is asked', protocol, DirectoryDigests, m => [
    ...Array.from({ length: 40 }, () => lost),
    m,
  ]),
  second('answers with listings where digests are due', protocol, DirectoryDigests, () => [
    listing(true),
  ]),
];

function second<T extends Message['type']>(
  what: string,
  code: Lie['code'],
  on: T,
  say: (message: Of<T>, told: number) => readonly Message[],
): Lie {
  return { ...lie(what, code, on, say), isSecond: true };
}

/** A sender that goes on and on, and the receiver it finds when it connects. */
class Scene {
  receiver = new FakeReceiver();
  readonly source: string;
  readonly errors: string[] = [];
  readonly #connections = new Set<Connection>();
  #rounds = 0;
  bug: unknown;

  static async open(t: Test): Promise<Scene> {
    const folder = makeDiskFolder(t);
    const listener = await Listener.open({
      ...{ host, port: 0, keys: () => [key], insecure: false, log: silentLog },
    });
    const { port } = listener.address;
    const connect = () => dial({ host, port, key, insecure: false, timeoutMs: 20_000 });
    const ending = new AbortController();
    const { signal } = ending;
    const options = optionsFor(folder, { connect, once: false, signal });
    const scene = new Scene(options.source);
    const sender = await Sender.open(options);
    void scene.#serve(listener);
    const running = scene.#follow(sender);
    t.teardown(async () => {
      ending.abort();
      await running;
      await sender.close();
      await listener.close();
    });
    return scene;
  }

  private constructor(source: string) {
    this.source = source;
    fs.mkdirSync(join(source, 'sub'), { recursive: true });
    this.change();
    this.renew();
  }

  /** Contents that no receiver has seen, and names. */
  change(): void {
    const added = join(this.source, 'added');
    fs.rmSync(added, { recursive: true, force: true });
    fs.mkdirSync(added);
    this.#rounds++;
    for (const text of ['a', 'b']) fs.writeFileSync(join(added, `${this.#rounds}${text}`), text);
    for (const [i, text] of ['one', 'two', 'sub/three'].entries()) {
      const bytes = randomBytes(seededRandom(100 * this.#rounds + i), 100_000);
      fs.writeFileSync(join(this.source, text), bytes);
    }
  }

  /** Another receiver, without a past, that does not lie. */
  renew(): void {
    this.receiver = new FakeReceiver();
    this.receiver.watermark = 5n;
    this.receiver.epoch = Buffer.alloc(16, this.#rounds);
  }

  cut(): void {
    for (const connection of this.#connections) void connection.close();
  }

  /** Until the receiver has what the source has, or the sender broke. */
  async converge(): Promise<void> {
    const wanted = JSON.stringify([...readModelTree(this.source)].sort());
    await until(() => {
      if (this.bug !== undefined) throw this.bug;
      return JSON.stringify([...this.receiver.model.tree()].sort()) === wanted;
    }, 'a copy');
  }

  /** The codes of what ended connections after the first `from`, once there are `count`. */
  async endings(from: number, count: number): Promise<readonly string[]> {
    await until(() => {
      if (this.bug !== undefined) throw this.bug;
      return this.errors.length >= from + count;
    }, 'the end of a connection');
    return this.errors.slice(from, from + count);
  }

  async #serve(listener: Listener): Promise<void> {
    for await (const connection of listener.connections()) {
      this.#connections.add(connection);
      void connection.closed.then(() => this.#connections.delete(connection));
      // Who of the two broke the protocol is the sender's to judge.
      this.receiver.serve(connection).catch(() => connection.close());
    }
  }

  async #follow(sender: Sender): Promise<void> {
    try {
      for await (const event of sender.run()) {
        if (event.kind === 'disconnected') this.errors.push(event.error.code);
      }
    } catch (error) {
      this.bug = error;
    }
  }
}

t.test('each lie ends one session, or is borne', async t => {
  const scene = await Scene.open(t);
  await scene.converge();
  for (const { what, code, on, say, isSecond } of ownShare(lies)) {
    let told = 0;
    const from = scene.errors.length;
    scene.receiver.lie = message => {
      if (message.type !== on) return [message];
      return say(message as never, told++); // Its type was just compared.
    };
    scene.change();
    // What the sender holds is another's then: it has to ask.
    if (isSecond) scene.receiver.epoch = Buffer.alloc(16, 255);
    const before = readTree(scene.source);
    scene.cut();
    if (code === undefined) await scene.converge();
    else t.strictSame(await scene.endings(from, 2), ['ERR_SOCKET', code], what);
    t.ok(told > 0, `${what}: it was told`);
    t.strictSame(compareReadTrees(before, readTree(scene.source)), [], `${what}: the source`);
    scene.renew();
    scene.cut();
    await scene.converge();
  }
  t.comment(`${lies.length} lies`);
});
