import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ConfinedDirectory } from '../../src/tree/confined-directory.ts';
import {
  type FlushFileSystem,
  findFlush,
  isNetworkFileSystem,
  isVolatile,
} from '../../src/tree/durable.ts';
import { onEachFileSystem } from '../support/folders.ts';

/** A stand-in for `sync`; its directory is descriptor 3, as for the real one. */
function fakeSync(folder: string, script: string): string {
  const path = join(folder, 'fake-sync');
  fs.writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return path;
}

async function foundFlush(root: ConfinedDirectory, command?: string): Promise<FlushFileSystem> {
  const flush = await findFlush(root, command);
  assert(flush, 'no sync -f');
  return flush;
}

onEachFileSystem(t, 'flushes with the real command', async (t, folder) => {
  const root = ConfinedDirectory.openRoot(folder);
  t.teardown(() => root.release());
  const flush = await foundFlush(root);
  await t.resolves(flush(root));
});

t.test('flushes the directory itself, wherever it was moved', async t => {
  const folder = t.testdir({ inside: {} });
  const seen = join(folder, 'seen');
  // Succeeds on what is there, as sync -f does, and says what that was.
  const command = fakeSync(folder, `[ -e "$2" ] && readlink -f "$2" >> '${seen}'`);
  const root = ConfinedDirectory.openRoot(join(folder, 'inside'));
  t.teardown(() => root.release());
  const flush = await foundFlush(root, command);
  fs.renameSync(join(folder, 'inside'), join(folder, 'moved'));
  await flush(root);
  t.same(fs.readFileSync(seen, 'utf8').trim().split('\n'), [
    join(folder, 'inside'),
    join(folder, 'moved'),
  ]);
});

t.test('says so when a flush fails, with the reason', async t => {
  const folder = t.testdir();
  const command = fakeSync(
    folder,
    `[ -e '${folder}/broken' ] && { echo 'Input/output error' >&2; exit 1; }\n[ -e "$2" ]`,
  );
  const root = ConfinedDirectory.openRoot(folder);
  t.teardown(() => root.release());
  const flush = await foundFlush(root, command);
  await t.resolves(flush(root));
  fs.writeFileSync(join(folder, 'broken'), '');
  await t.rejects(flush(root), { code: 'ERR_IO', message: /Input\/output error/ });
});

t.test('a command that is killed or gone is a failure', async t => {
  const folder = t.testdir();
  const command = fakeSync(folder, `[ -e '${folder}/broken' ] && kill -9 $$\n[ -e "$2" ]`);
  const root = ConfinedDirectory.openRoot(folder);
  t.teardown(() => root.release());
  const flush = await foundFlush(root, command);
  fs.writeFileSync(join(folder, 'broken'), '');
  await t.rejects(flush(root), { code: 'ERR_IO', message: /SIGKILL/ });
  fs.unlinkSync(command);
  await t.rejects(flush(root), { code: 'ERR_IO', message: /ENOENT/ });
});

t.test('is not found where it would not tell the truth', async t => {
  const folder = t.testdir();
  const root = ConfinedDirectory.openRoot(folder);
  t.teardown(() => root.release());
  t.equal(await findFlush(root, join(folder, 'missing')), undefined, 'no such command');
  t.equal(await findFlush(root, 'true'), undefined, 'ignores its arguments');
  t.equal(await findFlush(root, 'false'), undefined, 'knows no -f');
  const checked = ConfinedDirectory.openRoot(folder, { confinement: 'checked' });
  t.teardown(() => checked.release());
  t.equal(await findFlush(checked), undefined, 'no /proc');
});

t.test('knows memory from disk, and both from the network', async t => {
  t.equal(isVolatile(t.testdir()), false);
  t.equal(isNetworkFileSystem(t.testdir()), false);
  if (!fs.existsSync('/dev/shm')) return;
  t.equal(isVolatile('/dev/shm'), true);
  t.equal(isNetworkFileSystem('/dev/shm'), false);
});
