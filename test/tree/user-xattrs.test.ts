import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { packXattrs, unpackXattrs } from '../../src/snapshot/xattrs.ts';
import { readSourceXattrs } from '../../src/tree/source-xattrs.ts';
import { SystemError } from '../../src/tree/system-error.ts';
import { UserXattrs, type XattrCalls } from '../../src/tree/user-xattrs.ts';
import { isPrivileged, onEachFileSystem } from '../support/folders.ts';
import { until } from '../support/until.ts';
import { setXattr, withoutXattrs, xattrCalls, xattrsAt } from '../support/xattrs.ts';

const O_PATH = 0o10000000;

function pack(attributes: Readonly<Record<string, string>>): string {
  const all = Object.entries(attributes).map(([name, hex]) => {
    return { name: Buffer.from(name).toString('latin1'), value: Buffer.from(hex, 'hex') };
  });
  const packed = packXattrs(all);
  if (packed === undefined) throw new RangeError('too many');
  return packed;
}

function pin(t: Test, path: string): number {
  const fd = fs.openSync(path, O_PATH | fs.constants.O_NOFOLLOW);
  t.teardown(() => fs.closeSync(fd));
  return fd;
}

function refuse(t: Test, folder: string): boolean {
  const reason = withoutXattrs(folder);
  if (reason !== false) t.pass(reason, { skip: reason });
  return reason !== false;
}

onEachFileSystem(t, 'reads and writes what an inode has', async (t, folder) => {
  if (refuse(t, folder)) return;
  const xattrs = await UserXattrs.load();
  const file = join(folder, 'a file');
  fs.writeFileSync(file, 'x');
  for (const path of [file, folder]) {
    const fd = pin(t, path);
    t.equal(xattrs.read(fd), '');
    const all = { b: '00ff0a', a: '', 'caf\u00e9': '2f' };
    xattrs.write(fd, pack(all));
    t.strictSame(xattrsAt(path), { a: '', b: '00ff0a', 'caf\u00e9': '2f' });
    t.equal(xattrs.read(fd), pack(all));
    xattrs.write(fd, pack({ b: '00', c: '01' }));
    t.strictSame(xattrsAt(path), { b: '00', c: '01' }, 'others go');
    const { ctimeNs } = fs.fstatSync(fd, { bigint: true });
    xattrs.write(fd, pack({ b: '00', c: '01' }));
    t.equal(fs.fstatSync(fd, { bigint: true }).ctimeNs, ctimeNs, 'nothing to do, nothing done');
    xattrs.write(fd, '');
    t.strictSame(xattrsAt(path), {});
  }
});

onEachFileSystem(t, 'leaves other namespaces alone', async (t, folder) => {
  if (refuse(t, folder)) return;
  if (!isPrivileged) {
    t.pass('only root may set them', { skip: true });
    return;
  }
  const file = join(folder, 'file');
  fs.writeFileSync(file, '');
  xattrCalls().setAttributeSync(file, 'trusted.t', Buffer.from('t'));
  const xattrs = await UserXattrs.load();
  const fd = pin(t, file);
  t.equal(xattrs.read(fd), '');
  xattrs.write(fd, pack({ a: '01' }));
  xattrs.write(fd, '');
  t.strictSame(xattrCalls().getAttributeSync(file, 'trusted.t').toString(), 't');
});

onEachFileSystem(t, 'a link has none, and is not followed', async (t, folder) => {
  if (refuse(t, folder)) return;
  fs.writeFileSync(join(folder, 'victim'), '');
  setXattr(join(folder, 'victim'), 'a', '01');
  fs.symlinkSync('victim', join(folder, 'link'));
  const xattrs = await UserXattrs.load();
  const fd = pin(t, join(folder, 'link'));
  t.equal(xattrs.read(fd), '');
  t.throws(() => xattrs.write(fd, pack({ a: '02' })), { code: 'EPERM' });
  t.strictSame(xattrsAt(join(folder, 'victim')), { a: '01' });
});

/** A single inode in memory. */
function fake(attributes: Map<string, Buffer>, changes: Partial<XattrCalls> = {}): UserXattrs {
  return new UserXattrs({
    listAttributesSync: () => [...attributes.keys()],
    getAttributeSync: (_, name) => {
      const value = attributes.get(name);
      if (!value) throw new SystemError('ENODATA', name);
      return value;
    },
    setAttributeSync: (_, name, value) => void attributes.set(name, value),
    removeAttributeSync: (_, name) => void attributes.delete(name),
    ...changes,
  });
}

t.test('what cannot be kept is an error, not a part of it', async t => {
  const many = new Map([['user.a', Buffer.alloc(10_000)]]);
  t.equal(unpackXattrs(fake(many).read(0)).length, 1);
  many.set('user.b', Buffer.alloc(10_000));
  t.throws(() => fake(many).read(0), { code: 'E2BIG' });
  const odd = new Map([['user.\ufffd', Buffer.alloc(1)]]);
  t.throws(() => fake(odd).read(0), { code: 'EILSEQ' });
});

t.test('of more than can be kept no more is read', async t => {
  const names = Array.from({ length: 1000 }, (_, i) => `user.${i}`);
  let count = 0;
  const getAttributeSync = () => {
    count++;
    return Buffer.alloc(5000);
  };
  const calls = fake(new Map(), { listAttributesSync: () => names, getAttributeSync });
  t.throws(() => calls.read(0), { code: 'E2BIG' });
  t.equal(count, 4);
});

t.test('what goes or grows between two calls is left out', async t => {
  const attributes = new Map([['user.b', Buffer.from([1])]]);
  const listAttributesSync = () => ['user.a', 'security.selinux', 'user.b'];
  t.equal(fake(attributes, { listAttributesSync }).read(0), pack({ b: '01' }));
  const removeAttributeSync = (_: string, name: string) => {
    throw new SystemError('ENODATA', name);
  };
  fake(attributes, { removeAttributeSync }).write(0, pack({ c: '02' }));
  t.ok(attributes.has('user.c'), 'gone already');
});

t.test('without the package there is a clear word', async t => {
  await t.rejects(UserXattrs.load('fs-xattr-that-is-not-there'), {
    code: 'ERR_USAGE',
    message: /the package fs-xattr-that-is-not-there is missing or was not built: install/,
  });
});

onEachFileSystem(t, 'what a scan saw is read only while it is that', async (t, folder) => {
  if (refuse(t, folder)) return;
  const xattrs = await UserXattrs.load();
  const path = 'file';
  const full = join(folder, path);
  fs.writeFileSync(full, '');
  setXattr(full, 'a', '01');
  const look = (at = full) => fs.lstatSync(at, { bigint: true });
  const read = (seen = look(), sinceMs = 1000, calls = xattrs) => {
    const nowMs = Number(seen.ctimeNs / 1_000_000n) + sinceMs;
    return readSourceXattrs(folder, { path, seen, nowMs }, calls);
  };
  const first = look();
  for (const sinceMs of [1000, -1000]) t.equal(read(first, sinceMs), pack({ a: '01' }));
  for (const sinceMs of [0, 10, -10]) {
    t.equal(read(first, sinceMs), undefined, 'it may change again under one ctime');
  }
  // A clock that ticks.
  await until(() => {
    setXattr(full, 'a', '02');
    return look().ctimeNs !== first.ctimeNs;
  });
  t.equal(read(first), undefined, 'its ctime moved');
  t.equal(read(), pack({ a: '02' }));
  const racing = new UserXattrs({
    ...xattrCalls(),
    getAttributeSync: (place: string, name: string) => {
      const { ctimeNs } = look();
      const value = xattrCalls().getAttributeSync(place, name);
      while (look().ctimeNs === ctimeNs) setXattr(full, 'a', '03');
      return value;
    },
  });
  t.equal(read(look(), 1000, racing), undefined, 'it moved meanwhile');
  fs.renameSync(full, join(folder, 'moved'));
  fs.symlinkSync('moved', full);
  t.equal(read(look(join(folder, 'moved'))), undefined, 'a link to it, in its place');
});
