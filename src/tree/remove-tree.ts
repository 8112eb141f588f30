// Removes a whole tree through confined handles, however deep it is, with few open descriptors.
import { systemCode } from '../errors.ts';
import { type Name, toName } from '../snapshot/name.ts';
import type { ConfinedDirectory } from './confined-directory.ts';
import { SystemError } from './system-error.ts';

/** Descriptors held at a time. What lies deeper is first moved up to the top of the doomed tree. */
const heldDepthMax = 32;
/** Times a directory is listed again because somebody keeps adding to it. */
const listingsMax = 8;

interface Frame {
  readonly directory: ConfinedDirectory;
  readonly name: Name;
  readonly names: Name[];
  listings: number;
}

/**
 * Removes the entry `name` and everything below it; nothing there is fine. A doomed directory
 * without permissions is opened up first. Stops at the first error, with a part already removed.
 */
export function removeTree(parent: ConfinedDirectory, name: Name): void {
  if (!unlinkUnlessDirectory(parent, name)) return;
  const frames: Frame[] = [enter(parent, name)];
  let liftedCount = 0;
  try {
    for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
      const child = frame.names.pop();
      if (child === undefined) {
        if (!leave(frames.at(-2)?.directory ?? parent, frame)) continue;
        frames.pop();
        frame.directory.release();
      } else if (unlinkUnlessDirectory(frame.directory, child)) {
        if (frames.length < heldDepthMax) frames.push(enter(frame.directory, child));
        else liftedCount = lift(frame.directory, child, frames[0] ?? frame, liftedCount);
      }
    }
  } finally {
    for (const { directory } of frames) directory.release();
  }
}

/** True if `name` is a directory; anything else is gone afterwards. */
function unlinkUnlessDirectory(parent: ConfinedDirectory, name: Name): boolean {
  const stat = parent.lstat(name);
  if (stat?.isDirectory()) return true;
  if (stat) ignoring('ENOENT', () => parent.unlink(name));
  return false;
}

function enter(parent: ConfinedDirectory, name: Name): Frame {
  // Without /proc a directory must be readable to be opened, so this comes first.
  if (parent.confinement === 'checked') parent.chmod(name, 0o700);
  const directory = parent.sub(name);
  try {
    if ((directory.stat().mode & 0o700n) !== 0o700n) directory.chmodSelf(0o700);
    return { directory, name, names: directory.list(), listings: 1 };
  } catch (error) {
    directory.release();
    throw error;
  }
}

/** Removes the emptied directory; false if there is something in it again. */
function leave(parent: ConfinedDirectory, frame: Frame): boolean {
  try {
    parent.rmdir(frame.name);
    return true;
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT') return true;
    if (code !== 'ENOTEMPTY' || frame.listings >= listingsMax) throw error;
    frame.listings++;
    frame.names.push(...frame.directory.list());
    return false;
  }
}

/** Moves a too deep directory to the top of the doomed tree, where its turn comes later. */
function lift(from: ConfinedDirectory, name: Name, top: Frame, liftedCount: number): number {
  // Moving a directory rewrites its '..', which takes write permission on itself.
  if (((from.lstat(name)?.mode ?? 0o700n) & 0o700n) !== 0o700n) from.chmod(name, 0o700);
  for (let count = liftedCount; count < Number.MAX_SAFE_INTEGER; count++) {
    const lifted = toName(`lifted-${count}`);
    if (top.directory.lstat(lifted) !== undefined) continue;
    from.rename(name, top.directory, lifted);
    top.names.push(lifted);
    return count + 1;
  }
  throw new SystemError('ENFILE', 'no free name');
}

function ignoring(code: string, action: () => void): void {
  try {
    action();
  } catch (error) {
    if (systemCode(error) !== code) throw error;
  }
}
