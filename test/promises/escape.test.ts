// P6: whoever swaps directories of the destination for links does not get the receiver to touch
// what they lead to.
import { once } from 'node:events';
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { forkModule } from '../support/folders.ts';
import { untilEqual } from '../support/live-pair.ts';
import { Home, type Program } from '../support/programs.ts';
import { compareReadTrees, readTree } from '../support/tree.ts';

interface Scene {
  readonly source: string;
  readonly target: string;
  readonly outside: string;
  readonly receive: Program;
  readonly push: Program;
}

const names = ['a', 'b', 'c', 'd', 'e'];

/** Both sides running and in sync; outside there are files of the same names. */
async function open(t: Test): Promise<Scene> {
  const folder = t.testdir();
  const [source, target, outside] = ['source', 'target', 'outside'].map(name => join(folder, name));
  if (!source || !target || !outside) throw new Error('three folders');
  fs.mkdirSync(join(source, 'dir/sub'), { recursive: true });
  fs.mkdirSync(target);
  fs.mkdirSync(join(outside, 'sub'), { recursive: true });
  for (const name of names) {
    fs.writeFileSync(join(source, 'dir', name), `${name} of the source`);
    fs.writeFileSync(join(source, 'dir/sub', name), `${name} of the source, below`);
    fs.writeFileSync(join(outside, name), `precious ${name}`, { mode: 0o600 });
    fs.writeFileSync(join(outside, 'sub', name), `precious ${name} below`, { mode: 0o600 });
  }
  const home = new Home(join(folder, 'home'));
  const { program: receive, port } = await home.receive(target);
  const push = home.push(source, `127.0.0.1:${port}`, ['--interval', '50']);
  t.teardown(async () => {
    await push.stop('SIGKILL');
    await receive.stop('SIGKILL');
  });
  await push.line(/in sync/);
  return { source, target, outside, receive, push };
}

/** A change of everything a receiver does with files and folders. */
function change(source: string, i: number): void {
  const dir = join(source, 'dir');
  const name = names[i % names.length] ?? 'a';
  fs.writeFileSync(join(dir, name), `version ${i}`);
  fs.writeFileSync(join(dir, 'sub', name), `version ${i}`);
  fs.chmodSync(join(dir, name), i % 2 === 0 ? 0o644 : 0o755);
  fs.writeFileSync(join(dir, `new${i}`), 'new');
  fs.rmSync(join(dir, `new${i - 3}`), { force: true });
  fs.mkdirSync(join(dir, `folder${i}`));
  fs.rmSync(join(dir, `folder${i - 3}`), { recursive: true, force: true });
  fs.symlinkSync('a', join(dir, `link${i}`));
  fs.utimesSync(dir, i, i);
  fs.renameSync(join(dir, 'sub'), join(dir, 'moved'));
  fs.renameSync(join(dir, 'moved'), join(dir, 'sub'));
}

/** Resolves once the trees are equal; throws with the differences. */
async function settle({ source, target, push }: Scene): Promise<void> {
  // The receiver's own look at what nobody changes since comes later than this test waits.
  fs.writeFileSync(join(source, 'last'), 'last');
  fs.writeFileSync(join(source, 'dir/last'), 'last');
  fs.utimesSync(source, 1e9, 1e9);
  await untilEqual(source, target, 30_000, () => push.lines.slice(-5));
}

t.test('a directory that became a link is not followed', async t => {
  const scene = await open(t);
  const { source, target, outside, receive } = scene;
  const before = readTree(outside);
  fs.renameSync(join(target, 'dir'), join(target, '../stolen'));
  fs.symlinkSync(outside, join(target, 'dir'));
  change(source, 1);
  await settle(scene);
  t.strictSame(compareReadTrees(before, readTree(outside)), [], 'nothing happened outside');
  await receive.line(/"msg":"drift"/);
  t.ok(fs.lstatSync(join(target, 'dir')).isDirectory(), 'the directory is one again');
});

t.test('a file that became a link is replaced, not written through', async t => {
  const scene = await open(t);
  const { source, target, outside } = scene;
  const before = readTree(outside);
  for (const name of names) {
    fs.rmSync(join(target, 'dir', name));
    fs.symlinkSync(join(outside, name), join(target, 'dir', name));
  }
  for (const name of names) fs.appendFileSync(join(source, 'dir', name), ' and more');
  fs.chmodSync(join(source, 'dir/a'), 0o666);
  await settle(scene);
  t.strictSame(compareReadTrees(before, readTree(outside)), [], 'nothing happened outside');
});

t.test('a tight race of swaps leads nowhere', async t => {
  const scene = await open(t);
  const { source, target, outside } = scene;
  const before = readTree(outside);
  const url = new URL('../support/swapper-process.js', import.meta.url);
  const attacker = forkModule(url, [target, 'dir', outside]);
  t.teardown(() => attacker.kill('SIGKILL'));
  await once(attacker, 'message');
  for (let i = 3; i < 150; i++) {
    change(source, i);
    await new Promise(resolve => setTimeout(resolve, 50));
  }
  const answer = once(attacker, 'message');
  attacker.send('stop');
  const [{ swaps }] = (await answer) as [{ swaps: number }]; // What swapper-process.ts sends.
  t.comment(`${swaps} swaps`);
  t.ok(swaps > 100, 'there was a race');
  t.strictSame(compareReadTrees(before, readTree(outside)), [], 'nothing happened outside');
  await settle(scene);
  t.strictSame(compareReadTrees(before, readTree(outside)), [], 'nor afterwards');
});
