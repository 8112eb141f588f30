// One live sender per replica, one source per replica, and nothing taken over unasked.
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Transport, transports } from '../support/fake-ssh.ts';
import { inTurn } from '../support/in-turn.ts';
import { LivePair } from '../support/live-pair.ts';
import { waitUntil } from '../support/programs.ts';
import { compareTrees } from '../support/tree.ts';

const each = inTurn(transports);

async function open(t: Test, transport: Transport = 'tcp'): Promise<LivePair> {
  const pair = new LivePair({ folder: t.testdir(), transport });
  fs.writeFileSync(join(pair.source, 'a'), 'a');
  t.teardown(async () => {
    await pair.push?.stop('SIGKILL');
    await pair.receive?.stop('SIGKILL');
  });
  await pair.start();
  await pair.push?.line(/in sync/);
  return pair;
}

for (const state of ['its own state', 'the same state'] as const) {
  t.test(`a second push of the same source, with ${state}, fences the first`, async t => {
    const pair = await open(t);
    const first = pair.push;
    if (!first) throw new Error('started above');
    const extra = state === 'the same state' ? [] : ['--state', join(pair.source, '../state2')];
    const second = pair.startPush(extra);
    const { code } = await first.exit;
    t.equal(code, 12, 'the first ends with 12');
    const lines = first.lines.filter(line => line !== '' && !line.startsWith('{'));
    t.equal(lines.length, 1, lines.join('\n'));
    t.match(lines[0], /^replica: another push of .* took over/);

    await second.line(/in sync/);
    fs.writeFileSync(join(pair.source, 'b'), 'b');
    await waitUntil(() => fs.existsSync(join(pair.target, 'b')), 'b');
    t.equal(second.exited, undefined, 'the second goes on');
    t.strictSame(compareTrees(pair.source, pair.target), []);
    const connected = pair.receive?.lines.filter(line => /sender connected/.test(line));
    t.equal(connected?.length, 2, 'the first did not come back');
  });
}

// Each push over ssh starts a receiver of its own, and a replica has one at a time.
for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  t.test(`over ssh a second push waits for the first, and for its ${signal}`, async t => {
    const pair = await open(t, 'ssh');
    const first = pair.push;
    const second = pair.startPush(['--state', join(pair.source, '../state2')]);
    await second.line(/another receive.* is running .*trying again/);
    fs.writeFileSync(join(pair.source, 'b'), 'b');
    await waitUntil(() => fs.existsSync(join(pair.target, 'b')), 'b');
    t.equal(first?.exited, undefined, 'the first goes on');
    await first?.stop(signal);
    await second.line(/in sync/, 60_000);
    fs.writeFileSync(join(pair.source, 'c'), 'c');
    await pair.equal();
    t.equal((await pair.push?.stop())?.code, 0);
  });
}

each('another source is refused, and accepted with --take-over', async (t, transport) => {
  const pair = await open(t, transport);
  await pair.push?.stop();
  const other = join(pair.source, '../other');
  fs.mkdirSync(other);
  fs.writeFileSync(join(other, 'c'), 'c');
  const refused = await pair.once([], other);
  t.equal(refused.code, 3);
  const lines = refused.lines.filter(line => line !== '' && !line.startsWith('{'));
  t.equal(lines.length, 1, lines.join('\n'));
  t.match(lines[0], /--take-over/);
  t.strictSame(compareTrees(pair.source, pair.target), [], 'nothing changed');

  const accepted = await pair.once(['--take-over'], other);
  t.equal(accepted.code, 0, accepted.lines.join('\n'));
  t.strictSame(compareTrees(other, pair.target), []);
  const back = await pair.once();
  t.equal(back.code, 3, 'and now the first one is the foreign one');
});

each(
  'a folder with other content is refused, and taken over with --adopt',
  async (t, transport) => {
    const folder = t.testdir({ source: { a: 'a', d: { b: 'b' } } });
    const pair = new LivePair({ folder, transport, receiveArgs: ['--adopt'] });
    t.teardown(async () => {
      await pair.push?.stop('SIGKILL');
      await pair.receive?.stop('SIGKILL');
    });
    fs.mkdirSync(join(pair.target, 'd'), { recursive: true });
    fs.writeFileSync(join(pair.target, 'a'), 'a');
    fs.writeFileSync(join(pair.target, 'd/mine'), 'mine');
    fs.writeFileSync(join(pair.target, 'd/b'), 'other b');

    const plain = pair.home.run(['receive', pair.target, '--host', '127.0.0.1', '--port', '0']);
    t.equal((await plain.exit).code, 3);
    t.match(plain.lines.join('\n'), /not empty.*--adopt/);
    t.notOk(fs.existsSync(join(pair.target, '.replica')), 'a refusal leaves nothing');

    await pair.start();
    await pair.push?.line(/in sync/);
    t.test('becomes the source, and what it had is kept', async t => {
      t.strictSame(compareTrees(pair.source, pair.target), []);
      const kept = join(pair.target, '.replica/kept');
      const contents = fs
        .readdirSync(kept, { recursive: true, encoding: 'utf8' })
        .filter(name => fs.lstatSync(join(kept, name)).isFile())
        .map(name => fs.readFileSync(join(kept, name), 'utf8'));
      t.ok(contents.includes('mine'), 'kept: what the source lacks');
      t.ok(contents.includes('other b'), 'kept: what the source has otherwise');
    });
  },
);
