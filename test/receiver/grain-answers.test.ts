// What a receiver tells of what it holds, to a sender that forgot it: true, in order, and bounded.
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { grainsOf } from '../../src/blocks/grains-plain.ts';
import type { Connection } from '../../src/net/connection.ts';
import { Folders } from '../../src/receiver/folders.ts';
import { GrainAnswers } from '../../src/receiver/grain-answers.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import { stampOf } from '../../src/store/receiver-records.ts';
import type { ReplicaStore } from '../../src/store/replica-store.ts';
import { ConfinedDirectory } from '../../src/tree/confined-directory.ts';
import {
  type ByteRange,
  type GetGrains,
  type Message,
  MessageType,
} from '../../src/wire/messages.ts';
import { noise } from '../support/content.ts';
import { FakeSender, rootId } from '../support/fake-sender.ts';
import { name, nodeId } from '../support/messages.ts';
import { randomInteger, seededRandom } from '../support/random.ts';
import { receiverDefaults } from '../support/receivers.ts';

const factor = 0x1234_5678_9abc_def1n;
const mebibyte = 1024 * 1024;

async function begin(t: Test) {
  const root = t.testdir();
  const receiver = await Receiver.open({ ...receiverDefaults, root, fsync: 'off' });
  t.teardown(() => receiver.close());
  const sender = await FakeSender.open(receiver);
  t.teardown(() => sender.close());
  return { root, sender };
}

function question(
  file: { readonly id: number; readonly version?: number },
  ranges: readonly ByteRange[],
  changes: Partial<GetGrains> = {},
): GetGrains {
  const { id, version = 1 } = file;
  return {
    ...{ type: MessageType.GetGrains, batch: 1, factor, grainSize: 64 },
    files: [{ id: nodeId(id), version, ranges }],
    ...changes,
  };
}

async function ask(sender: FakeSender, message: GetGrains): Promise<readonly Buffer[]> {
  await sender.connection.send(message);
  const { batch, ranges } = await sender.next(MessageType.Grains);
  t.equal(batch, message.batch);
  return ranges;
}

/** As they go over the wire. */
function oracle(content: Buffer, { offset, size }: ByteRange, grainSize: number): Buffer {
  return grainsOf(content.subarray(offset, offset + size), grainSize, factor).swap32();
}

t.test('grains of any range are those of the oracle', async t => {
  const { sender } = await begin(t);
  const content = noise(1, 900_077);
  const file = sender.file(rootId, 'f', content);
  await sender.commit([file]);
  for (let seed = 1; seed <= 40; seed++) {
    const random = seededRandom(seed);
    const grainSize = 64 + randomInteger(random, 961);
    const ranges = Array.from({ length: 1 + randomInteger(random, 4) }, () => {
      const offset = randomInteger(random, content.length);
      const most = seed % 10 === 0 ? 900_077 : 200_000;
      const size = 1 + randomInteger(random, Math.min(content.length - offset, most));
      return { offset, size };
    });
    const answer = await ask(sender, question(file.entry, ranges, { batch: seed, grainSize }));
    const wanted = ranges.map(range => oracle(content, range, grainSize));
    if (answer.length === wanted.length && wanted.every((one, i) => one.equals(answer[i] ?? one)))
      continue;
    t.fail(`seed ${seed}`);
    break;
  }
});

t.test('of what is not there as recorded there are none', async t => {
  const { root, sender } = await begin(t);
  const content = noise(2, 5000);
  const file = sender.file(rootId, 'f', content);
  const other = sender.file(rootId, 'g', noise(3, 64));
  await sender.commit([file, other]);
  const { id } = file.entry;
  const all = { offset: 0, size: 5000 };
  const counts = async (message: GetGrains) =>
    (await ask(sender, message)).map(hashes => hashes.length / 4);
  t.strictSame(await counts(question({ id }, [all])), [79]);
  t.strictSame(await counts(question({ id: id + 77 }, [all])), [0], 'no such file');
  t.strictSame(await counts(question({ id, version: 2 }, [all, all])), [0, 0], 'another version');
  const beyond = { offset: 4999, size: 2 };
  t.strictSame(await counts(question({ id }, [beyond, all])), [0, 79], 'more than it has');
  fs.appendFileSync(join(root, 'f'), 'drift');
  const files = [
    { id, version: 1, ranges: [all] },
    { id: other.entry.id, version: 1, ranges: [{ offset: 0, size: 64 }] },
  ];
  t.strictSame(await counts(question({ id }, [all], { files })), [0, 1], 'altered');
});

t.test('questions wait for no commit, and hold none up', async t => {
  const { sender } = await begin(t);
  const blocks = 4 * 1024;
  const entry = sender.fileEntry(blocks * 65_536);
  await sender.connection.send({
    ...{ type: MessageType.StageOpen, stage: 1, id: entry.id, size: entry.size, baseVersion: 0 },
  });
  const zero = sender.zero(65_536);
  for (let i = 0; i < blocks; i += 2048) {
    const pieces = Array.from({ length: 2048 }, () => zero);
    await sender.connection.send({ type: MessageType.StageData, stage: 1, pieces });
  }
  const content = { kind: 'stage', stage: 1 } as const;
  await sender.commit([{ kind: 'file', parent: rootId, name: name('big'), entry, content }]);
  const questions = 15;
  const range = { offset: 0, size: 64 * mebibyte };
  for (let batch = 0; batch < questions; batch++) {
    await sender.connection.send(question(entry, [range], { batch, grainSize: 1024 }));
  }
  await sender.send([sender.file(rootId, 'small', 'save')]);
  const seen: Message['type'][] = [];
  while (seen.filter(type => type === MessageType.Grains).length < questions) {
    seen.push((await sender.any()).type);
  }
  t.equal(seen.at(-1), MessageType.Grains);
  t.ok(seen.includes(MessageType.Durable), 'the save was durable before the last answer');
});

t.test('more questions than may wait end the connection', async t => {
  const { sender } = await begin(t);
  const file = sender.file(rootId, 'f', noise(4, 900_000));
  await sender.commit([file]);
  const range = { offset: 0, size: 900_000 };
  const message = question(file.entry, Array(4).fill(range), { grainSize: 1024 });
  for (let i = 0; i < 100; i++) sender.connection.send(message).catch(() => {});
  for (;;) {
    const answer = await sender.any();
    if (answer.type === MessageType.Grains) continue;
    t.match(answer, { type: MessageType.Failure, code: 'protocol', message: /16 questions/ });
    break;
  }
});

t.test('what is read between two commits is bounded', async t => {
  const content = noise(5, 20_000);
  const root = t.testdir();
  fs.writeFileSync(join(root, 'f'), content);
  const folders = Folders.open(ConfinedDirectory.openRoot(root));
  t.teardown(() => folders.close());
  const stamp = stampOf(fs.statSync(join(root, 'f'), { bigint: true }));
  const places = [{ parent: rootId, name: name('f') }];
  const list = { byteCount: content.length };
  const store = { directory: () => undefined, file: () => ({ links: 1, places, stamp, list }) };
  const sent: Message[] = [];
  const connection = { send: async (message: Message) => void sent.push(message) };
  const answers = new GrainAnswers({
    store: store as unknown as ReplicaStore,
    folders,
    connection: connection as unknown as Connection,
    readBytesMax: 25_000,
  });
  t.teardown(() => answers.close());
  const whole = { offset: 0, size: 20_000 };
  const counts = async (ranges: readonly ByteRange[]) => {
    await answers.answer(question({ id: 5 }, ranges));
    const last = sent.at(-1);
    return last?.type === MessageType.Grains ? last.ranges.map(one => one.length / 4) : [];
  };
  t.strictSame(await counts([whole, whole]), [313, 0], 'it was there, and is no more');
  t.strictSame(await counts([{ offset: 0, size: 1 }]), [1], 'a page of what is left');
  t.strictSame(await counts([{ offset: 0, size: 1 }]), [0]);
  answers.renew();
  t.strictSame(await counts([whole]), [313], 'as before, after a commit');
  await answers.close();
  const { length } = sent;
  await answers.answer(question({ id: 5 }, [whole]));
  t.equal(sent.length, length, 'a session that is over is told nothing');
});
