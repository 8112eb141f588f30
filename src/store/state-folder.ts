// The folder that holds the state of one destination: where it is, and what becomes of one that
// cannot be used.
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { ReplicaError, systemCode } from '../errors.ts';
import { realPathOf } from './real-path.ts';

/** The folder below `stateFolder` for the destination `root`. One folder serves many. */
export function stateFolderFor(root: string, stateFolder: string): string {
  const real = fs.realpathSync(root, 'latin1');
  const hash = createHash('sha256').update(Buffer.from(real, 'latin1')).digest('hex');
  return join(stateFolder, hash.slice(0, 32));
}

/** Makes the folder that the user named. Throws ERR_PATH. */
export function makeStateFolder(stateFolder: string): void {
  try {
    fs.mkdirSync(stateFolder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const code = systemCode(cause) ?? 'unknown error';
    const message = `cannot make the state folder '${stateFolder}': ${code}`;
    throw new ReplicaError('ERR_PATH', message, { cause });
  }
}

/** Does `folder`, which need not exist, lie in `root` or is it the same? */
export function isInside(folder: string, root: string): boolean {
  const real = fs.realpathSync(root);
  const way = relative(real, realPathOf(resolve(folder)));
  return way === '' || !(way === '..' || way.startsWith('../') || way.startsWith('/'));
}

/** Removes what an interrupted first start or rebuild left. */
export function discardState(folder: string): void {
  for (const name of ['data.mdb', 'lock.mdb']) fs.rmSync(join(folder, name), { force: true });
}

/** Moves an unusable state aside, in place of one moved before; where it is then. */
export function setStateAside(folder: string): string {
  const aside = `${folder}.damaged`;
  fs.rmSync(aside, { recursive: true, force: true });
  fs.renameSync(folder, aside);
  return aside;
}
