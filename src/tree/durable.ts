// Making many files durable at once, and what kind of file system a folder lies on.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { ReplicaError, systemCode } from '../errors.ts';
import type { ConfinedDirectory } from './confined-directory.ts';

/** Bytes of the command's complaint that are kept for the error. */
const complaintSizeMax = 512;

/** Makes everything written to the file system of `directory` durable; throws ERR_IO. */
export type FlushFileSystem = (directory: ConfinedDirectory) => Promise<void>;

/**
 * `sync -f` (syncfs(2)) where it is there and works on `directory`; undefined elsewhere: then
 * fsync each file. One call for a commit's files costs a third of an fsync each.
 */
export async function findFlush(
  directory: ConfinedDirectory,
  command = 'sync',
): Promise<FlushFileSystem | undefined> {
  if (directory.confinement !== 'proc') return undefined;
  // A `sync` that ignores its arguments (old busybox) succeeds here and would not say what failed.
  const bogus = await runSync(command, directory.fd, '/proc/self/fd/3/\u0001/missing');
  if (bogus.exitCode === 0) return undefined;
  const real = await runSync(command, directory.fd, inheritedPath);
  if (real.exitCode !== 0) return undefined;
  return async target => {
    const { exitCode, complaint } = await runSync(command, target.fd, inheritedPath);
    if (exitCode === 0) return;
    throw new ReplicaError('ERR_IO', `cannot flush the file system: ${complaint || exitCode}`);
  };
}

/** The child inherits the directory as descriptor 3, so that no path can change meanwhile. */
const inheritedPath = '/proc/self/fd/3';

async function runSync(
  command: string,
  fd: number,
  path: string,
): Promise<{ exitCode: number; complaint: string }> {
  const child = spawn(command, ['-f', path], { stdio: ['ignore', 'ignore', 'pipe', fd] });
  let complaint = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(0, complaintSizeMax);
  });
  try {
    const [exitCode, signal] = await once(child, 'close');
    return { exitCode: exitCode ?? -1, complaint: complaint.trim() || (signal ?? '') };
  } catch (error) {
    return { exitCode: -1, complaint: systemCode(error) ?? String(error) };
  }
}

/** tmpfs or ramfs: gone with the power whatever is flushed. */
export function isVolatile(path: string): boolean {
  return volatileTypes.has(fileSystemType(path));
}

/** NFS, SMB, FUSE (virtiofs too), 9p and other kinds on which LMDB is not safe. */
export function isNetworkFileSystem(path: string): boolean {
  return networkTypes.has(fileSystemType(path));
}

function fileSystemType(path: string): number {
  // The field is signed on some machines.
  return fs.statfsSync(path).type >>> 0;
}

// statfs(2) and linux/magic.h.
const volatileTypes: ReadonlySet<number> = new Set([0x01021994, 0x858458f6]);
const networkTypes: ReadonlySet<number> = new Set([
  0x6969, // nfs
  0x517b, // smb
  0xfe534d42, // smb2
  0xff534d42, // cifs
  0x65735546, // fuse, virtiofs
  0x01021997, // 9p
  0x5346414f, // afs
  0x6b414653, // kafs
  0x00c36400, // ceph
  0x73757245, // coda
  0x564c, // ncp
  0x01161970, // gfs2
  0x7461636f, // ocfs2
  0x0bd00bd0, // lustre
  0x47504653, // gpfs
  0x19830326, // beegfs
  0x786f4256, // vboxsf
  0xbacbacbc, // vmhgfs
  0x7c7c6673, // prl_fs
]);
