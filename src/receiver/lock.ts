// One receive at a time for a destination.
import fs from 'node:fs';
import { hostname } from 'node:os';
import { pid } from 'node:process';
import { ReplicaError, systemCode } from '../errors.ts';
import { type Name, printable, toName } from '../snapshot/name.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';

const lockName = toName('receive.lock');
const contentSizeMax = 1024;

/** Held until `release`, or until its process is gone. */
export class Lock {
  readonly #folder: ConfinedDirectory;
  readonly #ino: bigint;

  /** Throws ERR_PATH while another receive holds it. */
  static take(folder: ConfinedDirectory): Lock {
    const own = toName(`receive.lock.${pid}`);
    if (folder.lstat(own)) folder.unlink(own);
    const fd = folder.createExclusive(own, 0o600);
    try {
      fs.writeSync(fd, `${pid} ${startOf(pid)} ${hostname()}\n`);
      const { ino } = fs.fstatSync(fd, { bigint: true });
      for (let attempt = 0; attempt < 3; attempt++) {
        if (tryLink(folder, own)) return new Lock(folder, ino);
        refuseLive(folder);
        // Whoever held it is gone.
        if (folder.lstat(lockName)) folder.unlink(lockName);
      }
      throw new ReplicaError('ERR_PATH', 'another receive is starting on this destination');
    } finally {
      fs.closeSync(fd);
      folder.unlink(own);
    }
  }

  private constructor(folder: ConfinedDirectory, ino: bigint) {
    this.#folder = folder.retain();
    this.#ino = ino;
  }

  release(): void {
    if (this.#folder.lstat(lockName)?.ino === this.#ino) this.#folder.unlink(lockName);
    this.#folder.release();
  }
}

function tryLink(folder: ConfinedDirectory, own: Name): boolean {
  try {
    folder.link(own, folder, lockName);
    return true;
  } catch (error) {
    const code = systemCode(error);
    if (code === 'EEXIST') return false;
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP' && code !== 'ENOSYS') {
      throw error;
    }
  }
  // No hard links here: a rename takes the lock as well, but two at once may both think so.
  if (folder.lstat(lockName)) return false;
  folder.rename(own, folder, lockName);
  fs.closeSync(folder.createExclusive(own, 0o600));
  return true;
}

function refuseLive(folder: ConfinedDirectory): void {
  const holder = liveHolder(readLock(folder));
  if (holder === undefined) return;
  const text = `another receive, or a push to this folder, is running (${holder})`;
  // Of another machine, or of a container that was made anew, nothing can be known from here.
  const isElsewhere = holder.includes(' on ');
  const remedy = isElsewhere
    ? '; if that is gone, remove .replica/receive.lock in the destination'
    : '; stop it first, or choose another folder';
  throw new ReplicaError('ERR_PATH', text + remedy);
}

/** Who holds a lock of that content: 'pid 12', or 'pid 12 on host'; undefined: nobody that lives. */
export function liveHolder(content: string): string | undefined {
  const [, holder, start, host] = /^(\d+) (\S+) (.+)\n$/.exec(content) ?? [];
  if (holder === undefined || start === undefined || host === undefined) return undefined;
  const isHere = host === hostname();
  if (isHere && startOf(Number(holder)) !== start) return undefined;
  return `pid ${holder}${isHere ? '' : ` on ${printable(host)}`}`;
}

function readLock(folder: ConfinedDirectory): string {
  let fd: number;
  try {
    fd = folder.openRead(lockName);
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return '';
  }
  try {
    const bytes = Buffer.alloc(contentSizeMax);
    return bytes.toString('utf8', 0, fs.readSync(fd, bytes, 0, contentSizeMax, 0));
  } finally {
    fs.closeSync(fd);
  }
}

/** When a process began, so that a reused number is not taken for it; 'none' if there is none. */
function startOf(id: number): string {
  try {
    const stat = fs.readFileSync(`/proc/${id}/stat`, 'latin1');
    // Field 22 of proc(5); the second may hold spaces and ends with the last ')'.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? 'unknown';
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return 'none';
  }
}
