// Where tests put their trees: on every file system at hand, since they differ in what they
// promise (tmpfs never reuses inodes at once, ext4 orders names by hash, and so on).
import { fork } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';

/** Runs `body` with an empty folder on the disk of the project, and with one on tmpfs if any. */
export function onEachFileSystem(
  t: Test,
  name: string,
  body: (t: Test, folder: string) => Promise<void>,
): void {
  void t.test(`${name} (disk)`, t => body(t, t.testdir()));
  void t.test(`${name} (tmpfs)`, { skip: !hasSharedMemory() && 'no /dev/shm' }, async t => {
    const folder = fs.mkdtempSync('/dev/shm/replica-test-');
    t.teardown(() => {
      openUp(folder);
      fs.rmSync(folder, { recursive: true, force: true });
    });
    await body(t, folder);
  });
}

function hasSharedMemory(): boolean {
  try {
    fs.accessSync('/dev/shm', fs.constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Gives every directory below `folder` back to its owner, so that it can be removed. */
function openUp(folder: string): void {
  fs.chmodSync(folder, 0o700);
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) openUp(join(folder, entry.name));
  }
}

/** True if permissions do not bind this process. */
export const isPrivileged = process.getuid?.() === 0;

/** Runs a compiled module of the tests as a process of its own, without tap's loaders. */
export function forkModule(url: URL, options: readonly string[]): ReturnType<typeof fork> {
  const { NODE_OPTIONS: _, ...env } = process.env;
  return fork(url, [...options], { env, execArgv: [] });
}
