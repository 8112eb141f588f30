import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { toName } from '../../src/snapshot/name.ts';
import { ConfinedDirectory } from '../../src/tree/confined-directory.ts';
import type { Confinement } from '../../src/tree/directory-place.ts';
import { removeTree } from '../../src/tree/remove-tree.ts';
import { isPrivileged, onEachFileSystem } from '../support/folders.ts';
import { compareReadTrees, createTree, directory, file, link, readTree } from '../support/tree.ts';

const doomed = toName('doomed');
const ways = ['proc', 'checked'] satisfies Confinement[];

function nest(top: ConfinedDirectory, depth: number, nameSize: number): void {
  let at = top.retain();
  for (let level = 0; level < depth; level++) {
    const name = toName('z'.repeat(nameSize));
    at.mkdir(name, 0o700);
    fs.closeSync(at.createExclusive(toName('f'), 0o600));
    // Names that the removal itself would like to use.
    for (let count = 0; count < 3; count++) at.symlink('/', toName(`lifted-${count}`));
    const below = at.sub(name);
    at.release();
    at = below;
  }
  at.release();
}

onEachFileSystem(t, 'removes everything below, and nothing beside', async (t, folder) => {
  for (const confinement of ways) {
    const path = join(folder, confinement);
    createTree(path, {
      keep: { f: 'x', deep: { g: 'y' } },
      doomed2: 'beside',
      doomed: {
        f: '',
        'caf\xe9': { '\xff': '' },
        out: link('../keep'),
        shut: directory({ in: { f: file('', { mode: 0 }) } }, { mode: 0o500 }),
        blind: directory({ f: '' }, { mode: 0 }),
      },
    });
    const root = ConfinedDirectory.openRoot(path, { confinement });
    t.teardown(() => root.release());
    const before = readTree(path);
    root.removeTree(doomed);
    const gone = [...before.keys()].filter(at => at === 'doomed' || at.startsWith('doomed/'));
    for (const at of [...gone, '']) before.delete(at);
    const after = readTree(path);
    after.delete('');
    t.same(compareReadTrees(before, after), []);
    root.removeTree(doomed);
    root.removeTree(toName('doomed2'));
    t.same(root.list(), ['keep']);
  }
});

onEachFileSystem(t, 'however deep it is, few descriptors are open', async (t, folder) => {
  const root = ConfinedDirectory.openRoot(folder);
  t.teardown(() => root.release());
  root.mkdir(doomed, 0o700);
  const top = root.sub(doomed);
  nest(top, 400, 100);
  top.release();
  const { NODE_OPTIONS: _, ...env } = process.env;
  const module = fileURLToPath(new URL('../support/remove-deep.js', import.meta.url));
  const script = 'ulimit -n 100 && exec "$@"';
  const command = ['-c', script, 'sh', process.execPath, module, folder, doomed];
  const { status, stderr } = spawnSync('sh', command, { env, encoding: 'utf8' });
  t.equal(status, 0, stderr.slice(0, 1000));
  t.same(root.list(), []);
});

/** `parent`, with `before` done ahead of each removal of a directory. */
function beforeRmdir(parent: ConfinedDirectory, before: () => void): ConfinedDirectory {
  return new Proxy(parent, {
    get(target, key) {
      if (key === 'rmdir') before();
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

onEachFileSystem(t, 'what somebody adds meanwhile goes too, within reason', async (t, folder) => {
  createTree(folder, { doomed: { f: '' } });
  const root = ConfinedDirectory.openRoot(folder);
  t.teardown(() => root.release());
  let count = 0;
  const add = () => fs.writeFileSync(join(folder, doomed, `new-${count++}`), '');
  removeTree(
    beforeRmdir(root, () => count < 3 && add()),
    doomed,
  );
  t.equal(count, 3);
  t.same(root.list(), []);
  root.mkdir(doomed, 0o700);
  t.throws(() => removeTree(beforeRmdir(root, add), doomed), { code: 'ENOTEMPTY' });
});

onEachFileSystem(t, 'without /proc: as deep as a path can be', async (t, folder) => {
  const opened = ConfinedDirectory.openRoot(folder);
  opened.mkdir(doomed, 0o700);
  const top = opened.sub(doomed);
  nest(top, 150, 5);
  top.release();
  opened.release();
  const root = ConfinedDirectory.openRoot(folder, { confinement: 'checked' });
  t.teardown(() => root.release());
  root.removeTree(doomed);
  t.same(root.list(), []);
});

t.test(
  'an error stops it and leaks nothing',
  { skip: isPrivileged && 'root may do all' },
  async t => {
    const folder = t.testdir();
    createTree(folder, { doomed: { d: { f: '' } } });
    const root = ConfinedDirectory.openRoot(folder);
    t.teardown(() => root.release());
    fs.chmodSync(folder, 0o500);
    const before = fs.readdirSync('/proc/self/fd').length;
    t.throws(() => root.removeTree(doomed), { code: 'EACCES' });
    t.equal(fs.readdirSync('/proc/self/fd').length, before);
    fs.chmodSync(folder, 0o700);
    root.removeTree(doomed);
    t.same(root.list(), []);
  },
);
