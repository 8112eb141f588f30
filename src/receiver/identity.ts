// Says in the private folder which state this tree belongs to. Records speak of inodes: those of a
// copy of the tree, of a backup played back, or of another disk mounted at the path, are not these.
import fs from 'node:fs';
import { systemCode } from '../errors.ts';
import { toName } from '../snapshot/name.ts';
import type { Folders } from './folders.ts';

const identityName = toName('identity');
const temporaryName = toName('identity.new');
const sizeMax = 128;

/** Does the state of this epoch describe this very tree? */
export function isIdentity(folders: Folders, epoch: Buffer): boolean {
  return readIdentity(folders) === identityOf(folders, epoch);
}

/** Was there ever a state that described this tree? */
export function hasIdentity({ base }: Folders): boolean {
  return base.lstat(identityName) !== undefined;
}

/** Durable on return. */
export function writeIdentity(folders: Folders, epoch: Buffer): void {
  const { base } = folders;
  if (base.lstat(temporaryName)) base.removeTree(temporaryName);
  const fd = base.createExclusive(temporaryName, 0o600);
  try {
    fs.writeSync(fd, identityOf(folders, epoch));
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
  base.rename(temporaryName, base, identityName);
  base.sync();
}

function identityOf({ root }: Folders, epoch: Buffer): string {
  return `${epoch.toString('hex')} ${root.stat().ino}\n`;
}

function readIdentity({ base }: Folders): string | undefined {
  let fd: number;
  try {
    fd = base.openRead(identityName);
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return undefined;
  }
  try {
    const bytes = Buffer.alloc(sizeMax);
    return bytes.toString('latin1', 0, fs.readSync(fd, bytes, 0, sizeMax, 0));
  } finally {
    fs.closeSync(fd);
  }
}
