// P6: whoever swaps directories of the destination for links does not get the receiver to touch
// what they lead to.
import { once } from 'node:events';
import fs from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { type Transport, transports } from '../support/fake-ssh.ts';
import { forkModule } from '../support/folders.ts';
import { inTurn } from '../support/in-turn.ts';
import { LivePair } from '../support/live-pair.ts';
import { compareReadTrees, readTree } from '../support/tree.ts';

interface Scene {
  readonly pair: LivePair;
  readonly source: string;
  readonly target: string;
  readonly outside: string;
}

/** In place of t.test. */
const each = inTurn(transports);

const names = ['a', 'b', 'c', 'd', 'e'];

/** Both sides running and in sync; outside there are files of the same names. */
async function open(t: Test, transport: Transport): Promise<Scene> {
  const folder = t.testdir();
  const pair = new LivePair({ folder, transport, pushArgs: ['--interval', '50'] });
  const { source, target } = pair;
  const outside = join(folder, 'outside');
  fs.mkdirSync(join(source, 'dir/sub'), { recursive: true });
  fs.mkdirSync(target);
  fs.mkdirSync(join(outside, 'sub'), { recursive: true });
  for (const name of names) {
    fs.writeFileSync(join(source, 'dir', name), `${name} of the source`);
    fs.writeFileSync(join(source, 'dir/sub', name), `${name} of the source, below`);
    fs.writeFileSync(join(outside, name), `precious ${name}`, { mode: 0o600 });
    fs.writeFileSync(join(outside, 'sub', name), `precious ${name} below`, { mode: 0o600 });
  }
  t.teardown(() => pair.kill());
  await pair.start();
  await pair.push?.line(/in sync/);
  return { pair, source, target, outside };
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
async function settle({ pair, source }: Scene): Promise<void> {
  // The receiver's own look at what nobody changes since comes later than this test waits.
  fs.writeFileSync(join(source, 'last'), 'last');
  fs.writeFileSync(join(source, 'dir/last'), 'last');
  fs.utimesSync(source, 1e9, 1e9);
  await pair.equal(30_000);
}

each('a directory that became a link is not followed', async (t, transport) => {
  const scene = await open(t, transport);
  const { pair, source, target, outside } = scene;
  const before = readTree(outside);
  fs.renameSync(join(target, 'dir'), join(target, '../stolen'));
  fs.symlinkSync(outside, join(target, 'dir'));
  change(source, 1);
  await settle(scene);
  t.strictSame(compareReadTrees(before, readTree(outside)), [], 'nothing happened outside');
  // What a receiver says that ssh started is passed on by the push.
  await (pair.receive ?? pair.push)?.line(/"msg":"(ssh:.*: )?drift"/);
  t.ok(fs.lstatSync(join(target, 'dir')).isDirectory(), 'the directory is one again');
});

each('a file that became a link is replaced, not written through', async (t, transport) => {
  const scene = await open(t, transport);
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

each('a tight race of swaps leads nowhere', async (t, transport) => {
  const scene = await open(t, transport);
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
