// Somebody touches a file of the destination, and the next commit replaces, moves or removes it
// before the sweep comes by: where the content is as recorded, nothing has drifted.
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Receiver } from '../../src/receiver/receiver.ts';
import type { Operation } from '../../src/wire/messages.ts';
import { FakeSender, type Placed, remove, rename, rootId } from '../support/fake-sender.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { collectingLog, openReceiver } from '../support/receivers.ts';

const never = 2 ** 31 - 1;
const asleep = { firstSliceMs: never, sliceMs: never, sweepMs: never, cleanMs: never };
const content = randomBytes(seededRandom(11), 900_000);

type Change = (path: string) => void;

const harmless: Record<string, Change> = {
  'its time was set': path => fs.utimesSync(path, 1, 1),
  'its mode was set': path => fs.chmodSync(path, 0o600),
  'it had a second name for a while': path => {
    fs.linkSync(path, `${path}.second`);
    fs.unlinkSync(`${path}.second`);
  },
  'it was restored from a copy': path => {
    fs.copyFileSync(path, `${path}.copy`);
    fs.renameSync(`${path}.copy`, path);
  },
};

const harmful: Record<string, Change> = {
  'its last byte was changed': path => {
    const { atime, mtime } = fs.statSync(path);
    const fd = fs.openSync(path, 'r+');
    fs.writeSync(fd, Buffer.from([(content.at(-1) ?? 0) ^ 1]), 0, 1, content.length - 1);
    fs.closeSync(fd);
    fs.utimesSync(path, atime, mtime);
  },
  'it was cut short': path => fs.truncateSync(path, 800_000),
  'it became a link to its own content': path => {
    fs.renameSync(path, `${path}.real`);
    fs.symlinkSync('f.real', path);
  },
};

const steps: Record<string, (sender: FakeSender, file: Operation & Placed) => Operation> = {
  replaced: (sender, { entry }) =>
    sender.file(rootId, 'f', Buffer.from('next'), { id: entry.id, version: 2 }),
  'taken over': (sender, _) => sender.file(rootId, 'f', Buffer.from('another')),
  removed: (_, { entry }) => remove(rootId, 'f', entry.id),
  renamed: (_, file) => rename(file, rootId, 'g'),
  'given attributes': (_, file) => ({ ...file, kind: 'attributes' }) as Operation,
};

interface Open {
  readonly receiver: Receiver;
  readonly sender: FakeSender;
  readonly root: string;
  readonly drift: () => string[];
}

async function open(t: Test): Promise<Open> {
  const root = t.testdir();
  const { log, lines } = collectingLog();
  const receiver = await openReceiver(t, { root, log, fsync: 'off', pauses: asleep });
  const sender = await FakeSender.open(receiver);
  return { root, receiver, sender, drift: () => lines.filter(line => / drift/.test(line)) };
}

for (const [step, operation] of Object.entries(steps)) {
  t.test(`a file that is ${step}`, async t => {
    for (const [name, touch] of Object.entries({ ...harmless, ...harmful })) {
      await t.test(name, async t => {
        const { root, sender, drift } = await open(t);
        const file = sender.file(rootId, 'f', content);
        await sender.commit([file]);
        touch(join(root, 'f'));
        const { rejected, lost } = await sender.commit([operation(sender, file)]);
        const isDrift = name in harmful;
        t.equal(drift().length > 0, isDrift, isDrift ? 'is drift' : 'is no drift');
        if (!isDrift) t.strictSame({ rejected, lost }, { rejected: [], lost: [] });
        const kept = fs.readdirSync(join(root, '.replica', 'kept'));
        if (isDrift) t.ok(kept.length > 0, 'it is kept');
        await sender.close();
      });
    }
  });
}
