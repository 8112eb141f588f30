// P1 beyond content: modes, times, links, link groups, holes, and what is left out on purpose.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { makeDiskFolder } from '../support/folders.ts';
import { inTurn } from '../support/in-turn.ts';
import { LivePair } from '../support/live-pair.ts';
import { LocalPasses, ways } from '../support/local-pass.ts';
import { compareByRsync, compareIndependently } from '../support/rsync.ts';
import { ownShare } from '../support/seeds.ts';
import { createTree, directory, file, hardLink, link, pipe } from '../support/tree.ts';

/** In place of t.test. */
const each = inTurn(ways);

each('modes, times, links, empty directories and link groups are equal', async (t, way) => {
  const passes = new LocalPasses(makeDiskFolder(t), way);
  createTree(passes.source, {
    'private.key': file('k', { mode: 0o600 }),
    'read-only': file('r', { mode: 0o444 }),
    'run.sh': file('#!/bin/sh', { mode: 0o755 }),
    old: file('before 1970', { mtimeNs: -86_400_000_123_000n }),
    future: file('2100', { mtimeNs: 4_102_444_800_654_321_000n }),
    micro: file('µs', { mtimeNs: 1_700_000_000_000_001_000n }),
    empty: directory({}, { mode: 0o700, mtimeNs: 1_500_000_000_999_999_000n }),
    locked: directory({ inside: 'x' }, { mode: 0o555, mtimeNs: 1_400_000_000_000_007_000n }),
    'a link': link('no where', { mtimeNs: 1_300_000_000_000_003_000n }),
    absolute: link('/etc/hostname'),
    first: 'shared',
    below: { second: hardLink('first'), other: 'o' },
    third: hardLink('first'),
  });
  t.equal((await passes.pass()).code, 0);
  t.strictSame(await compareIndependently(passes.source, passes.target), []);

  fs.chmodSync(passes.at('run.sh'), 0o700);
  fs.chmodSync(passes.at('locked'), 0o755);
  fs.utimesSync(passes.at('below', 'second'), 1e9, 1_234_567_890.25);
  fs.utimesSync(passes.at('empty'), 1e9, 1_234_567_891.5);
  fs.rmSync(passes.at('a link'));
  fs.symlinkSync('elsewhere', passes.at('a link'));
  fs.lutimesSync(passes.at('a link'), 1e9, 1_234_567_892.125);
  fs.utimesSync(passes.source, 1e9, 1_234_567_893);
  const { code, bytesSent } = await passes.pass();
  t.equal(code, 0);
  t.equal(bytesSent, 0, 'attributes alone send no content');
  t.strictSame(await compareIndependently(passes.source, passes.target), []);
});

each('--chmod makes of modes what rsync makes of them', async (t, way) => {
  const passes = new LocalPasses(makeDiskFolder(t), way);
  createTree(passes.source, {
    'private.key': file('k', { mode: 0o600 }),
    'run.sh': file('#!/bin/sh', { mode: 0o750 }),
    folder: directory({ inside: file('x', { mode: 0o664 }) }, { mode: 0o700 }),
    'a link': link('run.sh'),
  });
  fs.chmodSync(passes.source, 0o700);
  for (const how of ownShare(['D755,F644', 'u=rwX,go='])) {
    const { code } = await passes.pass('--chmod', how);
    t.equal(code, 0, how);
    // The archive mode of the comparison: rsync would change nothing any more.
    const left = await compareByRsync(passes.source, passes.target, [`--chmod=${how}`]);
    t.strictSame(left, [], how);
    t.equal((await passes.pass('--chmod', how)).operations, 0, `${how} once more`);
    const verify = ['verify', passes.source, passes.target, '--chmod', how];
    const verified = await passes.home.run(verify).exit;
    t.equal(verified.code, 0, `${how}: verify agrees`);
  }
  t.equal((await passes.pass()).code, 0);
  t.strictSame(await compareIndependently(passes.source, passes.target), [], 'and without it');
  const refused = await passes.pass('--chmod', 'F64');
  t.equal(refused.code, 1);
  t.match(refused.lines.at(-1), /--chmod: 'F64' is no change of modes/);
});

each('all names of a file follow its content, and no others', async (t, way) => {
  const transport = way === 'ssh' ? 'ssh' : 'tcp';
  const pair = new LivePair({ folder: makeDiskFolder(t), transport });
  t.teardown(() => pair.kill());
  const at = (name: string): string => join(pair.source, name);
  createTree(pair.source, { a: 'one', d: { b: hardLink('a') }, c: hardLink('a'), alone: 'one' });
  await pair.start();
  await pair.equal();
  const changes: Readonly<Record<string, () => void>> = {
    'an edit by one name': () => fs.writeFileSync(at('d/b'), 'two'),
    'an edit by another name': () => fs.appendFileSync(at('c'), ' and three'),
    'only a touch': () => fs.utimesSync(at('a'), 1e9, 1_234_567_890),
    'only a mode': () => fs.chmodSync(at('c'), 0o600),
    'one more name': () => fs.linkSync(at('c'), at('d/e')),
    'an edit and one more name': () => {
      fs.writeFileSync(at('a'), 'four');
      fs.linkSync(at('a'), at('f'));
    },
    'one name saved by rename': () => {
      fs.writeFileSync(at('c~'), 'on its own now');
      fs.renameSync(at('c~'), at('c'));
    },
    'an edit, and a name renamed': () => {
      fs.writeFileSync(at('a'), 'five');
      fs.renameSync(at('d/b'), at('d/z'));
    },
    'all names but one removed': () => {
      for (const name of ['a', 'd/e', 'f']) fs.rmSync(at(name));
    },
  };
  for (const [what, change] of Object.entries(changes)) {
    change();
    await pair.equal();
    t.pass(what);
  }
  await pair.push?.stop();
  const again = await pair.once();
  t.equal(again.code, 0);
  t.notOk(
    [...(pair.push?.lines ?? []), ...again.lines].some(line => /comparing with/.test(line)),
    'both sides agreed all the time',
  );
});

each('holes stay holes', async (t, way) => {
  const passes = new LocalPasses(makeDiskFolder(t), way);
  const hole = 24 * 1024 * 1024;
  createTree(passes.source, {
    sparse: file(['begin', hole, 'middle', hole, 'end']),
    ending: file(['data', hole]),
    zeroes: file([hole]),
  });
  const blocks = (root: string, name: string): number => fs.statSync(join(root, name)).blocks;
  if (blocks(passes.source, 'sparse') * 512 > hole) {
    t.pass('this file system has no holes');
    return;
  }
  const { code, bytesSent } = await passes.pass();
  t.equal(code, 0);
  t.ok(bytesSent < 1_000_000, `${bytesSent} bytes sent`);
  for (const name of ['sparse', 'ending', 'zeroes']) {
    const kilobytes = blocks(passes.target, name) / 2;
    t.ok(kilobytes < 512, `${name} takes ${kilobytes} kB of ${hole / 1024}`);
  }
  t.strictSame(passes.differences(), []);
});

each('sockets and pipes are skipped and counted', async (t, way) => {
  const passes = new LocalPasses(makeDiskFolder(t), way);
  createTree(passes.source, { file: 'x', folder: { queue: pipe() } });
  const server = net.createServer();
  // A path for a socket is short; the folder may be deep.
  const cwd = process.cwd();
  process.chdir(passes.source);
  await new Promise<void>(resolve => server.listen('socket', resolve));
  process.chdir(cwd);
  t.teardown(() => server.close());
  const { code, lines } = await passes.pass();
  t.equal(code, 0);
  t.ok(
    lines.some(line => /skipped 2 sockets, pipes and devices/.test(line)),
    'two are counted',
  );
  t.strictSame(passes.there().sort(), ['file', 'folder']);
  t.strictSame(passes.there('folder'), []);

  fs.rmSync(passes.at('file'));
  spawnSync('mkfifo', [passes.at('file')]);
  await passes.pass();
  t.strictSame(passes.there(), ['folder'], 'what became a pipe goes');
});

each('setuid, setgid and sticky bits need a flag', async (t, way) => {
  const folder = makeDiskFolder(t);
  const passes = new LocalPasses(folder, way);
  createTree(passes.source, {
    tool: file('x', { mode: 0o4755 }),
    shared: directory({ y: 'y' }, { mode: 0o1777 }),
  });
  const modes = (): string[] =>
    ['tool', 'shared'].map(name => fs.statSync(join(passes.target, name)).mode.toString(8));
  t.equal((await passes.pass()).code, 0);
  t.strictSame(modes(), ['100755', '40777'], 'without');
  const special = join(folder, 'special');
  const { code } = await passes.home.pushOnce(passes.source, special, ['--special-bits']);
  t.equal(code, 0);
  t.equal(fs.statSync(join(special, 'tool')).mode.toString(8), '104755', 'with');
  t.equal(fs.statSync(join(special, 'shared')).mode.toString(8), '41777', 'with');
});
