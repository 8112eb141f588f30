// Trees as literals: make one on disk, read one back, compare two. Independent of the product's
// own reading code. Names are latin1 strings (one char, one byte), as in the product.
//
//   createTree(root, { 'a.txt': 'hello', empty: {}, 'b.txt': hardLink('a.txt'), l: link('a.txt'),
//     d: directory({ x: file('', { mode: 0o400 }) }, { mtimeNs: 1_000n }) });
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { fileTime } from '../../src/tree/times.ts';

type SystemPath = Buffer;

export interface Attributes {
  /** Default: 0o644 for files, 0o755 for directories. */
  readonly mode?: number;
  /** Default: 2020-09-13T12:26:40Z and then one second per entry, so that times differ. */
  readonly mtimeNs?: bigint;
}

/** Content from front to back; a number is a hole of that many bytes. */
export type Content = string | Uint8Array | readonly (string | Uint8Array | number)[];

type Special =
  | { readonly kind: 'file'; readonly content: Content; readonly attributes: Attributes }
  | { readonly kind: 'directory'; readonly tree: TreeLiteral; readonly attributes: Attributes }
  | { readonly kind: 'link'; readonly target: string; readonly attributes: Attributes }
  | { readonly kind: 'hardLink'; readonly path: string }
  | { readonly kind: 'pipe' };

class Node {
  readonly made: Special;
  constructor(made: Special) {
    this.made = made;
  }
}

/** A string is a file with that content (UTF-8), an object a directory. */
export interface TreeLiteral {
  readonly [name: string]: string | Uint8Array | Node | TreeLiteral;
}

export const file = (content: Content, attributes: Attributes = {}): Node =>
  new Node({ kind: 'file', content, attributes });
export const directory = (tree: TreeLiteral, attributes: Attributes = {}): Node =>
  new Node({ kind: 'directory', tree, attributes });
/** `target`: latin1. */
export const link = (target: string, attributes: Attributes = {}): Node =>
  new Node({ kind: 'link', target, attributes });
/** One more name for the file at `path` (from the root), which must come earlier. */
export const hardLink = (path: string): Node => new Node({ kind: 'hardLink', path });
export const pipe = (): Node => new Node({ kind: 'pipe' });

/** Makes the tree below `root`, which is created if missing. */
export function createTree(root: string, tree: TreeLiteral): void {
  const top = Buffer.from(root);
  fs.mkdirSync(top, { recursive: true });
  let count = 0;
  const nextTimeNs = (): bigint => 1_600_000_000_000_000_000n + BigInt(++count) * 1_000_000_000n;
  const make = (folder: SystemPath, literal: TreeLiteral): void => {
    for (const [name, value] of Object.entries(literal)) {
      const path = join(folder, name);
      const { made } = toNode(value);
      switch (made.kind) {
        case 'file':
          writeContent(path, made.content);
          setAttributes(path, made.attributes, 0o644, nextTimeNs());
          break;
        case 'directory':
          fs.mkdirSync(path);
          make(path, made.tree);
          // After what is inside, which moves the time and may need the permissions.
          setAttributes(path, made.attributes, 0o755, nextTimeNs());
          break;
        case 'link':
          fs.symlinkSync(Buffer.from(made.target, 'latin1'), path);
          setTime(path, made.attributes.mtimeNs ?? nextTimeNs());
          break;
        case 'hardLink':
          fs.linkSync(join(top, made.path), path);
          break;
        case 'pipe':
          makePipe(path);
          setTime(path, nextTimeNs());
      }
    }
  };
  make(top, tree);
  setTime(top, nextTimeNs());
}

function toNode(value: TreeLiteral[string]): Node {
  if (value instanceof Node) return value;
  if (typeof value === 'string' || value instanceof Uint8Array) return file(value);
  // What is left of the union; TypeScript does not narrow an index signature by instanceof.
  return directory(value as TreeLiteral);
}

function writeContent(path: SystemPath, content: Content): void {
  const parts =
    typeof content === 'string' || content instanceof Uint8Array ? [content] : [...content];
  const fd = fs.openSync(path, 'wx');
  let size = 0;
  for (const part of parts) {
    if (typeof part !== 'number') {
      const bytes = typeof part === 'string' ? Buffer.from(part) : part;
      fs.writeSync(fd, bytes, 0, bytes.length, size);
      size += bytes.length;
    } else size += part;
  }
  fs.ftruncateSync(fd, size);
  fs.closeSync(fd);
}

function makePipe(path: SystemPath): void {
  const { status, stderr } = spawnSync('mkfifo', [path.toString()], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
}

function setAttributes(
  path: SystemPath,
  attributes: Attributes,
  mode: number,
  mtimeNs: bigint,
): void {
  fs.chmodSync(path, attributes.mode ?? mode);
  setTime(path, attributes.mtimeNs ?? mtimeNs);
}

/** Sets a time to the microsecond; newer versions of Node leave some nanoseconds in it. */
export function setTime(path: string | Buffer, mtimeNs: bigint): void {
  fs.lutimesSync(path, Date.now() / 1000, fileTime(mtimeNs));
}

/** What is compared of one entry; each line of `compareTrees` names one of these. */
export interface TreeEntry {
  readonly kind: string;
  /** Octal; '' for links. */
  readonly mode: string;
  readonly size: bigint;
  /** Whole microseconds, downwards. */
  readonly mtimeUs: bigint;
  /** SHA-256 of the content; 'unreadable' without permission; '' but for files. */
  readonly hash: string;
  /** Latin1. */
  readonly target: string;
  /** The names of the same file within the tree, sorted; '' if it has one. */
  readonly hardLinks: string;
}

/** Every entry by path from the root (latin1); the root itself is ''. Skips `/.replica`. */
export function readTree(root: string): Map<string, TreeEntry> {
  const found = new Map<string, TreeEntry>();
  const names = new Map<string, string[]>();
  const inodes = new Map<string, string>();
  const read = (path: string): void => {
    const full = path === '' ? Buffer.from(root) : join(Buffer.from(root), path);
    const stat = fs.lstatSync(full, { bigint: true });
    const inode = `${stat.dev}:${stat.ino}`;
    if (!stat.isDirectory()) {
      inodes.set(path, inode);
      names.set(inode, [...(names.get(inode) ?? []), path]);
    }
    found.set(path, describe(full, stat));
    if (!stat.isDirectory() || isWithoutPermission(() => fs.readdirSync(full))) return;
    for (const name of fs.readdirSync(full, 'latin1').sort()) {
      if (path === '' && name === '.replica') continue;
      read(path === '' ? name : `${path}/${name}`);
    }
  };
  read('');
  for (const [path, inode] of inodes) {
    const group = names.get(inode) ?? [];
    const entry = found.get(path);
    if (entry && group.length > 1) found.set(path, { ...entry, hardLinks: group.sort().join(' ') });
  }
  return found;
}

function describe(full: SystemPath, stat: fs.BigIntStats): TreeEntry {
  return {
    kind: kindOf(stat),
    mode: stat.isSymbolicLink() ? '' : (stat.mode & 0o7777n).toString(8),
    size: stat.isDirectory() ? 0n : stat.size,
    mtimeUs: wholeMicroseconds(stat.mtimeNs),
    hash: stat.isFile() ? hashOf(full) : '',
    target: stat.isSymbolicLink() ? fs.readlinkSync(full, 'latin1') : '',
    hardLinks: '',
  };
}

function wholeMicroseconds(timeNs: bigint): bigint {
  const rest = timeNs % 1000n;
  return (timeNs - (rest < 0n ? rest + 1000n : rest)) / 1000n;
}

function kindOf(stat: fs.BigIntStats): string {
  if (stat.isFile()) return 'file';
  if (stat.isDirectory()) return 'directory';
  if (stat.isSymbolicLink()) return 'link';
  return stat.isFIFO() ? 'pipe' : 'other';
}

function hashOf(full: SystemPath): string {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(1024 * 1024);
  let fd = -1;
  if (isWithoutPermission(() => (fd = fs.openSync(full, 'r')))) return 'unreadable';
  for (let size = 1; size > 0; ) {
    size = fs.readSync(fd, buffer, 0, buffer.length, null);
    hash.update(buffer.subarray(0, size));
  }
  fs.closeSync(fd);
  return hash.digest('hex');
}

function isWithoutPermission(action: () => void): boolean {
  try {
    action();
    return false;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EACCES') return true;
    throw error;
  }
}

/** Differences of two trees, one a line, without `/.replica`; empty if they are equal. */
export function compareTrees(a: string, b: string): string[] {
  return compareReadTrees(readTree(a), readTree(b));
}

/** As `compareTrees`, of what was read at some time. */
export function compareReadTrees(
  a: ReadonlyMap<string, TreeEntry>,
  b: ReadonlyMap<string, TreeEntry>,
): string[] {
  const differences: string[] = [];
  for (const path of [...new Set([...a.keys(), ...b.keys()])].sort()) {
    const left = a.get(path);
    const right = b.get(path);
    const shown = JSON.stringify(path);
    if (!left || !right) differences.push(`${shown} only in the ${left ? 'first' : 'second'}`);
    else {
      for (const field of fields) {
        if (left[field] !== right[field]) {
          differences.push(`${shown} ${field}: ${left[field]} and ${right[field]}`);
        }
      }
    }
  }
  return differences;
}

const fields = ['kind', 'mode', 'size', 'mtimeUs', 'hash', 'target', 'hardLinks'] as const;

function join(folder: SystemPath, latin1: string): SystemPath {
  return Buffer.concat([folder, Buffer.from('/'), Buffer.from(latin1, 'latin1')]);
}
