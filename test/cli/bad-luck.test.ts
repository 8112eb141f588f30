// What goes wrong around the command, one row each: said clearly, waited out or mended by itself.
import {
  appendFileSync,
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { command, hasFuse, isRoot, mountFuse, mountTmpfs } from '../support/mounts.ts';
import { compareIndependently } from '../support/rsync.ts';
import { place, receiving, refused, run, start } from '../support/stage.ts';

t.test(
  'an unreadable file: named, the others flow, 23',
  { skip: isRoot && 'root reads all' },
  async t => {
    const home = place(t);
    chmodSync(join(home, 'src/a.txt'), 0o000);
    const result = await run(home, 'push', 'src', './dst', '--once');
    t.equal(result.code, 23);
    t.match(result.stderr, /a\.txt: .*EACCES/);
    t.equal(readFileSync(join(home, 'dst/sub/b.txt'), 'utf8'), 'second');
    chmodSync(join(home, 'src/a.txt'), 0o644);
    t.equal((await run(home, 'push', 'src', './dst', '--once')).code, 0);
    t.equal(readFileSync(join(home, 'dst/a.txt'), 'utf8'), 'first');
  },
);

t.test(
  'a read-only destination: waits, says so, catches up',
  { skip: !isRoot && 'root mounts' },
  async t => {
    const home = place(t);
    const target = mountTmpfs(t, '8m');
    // An open database on it would keep the file system from becoming read-only.
    const address = await receiving(t, home, target, '--state', 'receiver-state');
    const push = start(t, home, 'push', 'src', address);
    await push.until(one => one.stderr.includes('in sync'));
    command('mount', '-o', 'remount,ro', target);
    writeFileSync(join(home, 'src/new'), 'x');
    await push.until(one => /EROFS|read-only/i.test(one.stderr));
    t.notOk(existsSync(join(target, 'new')));
    command('mount', '-o', 'remount,rw', target);
    await push.until(() => existsSync(join(target, 'new')));
  },
);

t.test(
  'a full destination: waits, says so, catches up',
  { skip: !isRoot && 'root mounts' },
  async t => {
    const home = place(t);
    const target = mountTmpfs(t, '8m');
    const address = await receiving(t, home, target);
    const push = start(t, home, 'push', 'src', address);
    await push.until(one => one.stderr.includes('in sync'));
    writeFileSync(join(target, 'ballast'), Buffer.alloc(5_000_000, 'x'));
    writeFileSync(
      join(home, 'src/big'),
      Buffer.alloc(4_500_000).map((_, i) => (i * i) >> 5),
    );
    await push.until(one => /ENOSPC|no space|full/i.test(one.stderr));
    writeFileSync(join(target, 'ballast'), '');
    rmSync(join(target, 'ballast'));
    await push.until(() => existsSync(join(target, 'big')));
  },
);

t.test('a damaged state file of the sender: rebuilt, nothing deleted', async t => {
  const home = place(t);
  t.equal((await run(home, 'push', 'src', './dst', '--once')).code, 0);
  for (const damage of [garble, cut]) {
    damageFiles(join(home, '.local/state/replica'), damage);
    const result = await run(home, 'push', 'src', './dst', '--once');
    t.equal(result.code, 0, result.stderr);
    t.same(await compareIndependently(join(home, 'src'), join(home, 'dst')), []);
  }
});

t.test('a damaged state file of the receiver: rebuilt, nothing deleted', async t => {
  const home = place(t);
  t.equal((await run(home, 'push', 'src', './dst', '--once')).code, 0);
  for (const damage of [garble, cut]) {
    damageFiles(join(home, 'dst/.replica'), damage);
    const result = await run(home, 'push', 'src', './dst', '--once');
    t.equal(result.code, 0, result.stderr);
    t.same(await compareIndependently(join(home, 'src'), join(home, 'dst')), []);
  }
});

t.test(
  'state on a network file system',
  { skip: !hasFuse() && 'needs root and fuse2fs' },
  async t => {
    const home = place(t);
    const { folder: target } = await mountFuse(t);
    const result = await run(home, 'receive', target, '--port', '0');
    refused(t, result, 3, /network file system.*--state/);
    const address = await receiving(t, home, target, '--state', 'receiver-state');
    t.equal((await run(home, 'push', 'src', address, '--once')).code, 0);
    t.equal(readFileSync(join(target, 'a.txt'), 'utf8'), 'first');
  },
);

/** Every regular file below `folder` that LMDB may have made. */
function damageFiles(folder: string, damage: (path: string) => void): void {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  const files = names.filter(name => /\.mdb$/.test(name) && !/lock/.test(name));
  if (files.length === 0) throw new Error(`no store among ${names}`);
  for (const name of files) damage(join(folder, name));
}

function garble(path: string): void {
  const size = readFileSync(path).length;
  writeFileSync(path, Buffer.alloc(size, 'rubbish '));
}

function cut(path: string): void {
  truncateSync(path, 5000);
  appendFileSync(path, 'x');
}
