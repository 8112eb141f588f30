// Edits made while one side or both were stopped arrive after a restart with the same command
// line, and a second pass without a change costs next to nothing (P3, P7).
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { transports } from '../support/fake-ssh.ts';
import { makeDiskFolder } from '../support/folders.ts';
import { LivePair } from '../support/live-pair.ts';
import { fillTree, mutate } from '../support/mutate.ts';
import { seededRandom } from '../support/random.ts';
import { Relay } from '../support/relay.ts';
import { createTree, hardLink } from '../support/tree.ts';

function mutateMany(root: string, random: () => number, count: number): void {
  for (let i = 0; i < count; ) if (mutate(root, random) !== undefined) i++;
}

for (const transport of transports) {
  t.test(`edits made while push, receive or both were stopped arrive, ${transport}`, async t => {
    const seed = Number(process.env.SEED ?? 7);
    t.comment(`seed ${seed}`);
    const random = seededRandom(seed);
    const pair = new LivePair({ folder: makeDiskFolder(t), transport });
    t.teardown(() => pair.kill());
    fillTree(pair.source, random, 40);
    await pair.start();
    await pair.equal();

    t.equal((await pair.push?.stop())?.code, 0, 'push ends in good order');
    mutateMany(pair.source, random, 60);
    pair.startPush();
    t.ok((await pair.equal()) >= 0, 'edits made while push was stopped');

    // Over ssh the receiver ends with the push.
    if (transport === 'tcp') {
      t.equal((await pair.receive?.stop())?.code, 0, 'receive ends in good order');
      await pair.push?.line(/trying again in/);
      mutateMany(pair.source, random, 60);
      await pair.startReceive();
      t.ok((await pair.equal(30_000)) >= 0, 'edits made while receive was stopped');
    }

    const stopped = await pair.stop();
    t.strictSame(
      stopped.map(exit => exit?.code ?? 0),
      [0, 0],
    );
    mutateMany(pair.source, random, 60);
    await pair.start();
    t.ok((await pair.equal()) >= 0, 'edits made while both were stopped');
    t.equal((await pair.stop())[0]?.code, 0);
  });

  t.test(`a stopped push has finished the commit under way, ${transport}`, async t => {
    const pair = new LivePair({ folder: makeDiskFolder(t), transport });
    t.teardown(() => pair.kill());
    createTree(pair.source, { a: 'one', b: hardLink('a') });
    await pair.start();
    await pair.equal();
    for (let round = 0; round < 5; round++) {
      fs.writeFileSync(join(pair.source, 'a'), `round ${round}`);
      await pair.equal();
      t.equal((await pair.push?.stop())?.code, 0);
      const push = pair.startPush();
      await push.line(/connected to/);
      t.notOk(
        push.lines.some(line => /comparing with/.test(line)),
        'nothing is in doubt afterwards',
      );
    }
  });
}

/** Times and inodes of everything below `root`, to the nanosecond. */
function traces(root: string): Map<string, string> {
  const found = new Map<string, string>();
  const top = Buffer.from(root);
  const visit = (path: Buffer, isTop: boolean): void => {
    const { ino, mtimeNs, ctimeNs, mode } = fs.lstatSync(path, { bigint: true });
    found.set(path.toString('latin1'), `${ino} ${mode} ${mtimeNs} ${ctimeNs}`);
    if ((mode & 0o170000n) !== 0o040000n) return;
    for (const name of fs.readdirSync(path, { encoding: 'latin1' })) {
      if (isTop && name === '.replica') continue;
      visit(Buffer.concat([path, Buffer.from(`/${name}`, 'latin1')]), false);
    }
  };
  visit(top, true);
  return found;
}

const links = [
  { name: 'over TLS', args: [] },
  { name: 'in plaintext', args: ['--insecure'] },
];

for (const { name, args } of links) {
  t.test(`a second pass without a change does and moves nothing, ${name}`, async t => {
    const random = seededRandom(3);
    const folder = makeDiskFolder(t);
    const pair = new LivePair({ folder, pushArgs: args, receiveArgs: args });
    t.teardown(() => pair.kill());
    fillTree(pair.source, random, 120);
    await pair.startReceive();
    const relay = await Relay.open({ targetPort: pair.port });
    t.teardown(() => relay.close());
    const once = () =>
      pair.home.pushOnce(pair.source, `127.0.0.1:${relay.port}`, [
        ...args,
        '--key-file',
        join(pair.home.folder, 'config', 'replica', 'receiver.key'),
      ]);
    const first = await once();
    t.equal(first.code, 0, 'the first pass ends equal');
    t.strictSame(pair.differences(), []);

    const before = traces(pair.target);
    const movedBefore = relay.bytesUp + relay.bytesDown;
    const second = await once();
    t.equal(second.code, 0, 'the second pass ends equal');
    t.notOk(
      second.lines.some(line => /commit \d+/.test(line)),
      'no operation',
    );
    const moved = relay.bytesUp + relay.bytesDown - movedBefore;
    t.comment(`${moved} bytes`);
    t.ok(moved < 10_000, `${moved} bytes moved`);
    t.strictSame([...traces(pair.target)], [...before], 'no time at the destination moved');
  });
}

for (const transport of transports) {
  t.test(`an idle push sends no operation, ${transport}`, async t => {
    const pair = new LivePair({ folder: makeDiskFolder(t), transport });
    t.teardown(() => pair.kill());
    fillTree(pair.source, seededRandom(5), 60);
    await pair.start();
    await pair.push?.line(/in sync/);
    const before = traces(pair.target);
    const from = pair.push?.lines.length ?? 0;
    // Past the second look, which reads everything once more.
    await new Promise(resolve => setTimeout(resolve, 3500));
    t.strictSame(pair.push?.lines.slice(from), [], 'nothing said');
    t.strictSame([...traces(pair.target)], [...before]);
  });
}
