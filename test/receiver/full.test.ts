// A destination that is full or read-only, on a small file system mounted for the test.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Receiver } from '../../src/receiver/receiver.ts';
import type { SenderEvent } from '../../src/sender/events.ts';
import { Sender } from '../../src/sender/sender.ts';
import { FakeSender, rootId } from '../support/fake-sender.ts';
import { isPrivileged } from '../support/folders.ts';
import { untilEqual } from '../support/live-pair.ts';
import { mountTmpfs } from '../support/mounts.ts';
import { senderOptions } from '../support/push-once.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { collectingLog, receiverDefaults } from '../support/receivers.ts';
import { until } from '../support/until.ts';

function mountFault(): string | false {
  if (!isPrivileged) return 'only root may mount';
  const folder = fs.mkdtempSync('/tmp/replica-mount-');
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', folder]);
  if (status === 0) spawnSync('umount', [folder]);
  fs.rmdirSync(folder);
  return status === 0 ? false : `cannot mount here: ${stderr?.toString().trim()}`;
}

function run(...command: readonly [string, ...string[]]): void {
  const { status, stderr } = spawnSync(command[0], command.slice(1));
  if (status !== 0) throw new Error(`${command.join(' ')}: ${stderr}`);
}

interface Story {
  readonly source: string;
  readonly root: string;
  readonly events: SenderEvent[];
  readonly lines: string[];
  readonly receiver: Receiver;
}

/** A receiver on a small file system of its own, and a sender that keeps going. */
async function begin(t: Test, size: string, isStateThere: boolean): Promise<Story> {
  const folder = fs.mkdtempSync('/tmp/replica-full-');
  const source = join(folder, 'source');
  const root = join(folder, 'target');
  fs.mkdirSync(source);
  fs.mkdirSync(root);
  run('mount', '-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', root);
  const { log, lines } = collectingLog();
  const receiver = await Receiver.open({
    ...receiverDefaults,
    root,
    stateFolder: isStateThere ? undefined : join(folder, 'state'),
    log,
  });
  const stop = new AbortController();
  const once = { once: false, intervalMs: 20, signal: stop.signal };
  const sender = await Sender.open(senderOptions({ folder, source, receiver }, once));
  const events: SenderEvent[] = [];
  const running = (async () => {
    for await (const event of sender.run()) events.push(event);
  })();
  t.teardown(async () => {
    stop.abort();
    await running;
    await sender.close();
    await receiver.close();
    spawnSync('umount', ['-l', root]);
    fs.rmSync(folder, { recursive: true, force: true });
  });
  return { source, root, events, lines, receiver };
}

function failures({ events }: Story): string[] {
  return events.flatMap(event =>
    event.kind === 'disconnected' ? [`${event.error.code} ${event.error.message}`] : [],
  );
}

/** Every file of the destination is one of the source, complete. */
function torn({ source, root }: Story): string[] {
  return fs
    .readdirSync(root)
    .filter(name => name !== '.replica')
    .filter(name => {
      const from = join(source, name);
      return (
        !fs.existsSync(from) || !fs.readFileSync(join(root, name)).equals(fs.readFileSync(from))
      );
    });
}

const fault = mountFault();
for (const isStateThere of [true, false]) {
  const where = isStateThere ? 'with the state on it' : 'with the state elsewhere';
  t.test(`a full destination, ${where}`, { skip: fault }, async t => {
    const story = await begin(t, '6m', isStateThere);
    const { source, root } = story;
    const random = seededRandom(1);
    for (let i = 0; i < 30; i++) {
      fs.writeFileSync(join(source, `file${i}`), randomBytes(random, 300_000));
    }
    fs.writeFileSync(join(source, 'large'), randomBytes(random, 5_000_000));
    await until(() => failures(story).length > 2);
    for (const line of failures(story)) t.match(line, /^ERR_IO .*(full|No space left)/i);
    t.strictSame(torn(story), []);
    run('mount', '-o', 'remount,size=60m', root);
    await untilEqual(source, root, 30_000);
    t.equal(story.receiver.driftCount, 0);
  });
}

t.test('a destination that becomes read-only for a while', { skip: fault }, async t => {
  // Open state files would keep it from becoming read-only.
  const story = await begin(t, '60m', false);
  const { source, root } = story;
  fs.writeFileSync(join(source, 'a'), 'A');
  await untilEqual(source, root, 10_000);
  run('mount', '-o', 'remount,ro', root);
  fs.writeFileSync(join(source, 'b'), 'B');
  fs.writeFileSync(join(source, 'a'), 'changed');
  await until(() => failures(story).length > 1);
  t.match(failures(story)[0], /^ERR_IO .*read-only/i);
  run('mount', '-o', 'remount,rw', root);
  await untilEqual(source, root, 30_000);
  t.equal(story.receiver.driftCount, 0);
});

t.test('a receiver that cannot start on a full disk keeps its state', { skip: fault }, async t => {
  const root = mountTmpfs(t, '6m');
  const { log, lines } = collectingLog();
  const open = (): Promise<Receiver> => Receiver.open({ ...receiverDefaults, root, log });
  const first = await open();
  const sender = await FakeSender.open(first);
  await sender.commit([sender.file(rootId, 'a', 'A')]);
  await sender.close();
  await first.close();
  const fill = join(root, '.replica', 'fill');
  t.throws(() => fs.writeFileSync(fill, Buffer.alloc(7_000_000)), { code: 'ENOSPC' });
  // Enough for the lock.
  fs.truncateSync(fill, fs.statSync(fill).size - 100_000);
  // Nothing has to be written here; then there is something to be noted.
  await (await open()).close();
  fs.mkdirSync(join(root, '.replica', 'kept', '1-unknown'));
  for (let i = 0; i < 5; i++) {
    await t.rejects(open(), { code: 'ERR_IO', message: /full: make room/ });
  }
  fs.rmSync(fill);
  const last = await open();
  t.equal(last.figures.entries, 1);
  await last.close();
  t.notMatch(lines.join(), /made anew/);
});
