// What someone does to the destination behind the receiver's back: the source wins, and what was
// there is kept and reported.
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Transport, transports } from '../support/fake-ssh.ts';
import { LivePair } from '../support/live-pair.ts';
import { waitUntil } from '../support/programs.ts';

/** A pair in sync with files of known content. */
async function open(t: Test, transport: Transport = 'tcp'): Promise<LivePair> {
  const pair = new LivePair({ folder: t.testdir(), transport });
  fs.mkdirSync(join(pair.source, 'dir/sub'), { recursive: true });
  for (const name of ['a', 'b', 'c', 'dir/d', 'dir/e', 'dir/sub/f']) {
    fs.writeFileSync(join(pair.source, name), `${name} of the source`);
  }
  t.teardown(async () => {
    await pair.push?.stop('SIGKILL');
    await pair.receive?.stop('SIGKILL');
  });
  await pair.start();
  await pair.push?.line(/in sync/);
  return pair;
}

/** The contents of all files in kept content. */
function keptContents({ target }: LivePair): string[] {
  const kept = join(target, '.replica/kept');
  return fs
    .readdirSync(kept, { recursive: true, encoding: 'utf8' })
    .map(name => join(kept, name))
    .filter(path => fs.lstatSync(path).isFile())
    .map(path => fs.readFileSync(path, 'utf8'));
}

/** What someone changes, while the source changes the same names, so that the receiver looks. */
function meddle({ target }: LivePair): void {
  fs.writeFileSync(join(target, 'a'), 'a of someone');
  fs.rmSync(join(target, 'b'));
  fs.rmSync(join(target, 'c'));
  fs.mkdirSync(join(target, 'c'));
  fs.writeFileSync(join(target, 'c/inside'), 'inside, of someone');
  fs.appendFileSync(join(target, 'dir/d'), ' and of someone');
  fs.writeFileSync(join(target, 'new'), 'new of someone');
  fs.rmSync(join(target, 'dir/sub'), { recursive: true });
}

function touchSource({ source }: LivePair): void {
  for (const name of ['a', 'b', 'c', 'dir/d', 'new', 'dir/sub/f']) {
    fs.writeFileSync(join(source, name), `${name} of the source, again`);
  }
}

const meddled = ['a of someone', 'inside, of someone', 'dir/d of the source and of someone'];

async function rightAgain(t: Test, pair: LivePair, keeps: readonly string[]): Promise<void> {
  await pair.equal(30_000); // The source wins.
  const kept = keptContents(pair);
  for (const content of keeps) t.ok(kept.includes(content), `kept: ${content}`);
  // What a receiver says that ssh started is passed on by the push.
  const all = () => pair.receive?.lines ?? pair.push?.lines ?? [];
  const lines = () => all().filter(line => /"path":".*"msg":"(ssh:.*: )?drift"/.test(line));
  // What is said comes through a pipe, after what is done.
  await waitUntil(() => lines().length >= keeps.length, 'a line for each');
  t.pass(`${lines().length} lines of drift`);
}

for (const transport of transports) {
  t.test(
    `the source wins over changes behind the back of a running receiver, ${transport}`,
    async t => {
      const pair = await open(t, transport);
      meddle(pair);
      touchSource(pair);
      await rightAgain(t, pair, [...meddled, 'new of someone']);
    },
  );

  t.test(`the source wins over changes made while nothing ran, ${transport}`, async t => {
    const pair = await open(t, transport);
    await pair.push?.stop();
    await pair.receive?.stop();
    meddle(pair);
    touchSource(pair);
    await pair.start();
    await rightAgain(t, pair, [...meddled, 'new of someone']);
  });

  t.test(`a delete does not take what someone changed, ${transport}`, async t => {
    const pair = await open(t, transport);
    fs.writeFileSync(join(pair.target, 'a'), 'a of someone');
    fs.writeFileSync(join(pair.target, 'dir/new'), 'new of someone');
    fs.rmSync(join(pair.source, 'a'));
    fs.rmSync(join(pair.source, 'dir'), { recursive: true });
    await rightAgain(t, pair, ['a of someone', 'new of someone'].slice(0, 1));
    t.ok(keptContents(pair).includes('new of someone'), 'kept with its directory');
  });
}

t.test('what nobody changes at the source is put right too', async t => {
  const pair = await open(t);
  // Its own sweep begins as it starts, and comes again every minute.
  await pair.receive?.stop();
  meddle(pair);
  await pair.startReceive();
  await rightAgain(t, pair, [...meddled, 'new of someone']);
});
