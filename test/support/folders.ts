// Where tests put their trees: on every file system at hand, since they differ in what they
// promise (tmpfs never reuses inodes at once, ext4 orders names by hash, and so on).
import { fork, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';

/** Runs `body` with an empty folder on the disk of the project, and with one on tmpfs if any. */
export function onEachFileSystem(
  t: Test,
  name: string,
  body: (t: Test, folder: string) => Promise<void>,
): void {
  void t.test(`${name} (disk)`, t => body(t, makeFolder(t, diskFolder())));
  void t.test(`${name} (tmpfs)`, { skip: !hasSharedMemory() && 'no /dev/shm' }, t =>
    body(t, makeFolder(t, '/dev/shm')),
  );
}

/** An empty folder on the disk of the project, removed after the test. */
export function makeDiskFolder(t: Test): string {
  return makeFolder(t, diskFolder());
}

/** An empty folder in `parent`, removed after the test whatever its names, modes and depth. */
export function makeFolder(t: Test, parent: string): string {
  const folder = fs.mkdtempSync(join(parent, 'replica-test-'));
  t.teardown(() => removeFolder(folder));
  return folder;
}

export function removeFolder(folder: string): void {
  spawnSync('chmod', ['-R', 'u+rwx', folder]);
  spawnSync('rm', ['-rf', folder]);
}

/** Not t.testdir(): it fails for good on a deep or odd tree that a killed run left behind. */
export function diskFolder(): string {
  const folder = join(process.cwd(), '.tap', 'trees');
  fs.mkdirSync(folder, { recursive: true });
  return folder;
}

function hasSharedMemory(): boolean {
  try {
    fs.accessSync('/dev/shm', fs.constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** True if permissions do not bind this process. */
export const isPrivileged = process.getuid?.() === 0;

/** Runs a compiled module of the tests as a process of its own. */
export function forkModule(url: URL, options: readonly string[]): ReturnType<typeof fork> {
  return fork(url, [...options], { execArgv: [] });
}
