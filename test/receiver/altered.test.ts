// A file of the destination that was altered behind the receiver's back is never where wrong bytes
// come from: whatever lies about it, what is reused is what was asked for, or it is sent again.
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { blockId } from '../../src/blocks/block-id.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import type { Entry } from '../../src/snapshot/entry.ts';
import { decodeFile, encodeFile, fileKey, stampOf } from '../../src/store/receiver-records.ts';
import { ReplicaStore } from '../../src/store/replica-store.ts';
import type { Operation, Piece } from '../../src/wire/messages.ts';
import { FakeSender, type Placed, remove, rootId } from '../support/fake-sender.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { receiverDefaults } from '../support/receivers.ts';
import { ownShare } from '../support/seeds.ts';

const seed = 34;
const blockSize = 8192;
const blockCount = 5;
const never = 2 ** 31 - 1;
const asleep = { firstSliceMs: never, sliceMs: never, sweepMs: never, cleanMs: never };

/** Where the file lies that others are made from. */
const bases = ['in the tree', 'linked', 'kept'] as const;
const damages = ['flipped', 'cut short'] as const;

type FileOperation = Extract<Operation, { kind: 'file' }>;

class Story {
  readonly root: string;
  readonly content: Buffer;
  readonly blocks: readonly Buffer[];
  receiver: Receiver;
  sender: FakeSender;
  readonly #file: Operation & Placed;

  private constructor(root: string, content: Buffer, receiver: Receiver, sender: FakeSender) {
    this.root = root;
    this.content = content;
    this.receiver = receiver;
    this.sender = sender;
    const at = Array.from({ length: blockCount }, (_, i) => i * blockSize);
    this.blocks = at.map(from => content.subarray(from, from + blockSize));
    this.#file = sender.file(rootId, 'f', content);
  }

  static async begin(t: Test, base: (typeof bases)[number]): Promise<Story> {
    const root = t.testdir();
    const receiver = await openReceiver(root);
    const sender = await FakeSender.open(receiver);
    const content = randomBytes(seededRandom(seed), blockCount * blockSize);
    const story = new Story(root, content, receiver, sender);
    await sender.commit([story.#file]);
    const { entry } = story;
    if (base === 'linked') {
      await sender.commit([{ ...story.#file, kind: 'hardlink', name: 'g' as never, entry }]);
    } else if (base === 'kept') {
      await sender.commit([remove(rootId, 'f', entry.id)]);
    }
    return story;
  }

  get entry(): Entry {
    return this.#file.entry;
  }

  get #path(): string {
    const kept = join(this.root, '.replica', 'kept');
    const [name] = fs.readdirSync(kept);
    return name === undefined ? join(this.root, 'f') : join(kept, name);
  }

  /** Alters block `i`, with the times put back. */
  damage(i: number, damage: (typeof damages)[number]): void {
    const path = this.#path;
    const { atime, mtime } = fs.statSync(path);
    if (damage === 'cut short') fs.truncateSync(path, i * blockSize + 100);
    else {
      const fd = fs.openSync(path, 'r+');
      fs.writeSync(
        fd,
        Buffer.from([(this.content[i * blockSize + 7] ?? 0) ^ 1]),
        0,
        1,
        i * blockSize + 7,
      );
      fs.closeSync(fd);
    }
    fs.utimesSync(path, atime, mtime);
  }

  /** Makes the record say that the file was always like this. */
  async forgeRecord(): Promise<void> {
    await this.sender.close();
    await this.receiver.close();
    const folder = join(this.root, '.replica', 'state');
    const store = await ReplicaStore.open({ folder, durable: false });
    if (!store) throw new Error('no state');
    const key = fileKey(this.entry.id, this.entry.version);
    const record = decodeFile(store.database.tables.files.get(key) ?? Buffer.alloc(0));
    const stamp = stampOf(fs.statSync(this.#path, { bigint: true }));
    const forged = encodeFile({ ...record, stamp });
    await store.database.write(() => store.database.put('files', key, forged));
    await store.close();
    this.receiver = await openReceiver(this.root);
    this.sender = await FakeSender.open(this.receiver);
  }

  /** What a sender does: names what should be there, and sends what is asked for after all. */
  async makeFromIndex(): Promise<{ reused: number; sent: number }> {
    const file = this.sender.file(rootId, 'new', this.content);
    const refer = this.blocks.map(block => this.sender.block(block));
    const first = await this.#commit(file, 0, refer);
    if (first === undefined) return { reused: blockCount, sent: 0 };
    const ids = this.blocks.map(block => blockId(this.sender.secret, block));
    const needed = await this.sender.offer(ids);
    const pieces = refer.flatMap((piece, i) =>
      needed[i] ? this.sender.data(this.blocks[i] ?? Buffer.alloc(0)) : [piece],
    );
    const sent = needed.filter(Boolean).length;
    const again = await this.#commit(this.sender.file(rootId, 'new', this.content), 0, pieces);
    if (again !== undefined) throw new Error(`rejected again: ${again}`);
    return { reused: blockCount - sent, sent };
  }

  /** The next version of the file, or of the one that was removed: all of it, and one block more. */
  async makeFromBase(): Promise<{ reused: number; sent: number }> {
    const { id } = this.entry;
    const more = Buffer.concat([this.content, Buffer.alloc(100, 'more')]);
    const next = () => this.sender.file(rootId, 'new', more, { id, version: 2 });
    const copy: Piece = { kind: 'copy', from: 0, count: blockCount };
    const tail = this.sender.data(more.subarray(this.content.length));
    const first = await this.#commit(next(), 1, [copy, ...tail]);
    if (first === undefined) return { reused: blockCount, sent: 1 };
    const again = await this.#commit(next(), 0, this.sender.data(more));
    if (again !== undefined) throw new Error(`rejected again: ${again}`);
    return { reused: 0, sent: blockCount + 1 };
  }

  /** The reason why it was rejected, or undefined. */
  async #commit(
    file: Operation & Placed,
    baseVersion: number,
    pieces: readonly Piece[],
  ): Promise<string | undefined> {
    const content = { kind: 'inline', baseVersion, pieces } as const;
    const operation = { ...file, content } as unknown as FileOperation;
    const { rejected } = await this.sender.commit([operation]);
    return rejected[0]?.reason;
  }

  made(): Buffer {
    return fs.readFileSync(join(this.root, 'new'));
  }

  async end(): Promise<void> {
    await this.sender.close();
    await this.receiver.close();
  }
}

function openReceiver(root: string): Promise<Receiver> {
  return Receiver.open({ ...receiverDefaults, root, fsync: 'off', pauses: asleep });
}

t.comment(`seed ${seed}`);
for (const base of ownShare(bases)) {
  t.test(`index hits in a file that is ${base}`, async t => {
    let reused = 0;
    let sent = 0;
    for (const isForged of [false, true]) {
      for (const damage of damages) {
        for (let block = 0; block < blockCount; block++) {
          await t.test(`block ${block} ${damage}${isForged ? ', record forged' : ''}`, async t => {
            const story = await Story.begin(t, base);
            story.damage(block, damage);
            if (isForged) await story.forgeRecord();
            const made = await story.makeFromIndex();
            t.ok(story.made().equals(story.content));
            t.ok(made.sent > 0, `${made.sent} blocks sent again`);
            reused += made.reused;
            sent += made.sent;
            await story.end();
          });
        }
      }
    }
    t.ok(reused > 0 && sent > 0, `${reused} blocks reused, ${sent} sent again`);
  });

  t.test(`copies from a version that is ${base}`, async t => {
    let reused = 0;
    let sent = 0;
    for (const damage of [undefined, ...damages]) {
      for (let block = 0; block < blockCount; block++) {
        await t.test(`block ${block} ${damage ?? 'as it was'}`, async t => {
          const story = await Story.begin(t, base);
          if (damage) story.damage(block, damage);
          const made = await story.makeFromBase();
          const expected = Buffer.concat([story.content, Buffer.alloc(100, 'more')]);
          t.ok(story.made().equals(expected));
          t.equal(made.reused > 0, damage === undefined);
          reused += made.reused;
          sent += made.sent;
          await story.end();
        });
      }
    }
    t.ok(reused > 0 && sent > 0, `${reused} blocks reused, ${sent} sent`);
  });
}

t.test('others get their turn while a commit compares what times do not tell', async t => {
  const root = t.testdir();
  let turns = 0;
  const seen: number[] = [];
  const onStep = (label: string): void => {
    if (label.startsWith('file ')) seen.push(turns);
  };
  const receiver = await Receiver.open({ ...receiverDefaults, root, onStep, pauses: asleep });
  t.teardown(() => receiver.close());
  const sender = await FakeSender.open(receiver);
  const size = 60 * 1024 * 1024;
  const file = (name: string, text: string): Operation & Placed => {
    const pieces = Array.from({ length: size / 65_536 - 1 }, () => sender.zero(65_536));
    const content = Buffer.alloc(65_536, text);
    const made = sender.file(rootId, name, content);
    return {
      ...made,
      entry: sender.fileEntry(size, { id: made.entry.id }),
      content: { kind: 'inline', baseVersion: 0, pieces: [...pieces, ...sender.data(content)] },
    } as Operation & Placed;
  };
  const names = ['a', 'b', 'c', 'd', 'e'];
  for (const name of names) await sender.commit([file(name, name)]);
  for (const name of names) fs.utimesSync(join(root, name), 1, 1);
  seen.length = 0;
  const timer = setInterval(() => turns++, 0);
  const outcome = await sender.commit(names.map(name => sender.file(rootId, name, 'new')));
  clearInterval(timer);
  t.strictSame(outcome, { rejected: [], lost: [] });
  t.equal(receiver.driftCount, 0, 'its content was compared');
  t.equal(seen.length, names.length);
  t.ok((seen.at(-1) ?? 0) > (seen[0] ?? 0), `${seen}`);
  await sender.close();
});
