// File operations of a model program on a real tree, and every version of a file they made.
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import type { Operation } from './model-program.ts';
import { randomBytes, seededRandom } from './random.ts';

/** The contents that some file had at some time. */
export class Versions {
  readonly #hashes = new Set<string>();

  constructor() {
    this.add(Buffer.alloc(0));
  }

  add(content: Buffer): void {
    this.#hashes.add(hashOf(content));
  }

  has(content: Buffer): boolean {
    return this.#hashes.has(hashOf(content));
  }
}

function hashOf(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

/** Does one operation below `root`; false: it did not fit the tree as it is. */
export function applyOperation(root: string, operation: Operation, versions: Versions): boolean {
  try {
    apply(root, operation, versions);
    return true;
  } catch (error) {
    if (error instanceof Error && 'syscall' in error) return false;
    throw error;
  }
}

function apply(root: string, operation: Operation, versions: Versions): void {
  const path = join(root, operation.path);
  switch (operation.kind) {
    case 'write': {
      const bytes = content(operation);
      versions.add(bytes);
      const fd = fs.openSync(path, writeFlags);
      fs.writeSync(fd, bytes);
      fs.closeSync(fd);
      break;
    }
    case 'save': {
      const bytes = content(operation);
      versions.add(bytes);
      // Beside the tree, on its file system: the source never has an unfinished file.
      const temporary = `${root}~`;
      fs.writeFileSync(temporary, bytes);
      fs.renameSync(temporary, path);
      break;
    }
    case 'append': {
      const fd = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_NOFOLLOW);
      const bytes = content(operation);
      versions.add(Buffer.concat([fs.readFileSync(path), bytes]));
      fs.writeSync(fd, bytes, 0, bytes.length, fs.fstatSync(fd).size);
      fs.closeSync(fd);
      break;
    }
    case 'patch': {
      const fd = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_NOFOLLOW);
      const whole = fs.readFileSync(path);
      const bytes = content({ ...operation, size: Math.min(operation.size, whole.length, 100) });
      const at = operation.seed % (whole.length - bytes.length + 1);
      bytes.copy(whole, at);
      versions.add(whole);
      fs.writeSync(fd, bytes, 0, bytes.length, at);
      fs.closeSync(fd);
      break;
    }
    case 'truncate': {
      const fd = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_NOFOLLOW);
      const whole = fs.readFileSync(path);
      versions.add(whole.subarray(0, operation.size));
      fs.ftruncateSync(fd, Math.min(operation.size, whole.length));
      fs.closeSync(fd);
      break;
    }
    case 'rename':
      fs.renameSync(path, join(root, operation.to));
      break;
    case 'swap':
      swap(root, path, join(root, operation.to));
      break;
    case 'link':
      // Of symbolic links the names are replicated, not that they are one.
      if (!fs.lstatSync(path).isFile()) break;
      fs.linkSync(path, join(root, operation.to));
      break;
    case 'copy':
      if (!fs.lstatSync(path).isFile()) break;
      fs.copyFileSync(path, `${root}~`);
      fs.renameSync(`${root}~`, join(root, operation.to));
      break;
    case 'unlink':
      fs.unlinkSync(path);
      break;
    case 'mkdir':
      fs.mkdirSync(path);
      break;
    case 'remove':
      fs.rmSync(path, { recursive: true });
      break;
    case 'chmod':
      if (!fs.lstatSync(path).isSymbolicLink()) fs.chmodSync(path, operation.mode);
      break;
    case 'touch':
      fs.lutimesSync(path, operation.seconds, operation.seconds);
      break;
    case 'symlink':
      fs.symlinkSync(operation.target, path);
  }
}

const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW } = fs.constants;
const writeFlags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW;

function content(operation: { readonly size: number; readonly seed: number }): Buffer {
  const bytes = randomBytes(seededRandom(operation.seed), operation.size);
  // Runs of zeros are holes at the destination.
  if (operation.seed % 7 === 0) bytes.fill(0, bytes.length >> 2, bytes.length >> 1);
  return bytes;
}

function swap(root: string, a: string, b: string): void {
  if (a.startsWith(`${b}/`) || b.startsWith(`${a}/`) || a === b) return;
  fs.lstatSync(b);
  fs.renameSync(a, join(root, '~'));
  fs.renameSync(b, a);
  fs.renameSync(join(root, '~'), b);
}
