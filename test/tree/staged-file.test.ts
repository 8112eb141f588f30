import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { toName } from '../../src/snapshot/name.ts';
import { ConfinedDirectory } from '../../src/tree/confined-directory.ts';
import { ReadBuffer } from '../../src/tree/read-buffer.ts';
import { StagedFile } from '../../src/tree/staged-file.ts';
import { cutToMicroseconds } from '../../src/tree/times.ts';
import { onEachFileSystem } from '../support/folders.ts';
import { mountReflinks } from '../support/mounts.ts';
import { pick, randomBytes, randomInteger, seededRandom } from '../support/random.ts';

const name = toName('staged');
const when = { mode: 0o640, mtimeNs: 1_700_000_000_123_456_789n };

onEachFileSystem(t, 'whatever it is made of, it holds those bytes', async (t, folder) => {
  const root = ConfinedDirectory.openRoot(folder);
  t.teardown(() => root.release());
  for (let seed = 1; seed <= 25; seed++) {
    const random = seededRandom(seed);
    const basis = Buffer.concat(
      Array.from({ length: 12 }, () => {
        const bytes = randomBytes(random, randomInteger(random, 200_000));
        return random() < 0.4 ? Buffer.alloc(bytes.length) : bytes;
      }),
    );
    fs.writeFileSync(join(folder, 'basis'), basis);
    const basisFd = root.openRead(toName('basis'));
    const file = StagedFile.create(root, name);
    const expected: Buffer[] = [];
    for (let count = randomInteger(random, 8); count > 0; count--) {
      const offset = randomInteger(random, basis.length);
      const size = randomInteger(random, basis.length - offset);
      const part = basis.subarray(offset, offset + size);
      const way = pick(random, ['write', 'writeSparse', 'copy', 'hole'] as const);
      if (way === 'write') file.write(part);
      if (way === 'writeSparse') file.writeSparse(part);
      if (way === 'copy') file.copyFrom(basisFd, offset, size);
      if (way === 'hole') file.hole(size);
      expected.push(way === 'hole' ? Buffer.alloc(size) : part);
    }
    const stat = file.finish(when);
    file.sync();
    file.close();
    fs.closeSync(basisFd);
    const content = fs.readFileSync(join(folder, name));
    root.unlink(name);
    const right = content.equals(Buffer.concat(expected)) && stat.size === BigInt(content.length);
    if (!right || seed === 25) t.ok(right, `seed ${seed}`);
    if (!right) break;
  }
});

onEachFileSystem(t, 'mode and time are exact, whatever the umask', async (t, folder) => {
  const umask = process.umask(0o777);
  t.teardown(() => process.umask(umask));
  const root = ConfinedDirectory.openRoot(folder);
  t.teardown(() => root.release());
  const file = StagedFile.create(root, name);
  t.equal(root.lstat(name)?.mode, BigInt(fs.constants.S_IFREG), 'nobody can open it early');
  file.write(Buffer.from('x'));
  const stat = file.finish({ mode: 0o4751, mtimeNs: -1_500_000_001n });
  file.close();
  file.close();
  t.equal(stat.mode & 0o7777n, 0o4751n);
  t.equal(cutToMicroseconds(stat.mtimeNs), -1_500_001_000n);
  const found = root.lstat(name);
  t.equal(found?.ino, stat.ino);
  t.equal(found?.mtimeNs, stat.mtimeNs);
  t.throws(() => file.write(Buffer.from('y')), { code: 'ERR_ASSERTION' });
});

onEachFileSystem(t, 'a hole takes no space, copied or made', async (t, folder) => {
  const root = ConfinedDirectory.openRoot(folder);
  t.teardown(() => root.release());
  const made = StagedFile.create(root, toName('made'));
  made.write(Buffer.from('start'));
  made.hole(40 * 1024 * 1024);
  made.write(Buffer.from('end'));
  made.hole(1024 * 1024);
  const stat = made.finish(when);
  t.equal(stat.size, BigInt(41 * 1024 * 1024 + 8));
  t.ok(stat.blocks * 512n < 100_000n, `made: ${stat.blocks} blocks`);
  const copied = StagedFile.create(root, toName('copied'));
  copied.copyFrom(made.fd, 0, Number(stat.size));
  const copy = copied.finish(when);
  t.equal(copy.size, stat.size);
  t.ok(copy.blocks * 512n < 100_000n, `copied: ${copy.blocks} blocks`);
  t.same(new ReadBuffer().read(copied.fd, 40 * 1024 * 1024 + 5, 4), Buffer.from('end\0'));
  for (const file of [made, copied]) file.close();
});

onEachFileSystem(t, 'goes on after the bytes that are known to be good', async (t, folder) => {
  const root = ConfinedDirectory.openRoot(folder);
  t.teardown(() => root.release());
  fs.writeFileSync(join(folder, name), 'good bytes and bad ones');
  const file = StagedFile.reopen(root, name);
  file.keep(11);
  t.equal(file.size, 11);
  file.cut();
  file.write(Buffer.from('more'));
  file.finish(when);
  file.close();
  t.equal(fs.readFileSync(join(folder, name), 'utf8'), 'good bytes more');
});

onEachFileSystem(t, 'never replaces or follows what is there', async (t, folder) => {
  const root = ConfinedDirectory.openRoot(folder);
  t.teardown(() => root.release());
  fs.writeFileSync(join(folder, 'there'), 'old');
  fs.symlinkSync(join(folder, 'new'), join(folder, 'dangling'));
  fs.symlinkSync(join(folder, 'there'), join(folder, 'link'));
  for (const taken of ['there', 'dangling', 'link']) {
    t.throws(() => StagedFile.create(root, toName(taken)), { code: 'EEXIST' });
  }
  t.throws(() => StagedFile.reopen(root, toName('link')), { code: 'ELOOP' });
  t.equal(fs.readFileSync(join(folder, 'there'), 'utf8'), 'old');
  t.notOk(fs.existsSync(join(folder, 'new')));
});

onEachFileSystem(t, 'a file that became shorter is not passed off as zeros', async (t, folder) => {
  const root = ConfinedDirectory.openRoot(folder);
  t.teardown(() => root.release());
  fs.writeFileSync(join(folder, 'basis'), Buffer.alloc(10_000, 1));
  const basisFd = root.openRead(toName('basis'));
  t.teardown(() => fs.closeSync(basisFd));
  t.equal(new ReadBuffer().read(basisFd, 9_000, 1_000).length, 1_000);
  t.throws(() => new ReadBuffer().read(basisFd, 9_001, 1_000), { code: 'EUNSTABLE' });
  const file = StagedFile.create(root, name);
  t.teardown(() => file.close());
  t.throws(() => file.copyFrom(basisFd, 5_000, 5_001), { code: 'EUNSTABLE' });
});

t.test('a failed sync is never repeated', async t => {
  const root = ConfinedDirectory.openRoot(t.testdir());
  t.teardown(() => root.release());
  const file = StagedFile.create(root, name);
  let calls = 0;
  const failing = () => {
    calls++;
    throw Object.assign(new Error('EIO: lost'), { code: 'EIO' });
  };
  t.throws(() => file.sync(failing), { code: 'EIO' });
  t.throws(() => file.sync(() => calls++), { code: 'EIO' });
  t.equal(calls, 1);
  file.close();
});

t.test('what begins as a clone ends as what it was made of', async t => {
  const mounted = mountReflinks(t);
  if ('skip' in mounted) {
    t.pass(mounted.skip, { skip: mounted.skip });
    return;
  }
  const { folder } = mounted;
  const root = ConfinedDirectory.openRoot(folder);
  t.teardown(() => root.release());
  for (let seed = 1; seed <= 40; seed++) {
    const random = seededRandom(seed);
    const basis = randomBytes(random, 100_000 + randomInteger(random, 200_000));
    basis.fill(0, 20_000, 60_000);
    fs.writeFileSync(join(folder, 'basis'), basis);
    fs.chmodSync(join(folder, 'basis'), 0o440);
    const basisFd = root.openRead(toName('basis'));
    const file = StagedFile.clone(root, name, basisFd);
    if (!file) throw new Error('XFS clones files');
    const expected: Buffer[] = [];
    for (let count = randomInteger(random, 12); count > 0; count--) {
      const at = file.size;
      const way = pick(random, ['write', 'writeSparse', 'copy', 'hole', 'keep', 'keep'] as const);
      const left = Math.max(basis.length - at, 0);
      const offset = way === 'keep' ? at : randomInteger(random, basis.length);
      const size = randomInteger(random, way === 'keep' ? left + 1 : basis.length - offset);
      const part = basis.subarray(offset, offset + size);
      if (way === 'write') file.write(part);
      if (way === 'writeSparse') file.writeSparse(part);
      if (way === 'copy' || way === 'keep') file.copyFrom(basisFd, offset, size);
      if (way === 'hole') file.hole(size);
      expected.push(way === 'hole' ? Buffer.alloc(size) : part);
    }
    const stat = file.finish(when);
    t.equal(Number(stat.mode & 0o7777n), when.mode, `seed ${seed}: mode`);
    file.close();
    t.ok(fs.readFileSync(join(folder, name)).equals(Buffer.concat(expected)), `seed ${seed}`);
    t.ok(fs.readFileSync(join(folder, 'basis')).equals(basis), `seed ${seed}: the basis`);
    fs.closeSync(basisFd);
    fs.unlinkSync(join(folder, name));
    fs.unlinkSync(join(folder, 'basis'));
  }
});

onEachFileSystem(t, 'where there are no clones, nothing is left', async (t, folder) => {
  const root = ConfinedDirectory.openRoot(folder);
  t.teardown(() => root.release());
  fs.writeFileSync(join(folder, 'basis'), 'content');
  const fd = root.openRead(toName('basis'));
  const file = StagedFile.clone(root, name, fd);
  fs.closeSync(fd);
  file?.close();
  t.equal(fs.existsSync(join(folder, name)), file !== undefined);
});
