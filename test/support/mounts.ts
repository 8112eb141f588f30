// Real file systems for tests that need one: root only.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

export const isRoot = process.geteuid?.() === 0;

/** True where a FUSE file system can be mounted. */
export function hasFuse(): boolean {
  return isRoot && existsSync('/dev/fuse') && spawnSync('fuse2fs', ['-V']).error === undefined;
}

/** A test, or whoever else undoes things at the end, in reverse order. */
export interface Undoing {
  teardown(act: () => unknown): void;
}

/**
 * A folder for mounting on, beside t.testdir(), which would be removed before it is unmounted.
 * Unmounted after the processes that use it were stopped: teardown runs in reverse order.
 */
export function mountPoint(t: Undoing): string {
  const point = realpathSync(mkdtempSync(join(tmpdir(), 'replica-mount-')));
  t.teardown(() => {
    spawnSync('umount', ['-l', point]);
    rmSync(point, { recursive: true });
  });
  return point;
}

/** A small tmpfs. */
export function mountTmpfs(t: Test, size: string): string {
  const point = mountPoint(t);
  command('mount', '-t', 'tmpfs', '-o', `size=${size}`, 'none', point);
  return point;
}

/** An XFS, which has reflinks, on a loop device; or why there is none. */
export function mountReflinks(t: Undoing): { readonly folder: string } | { readonly skip: string } {
  if (!isRoot) return { skip: 'only root may mount' };
  if (spawnSync('mkfs.xfs', ['-V']).error !== undefined) return { skip: 'no mkfs.xfs here' };
  const folder = mountPoint(t);
  const image = `${folder}.xfs`;
  writeFileSync(image, '');
  t.teardown(() => rmSync(image));
  truncateSync(image, 512 * 1024 * 1024);
  command('mkfs.xfs', '-q', '-m', 'reflink=1', image);
  const { status, stderr } = spawnSync('mount', ['-o', 'loop', image, folder], {
    encoding: 'utf8',
  });
  return status === 0 ? { folder } : { skip: `cannot mount here: ${stderr.trim()}` };
}

/** An empty file system of 16 MiB in user space; `hang(true)` makes every call on it wait. */
export async function mountFuse(
  t: Test,
): Promise<{ readonly folder: string; readonly hang: (isHung: boolean) => void }> {
  const folder = mountPoint(t);
  const image = `${folder}.ext4`;
  writeFileSync(image, '');
  truncateSync(image, 16 * 1024 * 1024);
  command('mkfs.ext4', '-q', '-F', image);
  // In the foreground, so that its process id is known.
  const server = spawn('fuse2fs', ['-f', image, folder], { stdio: 'ignore' });
  const ended = once(server, 'exit');
  const hang = (isHung: boolean): void => void server.kill(isHung ? 'SIGSTOP' : 'SIGCONT');
  t.teardown(async () => {
    hang(false);
    spawnSync('umount', ['-l', folder]);
    await ended;
    rmSync(image);
  });
  while (!readFileSync('/proc/mounts', 'utf8').includes(` ${folder} `)) {
    if (server.exitCode !== null) throw new Error(`fuse2fs ended with ${server.exitCode}`);
    await new Promise(resolve => setTimeout(resolve, 10));
  }
  rmSync(join(folder, 'lost+found'), { recursive: true });
  return { folder, hang };
}

/** Runs a command that must succeed. */
export function command(name: string, ...argv: string[]): void {
  const { status, stderr } = spawnSync(name, argv, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${name} ${argv.join(' ')}: ${stderr}`);
}
