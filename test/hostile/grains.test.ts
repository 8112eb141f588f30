// A receiver that is asked for grains and lies: the session ends, or it costs bytes; what the replica
// holds in the end is right.
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Message, MessageType } from '../../src/wire/messages.ts';
import { noise } from '../support/content.ts';
import { connectTo, optionsFor, runOnce } from '../support/fake-push.ts';
import { FakeReceiver } from '../support/fake-receiver.ts';
import { makeDiskFolder } from '../support/folders.ts';

type Grains = Extract<Message, { type: typeof MessageType.Grains }>;

const files = { small: noise(1, 30_000), large: noise(2, 5_000_000) };
const hash = Buffer.alloc(4);

const mapped = (change: (hashes: Buffer) => Buffer) => (message: Grains) => [
  { ...message, ranges: message.ranges.map(change) },
];

const lies: readonly (readonly [
  what: string,
  code: 'ERR_PROTOCOL' | undefined,
  say: (message: Grains) => readonly Message[],
])[] = [
  ['answers twice', 'ERR_PROTOCOL', m => [m, m]],
  ['answers another question', 'ERR_PROTOCOL', m => [{ ...m, batch: m.batch + 1 }]],
  ['tells of a range too many', 'ERR_PROTOCOL', m => [{ ...m, ranges: [...m.ranges, hash] }]],
  ['has a hash too few', 'ERR_PROTOCOL', mapped(hashes => hashes.subarray(4))],
  ['has a hash too many', 'ERR_PROTOCOL', mapped(hashes => Buffer.concat([hashes, hash]))],
  ['has one hash for all', undefined, mapped(hashes => Buffer.alloc(hashes.length, 7))],
  ['makes its hashes up', undefined, mapped(hashes => noise(3, hashes.length))],
  ['turns them round', undefined, mapped(hashes => Buffer.from(hashes).reverse())],
  ['has nothing', undefined, mapped(() => Buffer.alloc(0))],
];

async function run(t: Test, say: (message: Grains) => readonly Message[]) {
  const receiver = new FakeReceiver();
  receiver.isLenient = true;
  const folder = makeDiskFolder(t);
  const options = optionsFor(folder, { connect: connectTo(receiver) });
  fs.mkdirSync(options.source);
  for (const [name, bytes] of Object.entries(files)) {
    fs.writeFileSync(join(options.source, name), bytes);
  }
  await runOnce(options);
  fs.rmSync(join(folder, 'state', 'grains'));
  const wanted = Object.entries(files).map(([name, bytes]) => {
    const edited = Buffer.concat([
      bytes.subarray(0, 15_000),
      Buffer.from('x'),
      bytes.subarray(15_000),
    ]);
    fs.writeFileSync(join(options.source, name), edited);
    return edited;
  });
  let told = 0;
  receiver.lie = message => {
    if (message.type !== MessageType.Grains) return [message];
    told++;
    return say(message);
  };
  const { outcome } = await runOnce(options);
  receiver.lie = message => [message];
  if (outcome.error !== undefined) t.ok((await runOnce(options)).outcome.inSync);
  const held = [...receiver.files.values()].map(({ blocks }) => Buffer.concat(blocks));
  t.ok(
    wanted.every(bytes => held.some(one => one.equals(bytes))),
    'the replica is right',
  );
  t.ok(told > 0, 'it was asked');
  return outcome.error?.code;
}

for (const [what, code, say] of lies) {
  t.test(`a receiver that ${what}`, async t => {
    t.equal(await run(t, say), code);
  });
}
