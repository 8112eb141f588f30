// What commits do to the name of a large file that is under way beside them stands: its content, which
// was read before, does not come after it.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { memoryPair } from '../../src/net/memory-pair.ts';
import { type Message, MessageType, type Operation } from '../../src/wire/messages.ts';
import { runUntilTeardown, senderOptions } from '../support/push-once.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { openReceiver } from '../support/receivers.ts';
import { until } from '../support/until.ts';

const size = 5_000_000;

/** What becomes of `large`, and how the destination tells that this arrived. */
const stories: Readonly<
  Record<
    string,
    { act: (source: string) => void; isThere: (target: string) => boolean; ends: boolean }
  >
> = {
  'is removed': {
    act: source => fs.rmSync(join(source, 'large')),
    isThere: target => !fs.existsSync(join(target, 'large')),
    ends: false,
  },
  'becomes a directory': {
    act: source => {
      fs.rmSync(join(source, 'large'));
      fs.mkdirSync(join(source, 'large'));
      fs.writeFileSync(join(source, 'large/child'), 'child');
    },
    isThere: target => fs.existsSync(join(target, 'large/child')),
    ends: true,
  },
  'becomes a link': {
    act: source => {
      fs.rmSync(join(source, 'large'));
      fs.symlinkSync('other', join(source, 'large'));
    },
    isThere: target =>
      fs.lstatSync(join(target, 'large'), { throwIfNoEntry: false })?.isSymbolicLink() === true,
    ends: true,
  },
  'is replaced by a rename': {
    act: source => fs.renameSync(join(source, 'other'), join(source, 'large')),
    isThere: target => !fs.existsSync(join(target, 'other')),
    ends: true,
  },
};

for (const [what, { act, isThere, ends }] of Object.entries(stories)) {
  for (const isNew of [true, false]) {
    t.test(`a large file that ${what} while it is sent (new: ${isNew})`, async t => {
      const folder = t.testdir({ source: { other: 'other' }, target: {} });
      const [source, target] = [join(folder, 'source'), join(folder, 'target')];
      const receiver = await openReceiver(t, { root: target });
      const said: Message[] = [];
      let isHeld = false;
      let release = (): void => {};
      const released = new Promise<void>(resolve => {
        release = resolve;
      });
      let stagedBytes = 0;
      const connect = async () => {
        const [near, far] = memoryPair();
        void receiver.serve(far);
        const send = near.send.bind(near);
        near.send = async message => {
          said.push(message);
          await send(message);
          if (!isHeld || message.type !== MessageType.StageData) return;
          for (const piece of message.pieces) {
            if (piece.kind === 'data') stagedBytes += piece.bytes.length;
          }
          // All of it was read and sent but for the word that it is complete.
          if (stagedBytes === size) await released;
        };
        return near;
      };
      const own = { connect, once: false, intervalMs: 20 };
      const sender = await runUntilTeardown(t, senderOptions({ folder, source, receiver }, own));
      const random = seededRandom(isNew ? 1 : 2);
      if (!isNew) fs.writeFileSync(join(source, 'large'), randomBytes(random, size));
      await sender.flush();
      isHeld = true;
      fs.writeFileSync(join(source, 'large'), randomBytes(random, size));
      await until(() => stagedBytes === size);
      const from = said.length;
      act(source);
      const operations = (): readonly Operation[] =>
        said
          .slice(from)
          .flatMap(one => (one.type === MessageType.Operations ? one.operations : []));
      await until(() => isThere(target) && operations().some(({ name }) => name === 'large'));
      release();
      await sender.flush();
      t.equal(isThere(target), true);
      t.equal(fs.lstatSync(join(target, 'large'), { throwIfNoEntry: false }) !== undefined, ends);
      const late = operations().filter(one => one.kind === 'file' && one.content.kind === 'stage');
      t.strictSame(late, [], 'the content from before is not placed any more');
    });
  }
}
