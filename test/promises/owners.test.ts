// --owner and --group: what rsync -a keeps as root, refused where it cannot be kept.
import fs from 'node:fs';
import { join } from 'node:path';
import { isPrivileged, makeDiskFolder } from '../support/folders.ts';
import { inTurn } from '../support/in-turn.ts';
import { LocalPasses, ways } from '../support/local-pass.ts';
import { compareByRsync } from '../support/rsync.ts';
import { createTree, directory, file, hardLink, link } from '../support/tree.ts';

/** In place of t.test. */
const each = inTurn(ways);

const isRoot = { skip: !isPrivileged && 'files can be given away by root only' };

function startTree(passes: LocalPasses): void {
  createTree(passes.source, {
    'run.sh': file('#!/bin/sh', { mode: 0o4755 }),
    folder: directory({ inside: 'x', deep: { er: 'y' } }, { mode: 0o2750 }),
    'a link': link('run.sh'),
    second: hardLink('run.sh'),
    ours: 'z',
  });
  give(passes, { '': [9, 10], 'run.sh': [1, 2], folder: [3, 4], 'folder/inside': [5, 6] });
  give(passes, { 'folder/deep': [70_000, 70_001], 'a link': [7, 8] });
  // Another owner clears them.
  fs.chmodSync(passes.at('run.sh'), 0o4755);
}

function give(passes: LocalPasses, owners: Record<string, readonly [number, number]>): void {
  for (const [path, [uid, gid]] of Object.entries(owners)) fs.lchownSync(passes.at(path), uid, gid);
}

const numbers = ['--numeric-ids'];

each('users and groups are kept, of all kinds of entries', isRoot, async (t, way) => {
  const passes = new LocalPasses(makeDiskFolder(t), way);
  startTree(passes);
  const flags = ['--owner', '--group', '--special-bits'];
  t.equal((await passes.pass(...flags)).code, 0);
  t.strictSame(await compareByRsync(passes.source, passes.target, numbers), []);
  t.equal((await passes.pass(...flags)).operations, 0, 'once more');

  give(passes, { 'run.sh': [11, 2], folder: [3, 12], 'a link': [13, 14], '': [15, 16] });
  fs.chmodSync(passes.at('run.sh'), 0o4755);
  const given = await passes.pass(...flags);
  t.equal(given.bytesSent, 0, 'owners alone send no content');
  t.strictSame(await compareByRsync(passes.source, passes.target, numbers), []);

  fs.renameSync(passes.at('folder/inside'), passes.at('moved'));
  fs.appendFileSync(passes.at('folder/deep/er'), ' and more');
  // rsync compares nanoseconds.
  for (const path of ['folder/deep/er', 'folder', '']) fs.utimesSync(passes.at(path), 1e9, 1e9);
  give(passes, { moved: [17, 18], 'folder/deep/er': [19, 20], ours: [0, 0], 'run.sh': [0, 0] });
  t.equal((await passes.pass(...flags)).code, 0);
  t.strictSame(await compareByRsync(passes.source, passes.target, numbers), []);

  const verify = ['verify', passes.source, passes.target, '--special-bits'];
  fs.lchownSync(join(passes.target, 'moved'), 1, 1);
  t.equal((await passes.home.run(verify).exit).code, 23, 'the receiver knows whose it was');
  const repaired = await passes.home.run([...verify, '-o', '-g', '--repair']).exit;
  t.equal(repaired.code, 0);
  t.strictSame(await compareByRsync(passes.source, passes.target, numbers), []);

  give(passes, { moved: [17, 23] });
  const codes: Record<string, number | null> = {};
  for (const flags of [['--group'], ['--owner'], []]) {
    codes[flags.join()] = (await passes.home.run([...verify, ...flags]).exit).code;
  }
  t.strictSame(codes, { '--group': 23, '--owner': 0, '': 0 }, 'only what is kept is compared');
});

each('of two only the one that was asked for, and none without', isRoot, async (t, way) => {
  const passes = new LocalPasses(makeDiskFolder(t), way);
  startTree(passes);
  const owners = (): string[] =>
    ['run.sh', 'folder', 'a link'].map(name => {
      const { uid, gid } = fs.lstatSync(join(passes.target, name));
      return `${uid}:${gid}`;
    });
  t.equal((await passes.pass()).code, 0);
  t.strictSame(owners(), ['0:0', '0:0', '0:0'], 'neither');
  t.equal((await passes.pass('-g', '--numeric-ids')).code, 0);
  t.strictSame(owners(), ['0:2', '0:4', '0:8'], 'groups');
  t.equal((await passes.pass('-o', '--numeric-ids')).code, 0);
  t.strictSame(owners(), ['1:2', '3:4', '7:8'], 'users; the groups are left as they were');
  give(passes, { 'run.sh': [21, 22] });
  t.equal((await passes.pass()).code, 0);
  t.strictSame(owners(), ['1:2', '3:4', '7:8'], 'neither, once more');
  t.match(fs.readFileSync(join(passes.target, 'run.sh'), 'utf8'), '#!/bin/sh');
});

each('who cannot give files away says so', { skip: isPrivileged && 'root can' }, async (t, way) => {
  const passes = new LocalPasses(makeDiskFolder(t), way);
  createTree(passes.source, { a: 'a' });
  for (const flag of ['--owner', '--group']) {
    const { code, lines } = await passes.pass(flag);
    t.equal(code, 1, flag);
    const [line = '', ...others] = lines.filter(text => text.includes('cannot set owners'));
    t.match(line, `${flag}: the receiver cannot set owners: run it as root, or leave ${flag} out`);
    t.strictSame(others, [], 'one line');
    t.strictSame(passes.there(), [], 'nothing was sent');
  }
});
