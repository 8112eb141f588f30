import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Name, toName } from '../../src/snapshot/name.ts';
import { ConfinedDirectory } from '../../src/tree/confined-directory.ts';
import type { Confinement } from '../../src/tree/directory-place.ts';
import { cutToMicroseconds } from '../../src/tree/times.ts';
import { isPrivileged, onEachFileSystem } from '../support/folders.ts';
import { compareReadTrees, createTree, directory, file, link, readTree } from '../support/tree.ts';

const name = toName;

/** On every file system, with /proc and without. `folder/dst` is the root, `folder` is outside. */
function onEachWay(
  title: string,
  body: (t: Test, opened: { root: ConfinedDirectory; path: string; outside: string }) => void,
): void {
  onEachFileSystem(t, title, async (t, folder) => {
    for (const confinement of ['proc', 'checked'] satisfies Confinement[]) {
      const outside = join(folder, confinement);
      const path = join(outside, 'dst');
      fs.mkdirSync(path, { recursive: true });
      const root = ConfinedDirectory.openRoot(path, { confinement });
      t.equal(root.confinement, confinement);
      body(t, { root, path, outside });
      root.release();
    }
  });
}

/** The mtime; newer versions of Node leave some nanoseconds in it. */
function microseconds(stat: fs.BigIntStats | undefined): bigint | undefined {
  return stat && cutToMicroseconds(stat.mtimeNs);
}

function openFdCount(): number {
  return fs.readdirSync('/proc/self/fd').length;
}

onEachWay('every kind of entry can be made, seen, moved and removed', (t, { root, path }) => {
  root.mkdir(name('d'), 0o755);
  const d = root.sub(name('d'));
  fs.closeSync(d.createExclusive(name('f'), 0o600));
  d.symlink('to/nowhere/\xff', name('l'));
  d.link(name('f'), root, name('second'));
  t.same(d.list().sort(), ['f', 'l']);
  t.equal(d.readlink(name('l')), 'to/nowhere/\xff');
  t.equal(d.lstat(name('l'))?.isSymbolicLink(), true);
  t.equal(d.lstat(name('f'))?.nlink, 2n);
  t.equal(d.lstat(name('f'))?.ino, root.lstat(name('second'))?.ino);
  t.equal(d.lstat(name('none')), undefined);
  t.equal(d.stat().ino, root.lstat(name('d'))?.ino);
  d.rename(name('l'), root, name('second'));
  t.equal(root.lstat(name('second'))?.isSymbolicLink(), true, 'rename replaces');
  t.equal(d.lstat(name('f'))?.nlink, 1n);
  t.ok(root.statFileSystem().bavail > 0n);
  root.sync();
  d.unlink(name('f'));
  d.release();
  root.rmdir(name('d'));
  root.unlink(name('second'));
  t.same(fs.readdirSync(path), []);
});

onEachWay('names of any bytes and of full length stay exact', (t, { root, path }) => {
  const odd = ['\xff\xfe\x80', 'new\nline', ' ', '-rf', '...', '\x01', 'caf\xc3\xa9', 'caf\xe9'];
  const names = [...odd, 'x'.repeat(255), '\xe9'.repeat(255)].map(name);
  for (const each of names) {
    root.mkdir(each, 0o755);
    const inside = root.sub(each);
    fs.closeSync(inside.createExclusive(each, 0o600));
    inside.chmod(each, 0o640);
    inside.setTimes(each, 5_000n);
    t.same(inside.list(), [each]);
    t.equal(inside.lstat(each)?.mode, BigInt(fs.constants.S_IFREG | 0o640));
    inside.release();
  }
  t.same(root.list().sort(), [...names].sort());
  t.same(fs.readdirSync(path, 'latin1').sort(), [...names].sort());
});

const badNames = ['', '.', '..', 'a/b', '../x', '/', 'a\0', 'x'.repeat(256), '\u0142'];

onEachWay('what is not one name is refused before the system sees it', (t, { root, outside }) => {
  root.mkdir(name('d'), 0o755);
  const d = root.sub(name('d'));
  const before = readTree(outside);
  for (const text of badNames) {
    // The very thing that the type forbids.
    const bad = text as Name;
    const good = name('good');
    const calls: readonly (() => unknown)[] = [
      () => d.sub(bad),
      () => d.lstat(bad),
      () => d.openRead(bad),
      () => d.openWrite(bad),
      () => d.createExclusive(bad, 0o600),
      () => d.mkdir(bad, 0o700),
      () => d.rmdir(bad),
      () => d.unlink(bad),
      () => d.symlink('x', bad),
      () => d.readlink(bad),
      () => root.rename(name('d'), d, bad),
      () => d.rename(bad, root, good),
      () => d.link(bad, root, good),
      () => root.link(name('d'), d, bad),
      () => d.chmod(bad, 0o777),
      () => d.setTimes(bad, 0n),
      () => d.removeTree(bad),
    ];
    for (const call of calls) t.throws(call, { code: 'ERR_ASSERTION' }, `${call} of '${text}'`);
  }
  for (const target of ['', 'a\0b']) {
    t.throws(() => d.symlink(target, name('l')), { code: 'ERR_ASSERTION' });
  }
  d.release();
  t.same(compareReadTrees(before, readTree(outside)), []);
});

onEachWay('a link is never followed, in any place', (t, { root, path, outside }) => {
  createTree(join(outside, 'secret'), { f: file('secret', { mode: 0o600 }), d: { g: 'g' } });
  createTree(path, {
    toFile: link('../secret/f'),
    toDirectory: link('../secret/d'),
    dangling: link('../secret/new'),
    absolute: link(join(outside, 'secret')),
    mine: 'mine',
  });
  const before = readTree(join(outside, 'secret'));
  for (const text of ['toFile', 'toDirectory', 'dangling', 'absolute']) {
    const each = name(text);
    t.throws(() => root.sub(each), { code: /^(ENOTDIR|ELOOP)$/ });
    t.throws(() => root.openRead(each), { code: 'ELOOP' });
    t.throws(() => root.openWrite(each), { code: 'ELOOP' });
    t.throws(() => root.createExclusive(each, 0o600), { code: 'EEXIST' });
    t.throws(() => root.mkdir(each, 0o700), { code: 'EEXIST' });
    t.throws(() => root.rmdir(each), { code: 'ENOTDIR' });
    t.throws(() => root.chmod(each, 0o777), { code: 'ELOOP' });
    root.setTimes(each, 7_000n);
    t.equal(microseconds(root.lstat(each)), 7_000n, 'the time is the link’s own');
    root.link(each, root, name('copy'));
    t.equal(root.lstat(name('copy'))?.isSymbolicLink(), true, 'a hard link to the link');
    root.unlink(name('copy'));
    root.rename(name('mine'), root, each);
    t.equal(root.lstat(each)?.isFile(), true, 'renaming over a link replaces the link');
    root.rename(each, root, name('mine'));
    root.symlink('../secret', each);
    root.removeTree(each);
    t.equal(root.lstat(each), undefined);
  }
  t.same(compareReadTrees(before, readTree(join(outside, 'secret'))), []);
});

onEachWay('opens regular files only, and never waits for one', (t, { root, path }) => {
  createTree(path, { f: 'content', d: {} });
  root.symlink('f', name('l'));
  t.throws(() => root.openRead(name('none')), { code: 'ENOENT' });
  t.throws(() => root.openRead(name('d')), { code: 'EISDIR' });
  t.throws(() => root.openWrite(name('d')), { code: 'EISDIR' });
  const fd = root.openRead(name('f'));
  t.equal(fs.readFileSync(fd, 'utf8'), 'content');
  fs.closeSync(fd);
});

t.test('a pipe does not make it wait', async t => {
  const folder = t.testdir();
  const { pipe } = await import('../support/tree.ts');
  createTree(folder, { p: pipe() });
  const root = ConfinedDirectory.openRoot(folder);
  t.teardown(() => root.release());
  t.throws(() => root.openRead(name('p')), { code: 'EINVAL' });
  t.throws(() => root.sub(name('p')), { code: 'ENOTDIR' });
  root.chmod(name('p'), 0o640);
  t.equal(Number(root.lstat(name('p'))?.mode ?? 0n) & 0o777, 0o640);
});

onEachWay('modes and times are set exactly, whatever the umask', (t, { root, path }) => {
  const umask = process.umask(0o077);
  createTree(path, { f: file('', { mode: 0 }), d: directory({}, { mode: 0 }) });
  for (const mode of [0o7777, 0o4755, 0o666, 0o001, 0]) {
    for (const each of ['f', 'd']) {
      root.chmod(name(each), mode);
      t.equal(fs.lstatSync(join(path, each)).mode & 0o7777, mode, `${each} ${mode.toString(8)}`);
    }
  }
  for (const timeNs of [0n, -1_500_000_000n, 1_600_000_000_123_456_000n]) {
    for (const each of ['f', 'd']) {
      root.setTimes(name(each), timeNs);
      t.equal(microseconds(root.lstat(name(each))), timeNs);
    }
    root.setTimesSelf(timeNs);
    t.equal(microseconds(root.stat()), timeNs);
  }
  root.chmodSelf(0o1750);
  t.equal(root.stat().mode & 0o7777n, 0o1750n);
  root.chmod(name('d'), 0o700);
  process.umask(umask);
});

onEachFileSystem(t, 'a directory without permissions can be opened up', async (t, folder) => {
  createTree(folder, { d: directory({ f: 'x' }, { mode: 0 }) });
  const root = ConfinedDirectory.openRoot(folder);
  t.teardown(() => root.release());
  const d = root.sub(name('d'));
  t.teardown(() => d.release());
  if (!isPrivileged) t.throws(() => d.list(), { code: 'EACCES' });
  t.equal(d.stat().mode & 0o7777n, 0n);
  d.setTimesSelf(3_000n);
  t.equal(microseconds(d.stat()), 3_000n);
  d.chmodSelf(0o700);
  t.same(d.list(), ['f']);
  d.chmod(name('f'), 0o600);
  d.mkdir(name('new'), 0o700);
  d.sync();
  t.same(d.list().sort(), ['f', 'new']);
});

onEachWay('a descriptor lives as long as its last owner, and no longer', (t, { root }) => {
  const before = openFdCount();
  root.mkdir(name('d'), 0o700);
  const d = root.sub(name('d'));
  d.retain();
  d.release();
  t.equal(openFdCount(), before + 1);
  t.same(d.list(), []);
  d.release();
  t.equal(openFdCount(), before);
  // Through a closed descriptor every entry would look as if it were gone.
  t.throws(() => d.lstat(name('x')), { code: 'ERR_ASSERTION' });
  t.throws(() => d.list(), { code: 'ERR_ASSERTION' });
  t.throws(() => d.fd, { code: 'ERR_ASSERTION' });
  t.throws(() => d.retain(), { code: 'ERR_ASSERTION' });
  t.throws(() => d.release(), { code: 'ERR_ASSERTION' });
});

onEachWay('a refusal leaks no descriptor', (t, { root, path }) => {
  createTree(path, { d: {}, f: '', l: link('d') });
  const before = openFdCount();
  for (const call of [
    () => root.sub(name('f')),
    () => root.sub(name('l')),
    () => root.openRead(name('d')),
    () => root.openRead(name('l')),
    () => root.chmod(name('l'), 0o777),
    () => root.createExclusive(name('f'), 0o600),
    () => ConfinedDirectory.openRoot(join(path, 'f')),
  ]) {
    t.throws(call);
  }
  t.equal(openFdCount(), before);
});

t.test('descriptors are not passed on to child processes', async t => {
  const { spawnSync } = await import('node:child_process');
  const root = ConfinedDirectory.openRoot(t.testdir());
  t.teardown(() => root.release());
  const link = `/proc/self/fd/${root.fd}`;
  t.equal(spawnSync('test', ['-e', link]).status, 1);
});

t.test('the root is a folder that is there', async t => {
  const folder = t.testdir({ f: '', d: {}, l: t.fixture('symlink', 'd') });
  for (const each of ['none', 'f', 'd/none']) {
    t.throws(() => ConfinedDirectory.openRoot(join(folder, each)), { code: 'ERR_PATH' });
  }
  for (const confinement of ['proc', 'checked'] satisfies Confinement[]) {
    // The root's own path is the user's: links in it are followed, once.
    const root = ConfinedDirectory.openRoot(join(folder, 'l'), { confinement });
    t.same(root.list(), []);
    root.release();
  }
});

t.test('does not cross into another file system unless told to', async t => {
  const mounted = name('proc');
  for (const confinement of ['proc', 'checked'] satisfies Confinement[]) {
    const root = ConfinedDirectory.openRoot('/', { confinement });
    const before = openFdCount();
    t.throws(() => root.sub(mounted), { code: 'EXDEV' });
    t.equal(openFdCount(), before);
    root.release();
    const crossing = ConfinedDirectory.openRoot('/', { confinement, crossMounts: true });
    const proc = crossing.sub(mounted);
    t.ok(proc.lstat(name('self')));
    proc.release();
    crossing.release();
  }
});

onEachFileSystem(t, 'stays in the directory that was opened', async (t, folder) => {
  createTree(folder, { dst: { d: { f: 'mine' } }, outside: { f: 'theirs' } });
  const root = ConfinedDirectory.openRoot(join(folder, 'dst'));
  const d = root.sub(name('d'));
  t.teardown(() => root.release());
  t.teardown(() => d.release());
  fs.renameSync(join(folder, 'dst/d'), join(folder, 'dst/moved'));
  fs.symlinkSync('../outside', join(folder, 'dst/d'));
  d.unlink(name('f'));
  d.mkdir(name('new'), 0o700);
  t.same(fs.readdirSync(join(folder, 'dst/moved')), ['new']);
  t.same(fs.readdirSync(join(folder, 'outside')), ['f']);
});

t.test('without /proc: refuses once anything on the way is no longer what it was', async t => {
  const folder = t.testdir();
  createTree(folder, { dst: { a: { b: { f: 'mine' } } }, outside: { b: { f: 'theirs' } } });
  const before = readTree(join(folder, 'outside'));
  const root = ConfinedDirectory.openRoot(join(folder, 'dst'), { confinement: 'checked' });
  const a = root.sub(name('a'));
  const b = a.sub(name('b'));
  for (const each of [b, a, root]) t.teardown(() => each.release());
  const [inPlace, aside] = [join(folder, 'dst/a'), join(folder, 'dst/aside')];
  const calls: readonly (() => unknown)[] = [
    () => b.lstat(name('f')),
    () => b.list(),
    () => b.unlink(name('f')),
    () => b.createExclusive(name('x'), 0o600),
    () => b.chmod(name('f'), 0o777),
    () => b.setTimes(name('f'), 0n),
    () => b.rename(name('f'), root, name('f')),
    () => root.symlink('x', name('s')) ?? root.rename(name('s'), b, name('s')),
    () => b.removeTree(name('f')),
  ];
  fs.renameSync(inPlace, aside);
  for (const call of calls) t.throws(call, { code: 'ENOENT' });
  fs.symlinkSync('../outside', inPlace);
  root.unlink(name('s'));
  for (const call of calls) t.throws(call, { code: 'ELOOP' });
  fs.unlinkSync(inPlace);
  createTree(inPlace, { b: { f: 'theirs' } });
  root.unlink(name('s'));
  for (const call of calls) t.throws(call, { code: 'ESTALE' });
  t.same(compareReadTrees(before, readTree(join(folder, 'outside'))), []);
  fs.rmSync(inPlace, { recursive: true });
  fs.renameSync(aside, inPlace);
  t.same(b.list(), ['f']);
});

t.test('without /proc: a handle follows the renames that were made here', async t => {
  const folder = t.testdir();
  createTree(folder, { a: { b: { c: { f: '' } } }, z: {} });
  const root = ConfinedDirectory.openRoot(folder, { confinement: 'checked' });
  const a = root.sub(name('a'));
  const b = a.sub(name('b'));
  const c = b.sub(name('c'));
  // Two handles of one directory, one of them let go while what is below stays in use.
  const again = root.sub(name('a'));
  const z = root.sub(name('z'));
  b.release();
  root.rename(name('a'), z, name('moved'));
  t.same(c.list(), ['f']);
  t.same(again.list(), ['b']);
  again.rename(name('b'), root, name('b'));
  t.same(c.list(), ['f']);
  a.release();
  again.release();
  z.rename(name('moved'), root, name('a'));
  z.release();
  root.rmdir(name('z'));
  t.same(c.list(), ['f']);
  c.release();
  root.release();
});

t.test('without /proc: a place stays known while something below it is in use', async t => {
  const folder = t.testdir();
  createTree(folder, { a: { b: { f: '' } }, z: {} });
  const root = ConfinedDirectory.openRoot(folder, { confinement: 'checked' });
  const [a, z] = [root.sub(name('a')), root.sub(name('z'))];
  const b = a.sub(name('b'));
  root.rename(name('a'), z, name('a'));
  // Only b needs them now.
  a.release();
  z.release();
  root.rename(name('z'), root, name('y'));
  t.same(b.list(), ['f']);
  b.release();
  root.release();
});

const isRoot = { skip: !isPrivileged && 'files can be given away by root only' };

t.test('only the inode that was looked at is given away', isRoot, async t => {
  const folder = t.testdir({ file: 'f', other: 'o', below: {} });
  fs.symlinkSync('other', join(folder, 'link'));
  const root = ConfinedDirectory.openRoot(folder);
  t.teardown(() => root.release());
  const ownerOf = (path: string): number => fs.lstatSync(join(folder, path)).uid;
  const owner = { uid: 4001, gid: 4002 };
  for (const text of ['file', 'link', 'below']) {
    const ino = root.lstat(name(text))?.ino ?? 0n;
    root.chown(name(text), ino + 1n, owner);
    t.equal(ownerOf(text), 0, `${text} is another inode`);
    root.chown(name(text), ino, owner);
    t.equal(ownerOf(text), owner.uid, text);
  }
  t.equal(ownerOf('other'), 0, 'what the link leads to');
});
