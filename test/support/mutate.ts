// Random file operations on a real tree, seeded.
import fs from 'node:fs';
import { join } from 'node:path';
import { pick } from './random.ts';

type Random = () => number;
const plainNames = ['a', 'b', 'c', 'd', 'e', 'f.txt', 'g.bin', 'h'];
const oddNames = [
  Buffer.from('new\nline'),
  Buffer.from('tab\there'),
  Buffer.from([0x66, 0xff, 0xfe, 0x80]),
  Buffer.from('-leading'),
  Buffer.from('x'.repeat(255)),
  Buffer.from('žluťoučký'),
];

type Path = Buffer;
const slash = Buffer.from('/');
const child = (folder: Path, name: Buffer): Path => Buffer.concat([folder, slash, name]);

function newName(random: Random): Buffer {
  if (random() < 0.15) return pick(random, oddNames);
  return Buffer.from(pick(random, plainNames) + Math.floor(random() * 6));
}

export interface Listed {
  readonly files: Path[];
  readonly folders: Path[];
  readonly links: Path[];
}

/** Everything below `root`; folders include the root. */
export function listAll(root: Path): Listed {
  const found: Listed = { files: [], folders: [root], links: [] };
  for (let i = 0; i < found.folders.length; i++) {
    const folder = found.folders[i] ?? root;
    for (const entry of fs.readdirSync(folder, { withFileTypes: true, encoding: 'buffer' })) {
      const path = child(folder, entry.name as unknown as Buffer);
      if (entry.isDirectory()) found.folders.push(path);
      else if (entry.isSymbolicLink()) found.links.push(path);
      else if (entry.isFile()) found.files.push(path);
    }
  }
  return found;
}

function bytes(random: Random, sizeMax: number): Buffer {
  const size = Math.floor(random() ** 3 * sizeMax);
  const made = Buffer.alloc(size);
  const seed = Math.floor(random() * 256);
  for (let i = 0; i < size; i++) made[i] = (i * 31 + seed + (i >> 8) * 17) & 0xff;
  if (random() < 0.15 && size > 100) made.fill(0, Math.floor(size / 4), Math.floor(size / 2));
  return made;
}

const isPrefix = (prefix: Path, path: Path): boolean =>
  path.length > prefix.length &&
  path.subarray(0, prefix.length).equals(prefix) &&
  path[prefix.length] === 0x2f;

type Step = (tree: Listed, random: Random) => void;

/** At least twenty kinds; each may find nothing to do and throw a system error, which is ignored. */
export const steps: Readonly<Record<string, Step>> = {
  create: ({ folders }, random) =>
    fs.writeFileSync(child(pick(random, folders), newName(random)), bytes(random, 60_000)),
  createBig: ({ folders }, random) =>
    fs.writeFileSync(child(pick(random, folders), newName(random)), bytes(random, 700_000)),
  patch: ({ files }, random) => {
    const fd = fs.openSync(pick(random, files), 'r+');
    const { size } = fs.fstatSync(fd);
    fs.writeSync(fd, bytes(random, 50), 0, undefined, Math.floor(random() * size));
    fs.closeSync(fd);
  },
  append: ({ files }, random) => fs.appendFileSync(pick(random, files), bytes(random, 3000)),
  truncate: ({ files }, random) => {
    const file = pick(random, files);
    fs.truncateSync(file, Math.floor(random() * (fs.statSync(file).size + 1)));
  },
  insert: ({ files }, random) => {
    const file = pick(random, files);
    const old = fs.readFileSync(file);
    const at = Math.floor(random() * old.length);
    fs.writeFileSync(
      file,
      Buffer.concat([old.subarray(0, at), bytes(random, 200), old.subarray(at)]),
    );
  },
  saveByRename: ({ files }, random) => {
    const file = pick(random, files);
    const temporary = Buffer.concat([
      file.subarray(0, file.lastIndexOf('/')),
      Buffer.from('/.save~'),
    ]);
    fs.writeFileSync(temporary, bytes(random, 20_000));
    fs.renameSync(temporary, file);
  },
  mkdir: ({ folders }, random) => fs.mkdirSync(child(pick(random, folders), newName(random))),
  mkdirFull: ({ folders }, random) => {
    const folder = child(pick(random, folders), newName(random));
    fs.mkdirSync(folder);
    for (let i = 0; i < 4; i++)
      fs.writeFileSync(child(folder, newName(random)), bytes(random, 2000));
  },
  renameFile: ({ files, folders }, random) =>
    fs.renameSync(pick(random, files), child(pick(random, folders), newName(random))),
  renameFolder: ({ folders }, random) => {
    const from = pick(random, folders.slice(1));
    const to = child(pick(random, folders), newName(random));
    if (!isPrefix(from, to)) fs.renameSync(from, to);
  },
  renameOver: ({ files }, random) => fs.renameSync(pick(random, files), pick(random, files)),
  swapFiles: ({ files }, random) => swap(pick(random, files), pick(random, files)),
  swapFolders: ({ folders }, random) => {
    const a = pick(random, folders.slice(1));
    const b = pick(random, folders.slice(1));
    if (!isPrefix(a, b) && !isPrefix(b, a)) swap(a, b);
  },
  fileToFolder: ({ files }, random) => {
    const file = pick(random, files);
    fs.rmSync(file);
    fs.mkdirSync(file);
    fs.writeFileSync(child(file, Buffer.from('inside')), 'was a file');
  },
  folderToFile: ({ folders }, random) => {
    const folder = pick(random, folders.slice(1));
    fs.rmSync(folder, { recursive: true });
    fs.writeFileSync(folder, 'was a folder');
  },
  remove: ({ files }, random) => fs.rmSync(pick(random, files)),
  removeFolder: ({ folders }, random) =>
    fs.rmSync(pick(random, folders.slice(1)), { recursive: true }),
  recreateOldTimes: ({ files }, random) => {
    const file = pick(random, files);
    const { atimeMs, mtimeMs, size } = fs.statSync(file);
    fs.rmSync(file);
    fs.writeFileSync(
      file,
      bytes(random, 1).length > 0 ? Buffer.alloc(size, 1) : Buffer.alloc(size, 2),
    );
    fs.utimesSync(file, atimeMs / 1000, mtimeMs / 1000);
  },
  sameSizeOldTimes: ({ files }, random) => {
    const file = pick(random, files);
    const { atimeMs, mtimeMs, size } = fs.statSync(file);
    fs.writeFileSync(file, Buffer.alloc(size, Math.floor(random() * 256)));
    fs.utimesSync(file, atimeMs / 1000, mtimeMs / 1000);
  },
  chmod: ({ files }, random) =>
    fs.chmodSync(pick(random, files), pick(random, [0o644, 0o600, 0o755, 0o444, 0o666])),
  chmodFolder: ({ folders }, random) =>
    fs.chmodSync(pick(random, folders), pick(random, [0o755, 0o700, 0o775])),
  touch: ({ files }, random) =>
    fs.utimesSync(pick(random, files), 1e9, Math.floor(random() * 2e9) + random()),
  touchFolder: ({ folders }, random) =>
    fs.utimesSync(pick(random, folders), 1e9, Math.floor(random() * 2e9) + random()),
  symlink: ({ folders }, random) =>
    fs.symlinkSync(
      pick(random, ['a1', '../b2', '/nowhere/at/all', 'dangling']),
      child(pick(random, folders), newName(random)),
    ),
  resymlink: ({ links }, random) => {
    const link = pick(random, links);
    fs.rmSync(link);
    fs.symlinkSync(`to-${Math.floor(random() * 9)}`, link);
  },
  hardlink: ({ files, folders }, random) =>
    fs.linkSync(pick(random, files), child(pick(random, folders), newName(random))),
  copy: ({ files, folders }, random) =>
    fs.copyFileSync(pick(random, files), child(pick(random, folders), newName(random))),
};

function swap(a: Path, b: Path): void {
  if (a.equals(b)) return;
  const between = Buffer.concat([a.subarray(0, a.lastIndexOf('/')), Buffer.from('/.swap~')]);
  fs.renameSync(a, between);
  fs.renameSync(b, a);
  fs.renameSync(between, b);
}

/** Does one random step; returns its kind, or undefined when there was nothing to do it on. */
export function mutate(root: string, random: Random): string | undefined {
  const kind = pick(random, Object.keys(steps));
  try {
    steps[kind]?.(listAll(Buffer.from(root)), random);
    return kind;
  } catch (error) {
    if (error instanceof Error && ('code' in error || error instanceof RangeError))
      return undefined;
    throw error;
  }
}

export function fillTree(root: string, random: Random, count: number): void {
  fs.mkdirSync(root, { recursive: true });
  for (const name of ['one', 'two', 'two/three'])
    fs.mkdirSync(join(root, name), { recursive: true });
  const creating = ['create', 'mkdir', 'mkdirFull', 'symlink', 'hardlink', 'create'];
  for (let i = 0; i < count; i++) {
    try {
      steps[pick(random, creating)]?.(listAll(Buffer.from(root)), random);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
    }
  }
}
