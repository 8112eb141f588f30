// A large file that cannot be held is refused while it comes: the sender stops sending it, what fits
// beside it flows in the same session, and it is sent once there is room.
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Connection } from '../../src/net/connection.ts';
import { memoryPair } from '../../src/net/memory-pair.ts';
import type { Receiver } from '../../src/receiver/receiver.ts';
import type { StageData } from '../../src/wire/messages.ts';
import { hearsRefusals, MessageType } from '../../src/wire/messages.ts';
import { FakeSender } from '../support/fake-sender.ts';
import { makeDiskFolder } from '../support/folders.ts';
import { LivePair } from '../support/live-pair.ts';
import { command, isRoot, mountTmpfs } from '../support/mounts.ts';
import { type Pushed, pushOnce } from '../support/push-once.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { openReceiver } from '../support/receivers.ts';

const largeSize = 60_000_000;

/** A source with a large file between small ones. */
function makeSource(t: Test): { readonly folder: string; readonly source: string } {
  const folder = makeDiskFolder(t);
  const source = join(folder, 'source');
  fs.mkdirSync(source);
  fs.writeFileSync(join(source, 'large'), randomBytes(seededRandom(1), largeSize));
  for (const name of ['a', 'z']) fs.writeFileSync(join(source, name), name);
  return { folder, source };
}

interface Pushing {
  readonly folder: string;
  readonly source: string;
  readonly receiver: Receiver;
}

/** One pass, and the bytes that its connections took. */
async function push(of: Pushing): Promise<Pushed & { readonly wireBytes: number }> {
  const connections: Connection[] = [];
  const connect = async (): Promise<Connection> => {
    const [near, far] = memoryPair();
    void of.receiver.serve(far);
    connections.push(near);
    return near;
  };
  const pushed = await pushOnce(of, { connect });
  const wireBytes = connections.reduce((sum, { bytesSent }) => sum + bytesSent, 0);
  return { ...pushed, wireBytes };
}

function problems({ events }: Pushed): string[] {
  return events.flatMap(event =>
    event.kind === 'problem'
      ? [`${event.problem.path} ${event.problem.code} ${event.problem.message}`]
      : [],
  );
}

t.test('a file beyond the quota is hardly sent, and the others are', async t => {
  const { folder, source } = makeSource(t);
  const root = join(folder, 'target');
  fs.mkdirSync(root);
  const receiver = await openReceiver(t, { root, quota: 1_000_000 });
  const first = await push({ folder, source, receiver });
  t.match(first.outcome, { inSync: false, error: undefined, problems: 1 });
  t.match(problems(first), [/^large EREFUSED no room for 60000000 bytes more: .*--quota/]);
  t.ok(first.wireBytes < largeSize / 3, `${first.wireBytes} bytes of ${largeSize} were sent`);
  t.equal(first.events.filter(event => event.kind === 'disconnected').length, 0);
  t.same(fs.readdirSync(root).sort(), ['.replica', 'a', 'z']);
  fs.truncateSync(join(source, 'large'), 900_000);
  t.match((await push({ folder, source, receiver })).outcome, { inSync: true, problems: 0 });
  t.ok(fs.readFileSync(join(root, 'large')).equals(fs.readFileSync(join(source, 'large'))));
});

const skip = isRoot ? false : 'only root may mount';

t.test('a file that the disk has no room for leaves it to the others', { skip }, async t => {
  const { folder, source } = makeSource(t);
  const root = mountTmpfs(t, '24m');
  const receiver = await openReceiver(t, { root, stateFolder: join(folder, 'state') });
  const first = await push({ folder, source, receiver });
  t.match(first.outcome, { inSync: false, error: undefined, problems: 1 });
  t.match(problems(first), [/^large EREFUSED no room for it: .*ENOSPC/]);
  t.ok(first.wireBytes < (largeSize * 2) / 3, `${first.wireBytes} bytes of ${largeSize} were sent`);
  t.equal(first.events.filter(event => event.kind === 'disconnected').length, 0);
  t.same(fs.readdirSync(root).sort(), ['.replica', 'a', 'z']);
  for (const folder of ['staging', 'unfinished']) {
    t.same(fs.readdirSync(join(root, '.replica', folder)), [], 'what came of it is gone');
  }
  command('mount', '-o', 'remount,size=100m', root);
  t.match((await push({ folder, source, receiver })).outcome, { inSync: true, problems: 0 });
  t.ok(fs.readFileSync(join(root, 'large')).equals(fs.readFileSync(join(source, 'large'))));
});

t.test('a file that is too large for the file system is no bug', { skip }, async t => {
  const { folder, source } = makeSource(t);
  const pair = new LivePair({ folder, source });
  t.teardown(() => pair.stop());
  await pair.startReceive();
  const pid = String(pair.receive?.child.pid);
  command('prlimit', '--fsize=24000000:', '--pid', pid);
  const first = await pair.once();
  t.equal(first.code, 23);
  t.match(first.lines.join('\n'), /large.*the file is too large for the file system.*EFBIG/);
  t.same(fs.readdirSync(pair.target).sort(), ['.replica', 'a', 'z']);
  command('prlimit', '--fsize=unlimited:', '--pid', pid);
  t.equal((await pair.once()).code, 0);
});

t.test('only a sender that understands it is told, and what follows is dropped', async t => {
  for (const features of [0n, hearsRefusals]) {
    const receiver = await openReceiver(t, { root: t.testdir(), quota: 100 });
    const sender = await FakeSender.open(receiver, { features });
    const { connection } = sender;
    const { id } = sender.fileEntry(200);
    const stage = 7;
    const opening = { stage, id, size: 200, baseVersion: 0 };
    const data: StageData = { type: MessageType.StageData, stage, pieces: [sender.zero(200)] };
    await connection.send({ type: MessageType.StageOpen, ...opening });
    await connection.send(data);
    await connection.send({ type: MessageType.StageAbort, stage });
    await connection.send(data);
    if (features !== 0n) {
      t.match(await sender.next(MessageType.StageRefused), { stage, message: /no room for 200/ });
    }
    t.match(await sender.next(MessageType.Failure), { message: /stage 7 is not open/ });
    await sender.close();
  }
});
