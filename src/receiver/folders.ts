// The destination and its private folder, held open by descriptor. A sender can never name
// anything in it.
import { ReplicaError, systemCode } from '../errors.ts';
import { type Name, toName } from '../snapshot/name.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';

/** Reserved at the root of the tree. */
export const privateName = toName('.replica');

export class Folders {
  readonly root: ConfinedDirectory;
  /** `.replica` itself. */
  readonly base: ConfinedDirectory;
  /** New content until it is renamed into place. */
  readonly staging: ConfinedDirectory;
  /** Stages that were cut short, and the block lists of all large ones. */
  readonly unfinished: ConfinedDirectory;
  /** Nodes displaced by an operation, until the end of their commit. */
  readonly limbo: ConfinedDirectory;
  readonly kept: ConfinedDirectory;
  readonly #ignoresCase: boolean;

  /** Makes what is missing. Takes `root` over. Throws ERR_PATH. */
  static open(root: ConfinedDirectory): Folders {
    const base = openPrivate(root, privateName);
    return new Folders(root, base);
  }

  private constructor(root: ConfinedDirectory, base: ConfinedDirectory) {
    this.root = root;
    this.base = base;
    this.staging = openPrivate(base, toName('staging'));
    this.unfinished = openPrivate(base, toName('unfinished'));
    this.limbo = openPrivate(base, toName('limbo'));
    this.kept = openPrivate(base, toName('kept'));
    const other = root.lstat(toName(privateName.toUpperCase()));
    this.#ignoresCase = other !== undefined && other.ino === base.stat().ino;
  }

  /** Nothing can be made in a folder that has no name any more. Throws ERR_IO. */
  refuseRemoved(): void {
    if (this.root.stat().nlink > 0n) return;
    const message = 'the destination was removed while the receiver ran: start it again';
    throw new ReplicaError('ERR_IO', message);
  }

  /** Is `name`, at the root, that of the private folder? */
  isReserved(name: Name): boolean {
    return name === privateName || (this.#ignoresCase && name.toLowerCase() === privateName);
  }

  close(): void {
    for (const folder of [
      this.kept,
      this.limbo,
      this.unfinished,
      this.staging,
      this.base,
      this.root,
    ]) {
      folder.release();
    }
  }
}

function openPrivate(parent: ConfinedDirectory, name: Name): ConfinedDirectory {
  try {
    if (!parent.lstat(name)) parent.mkdir(name, 0o700);
    const folder = parent.sub(name);
    if ((folder.stat().mode & 0o777n) !== 0o700n) folder.chmodSelf(0o700);
    return folder;
  } catch (error) {
    const code = systemCode(error);
    const isForbidden = code === 'EACCES' || code === 'EPERM';
    const remedy = isForbidden ? ': run as the user whom the destination belongs to' : '';
    const message = `cannot use the private folder '${name}' (${code})${remedy}`;
    throw new ReplicaError('ERR_PATH', message, { cause: error });
  }
}
