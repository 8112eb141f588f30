// Question: in which order must a commit's steps be made durable, so that a power cut after any
// of them leaves no torn file, loses nothing acknowledged, and is never mistaken for drift?
//
// A toy receiver applies every small program of operations to an ext4 image that lies on XFS with
// reflinks. After every step the image is cloned as it is: what the kernel has not yet written to
// it is lost, as in a power cut. The clone is mounted, looked at, recovered, looked at again.
// Needs root, mkfs.ext4, mkfs.xfs and loop devices. Node's built-ins only; nothing from src/.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

type Phase = 'stage' | 'data' | 'intent' | 'place' | 'times' | 'dirs' | 'state' | 'ack';

/** What is tried. `verify`: recovery hashes staged content before it trusts an intent. */
interface Order {
  readonly phases: readonly Phase[];
  readonly verify: 'no' | 'by path' | 'anywhere';
}

const orders: Record<string, Order> = {
  good: order('stage data intent place times dirs state ack'),
  // The intent before the data is durable, so recovery must hash.
  design: order('stage intent data place times dirs state ack', 'anywhere'),
  'design-by-path': order('stage intent data place times dirs state ack', 'by path'),
  'design-unverified': order('stage intent data place times dirs state ack'),
  // Acknowledged once visible; directories and state follow. The durable intent carries it.
  early: order('stage data intent place times ack dirs state'),
  'wrong-rename-first': order('stage intent place times dirs data state ack'),
  'wrong-ack-first': order('stage data intent place times state ack dirs'),
  'wrong-no-intent': order('stage data place times dirs state ack'),
};

function order(text: string, verify: Order['verify'] = 'no'): Order {
  // The words above are phases.
  return { phases: text.split(' ') as Phase[], verify };
}

// --- The toy's data: a tree by path, and what the receiver writes down about it. ---

interface Node {
  readonly kind: 'file' | 'directory';
  readonly ino: number;
  /** File content is a function of this word. */
  readonly word: string;
}
type Tree = Map<string, Node>;

interface Record_ {
  readonly kind: string;
  readonly ino: number;
  readonly size: number;
  readonly mtimeNs: string;
  readonly ctimeNs: string;
}
interface State {
  readonly commit: number;
  readonly records: Readonly<Record<string, Record_>>;
}

/** Primitives name the inode they act on, so that each can be done again or found done. */
type Primitive =
  | { readonly kind: 'link'; readonly ino: number; readonly from: string; readonly to: string }
  | { readonly kind: 'move'; readonly ino: number; readonly from: string; readonly to: string };

interface Staged {
  readonly path: string;
  readonly ino: number;
  readonly digest: string;
}
interface Intent {
  readonly commit: number;
  readonly primitives: readonly Primitive[];
  readonly staged: readonly Staged[];
  /** Directories whose mtime the commit sets, by final path. */
  readonly times: readonly (readonly [string, number])[];
  /** The tree afterwards. */
  readonly tree: readonly (readonly [string, Node])[];
}

const zone = '.replica';
const keptFolder = `${zone}/kept`;
const stageFolder = `${zone}/stage`;
const limboFolder = `${zone}/limbo`;

function contentOf(word: string): Buffer {
  return Buffer.from(`${word} `.repeat(Math.ceil(6000 / (word.length + 1))));
}

function digestOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

// --- Operations and programs. ---

type Operation =
  | { readonly do: 'write'; readonly path: string }
  | { readonly do: 'mkdir'; readonly path: string }
  | { readonly do: 'rename'; readonly path: string; readonly to: string }
  | { readonly do: 'delete'; readonly path: string }
  | { readonly do: 'swap'; readonly path: string; readonly to: string };

const initial: readonly (readonly [string, string | undefined])[] = [
  ['a', 'a0'],
  ['b', 'b0'],
  ['d', undefined],
  ['d/x', 'x0'],
  ['e', undefined],
];

/** The alphabet; a word of several operations always goes into one commit. */
const alphabet: Record<string, readonly Operation[]> = {
  create: [{ do: 'write', path: 'n' }],
  'create in d': [{ do: 'write', path: 'd/n' }],
  overwrite: [{ do: 'write', path: 'a' }],
  'overwrite in d': [{ do: 'write', path: 'd/x' }],
  rename: [{ do: 'rename', path: 'a', to: 'n' }],
  'rename across': [{ do: 'rename', path: 'd/x', to: 'e/y' }],
  'rename over': [{ do: 'rename', path: 'a', to: 'b' }],
  'rename directory': [{ do: 'rename', path: 'd', to: 'f' }],
  delete: [{ do: 'delete', path: 'b' }],
  'delete directory': [{ do: 'delete', path: 'd' }],
  mkdir: [
    { do: 'mkdir', path: 'm' },
    { do: 'write', path: 'm/k' },
  ],
  swap: [{ do: 'swap', path: 'a', to: 'b' }],
  'file to directory': [
    { do: 'mkdir', path: 'a' },
    { do: 'write', path: 'a/k' },
  ],
  'directory to file': [{ do: 'write', path: 'd' }],
};

/** A list of commits. Undefined if an operation does not fit the tree it meets. */
function isPossible(program: readonly (readonly Operation[])[]): boolean {
  const kinds = new Map(initial.map(([path, word]) => [path, word === undefined ? 'd' : 'f']));
  const isDirectory = (path: string) => path === '' || kinds.get(path) === 'd';
  const drop = (path: string) => {
    for (const key of [...kinds.keys()]) if (isWithin(key, path)) kinds.delete(key);
  };
  for (const operation of program.flat()) {
    const { path } = operation;
    if (!isDirectory(parentOf(path))) return false;
    if (operation.do === 'write' || operation.do === 'mkdir') {
      if (operation.do === 'mkdir' && kinds.get(path) === 'd') return false;
      drop(path);
      kinds.set(path, operation.do === 'write' ? 'f' : 'd');
    } else if (operation.do === 'delete') {
      if (!kinds.has(path)) return false;
      drop(path);
    } else {
      const { to } = operation;
      if (!kinds.has(path) || !isDirectory(parentOf(to)) || isWithin(to, path)) return false;
      if (operation.do === 'swap') {
        if (kinds.get(path) !== 'f' || kinds.get(to) !== 'f') return false;
        continue;
      }
      drop(to);
      for (const [key, kind] of [...kinds]) {
        if (!isWithin(key, path)) continue;
        kinds.delete(key);
        kinds.set(to + key.slice(path.length), kind);
      }
    }
  }
  return true;
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

function parentOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '' : path.slice(0, slash);
}

// --- The toy receiver. ---

class Replica {
  readonly root: string;
  tree: Tree;
  state: State;
  readonly #slotsInPlace: boolean;

  constructor(root: string, slotsInPlace: boolean) {
    this.root = root;
    this.#slotsInPlace = slotsInPlace;
    this.state = this.#readSlot<State>('state') ?? { commit: 0, records: {} };
    this.tree = new Map();
    for (const [path, { kind, ino }] of Object.entries(this.state.records)) {
      // Only the two kinds are ever recorded.
      this.tree.set(path, { kind: kind as Node['kind'], ino, word: '' });
    }
  }

  /** Applies a commit, yielding after each step. */
  *apply(
    commit: number,
    operations: readonly Operation[],
    { phases }: Order,
  ): Generator<Phase | 'stage'> {
    const { intent, stage } = this.#plan(commit, operations);
    for (const phase of phases) {
      if (phase === 'stage') {
        for (const step of stage) {
          step();
          yield 'stage';
        }
      } else if (phase === 'data') {
        execFileSync('sync', ['-f', this.root]);
        yield 'data';
      } else if (phase === 'intent') {
        this.#writeSlot('intent', intent(), commit);
        yield 'intent';
      } else if (phase === 'place') {
        for (const primitive of intent().primitives) {
          this.#do(primitive);
          yield 'place';
        }
      } else if (phase === 'times') {
        this.#setTimes(intent());
        yield 'times';
      } else if (phase === 'dirs') {
        for (const folder of this.#touched(intent())) {
          this.#syncFolder(folder);
          yield 'dirs';
        }
      } else if (phase === 'state') {
        this.#finish(intent());
        yield 'state';
      } else {
        yield 'ack';
      }
    }
  }

  /** Brings the tree to a whole commit, yielding after each step; can be run again at any point. */
  *recover(verify: Order['verify']): Generator<void> {
    const intent = this.#readSlot<Intent>('intent');
    if (intent !== undefined && intent.commit === this.state.commit + 1) {
      if (verify === 'no' || this.#isWhole(intent, verify === 'by path')) {
        for (const primitive of intent.primitives) {
          this.#do(primitive);
          yield;
        }
        this.#setTimes(intent);
        yield;
        for (const folder of this.#touched(intent)) this.#syncFolder(folder);
        yield;
        this.#finish(intent);
        yield;
      }
    }
    for (const folder of [stageFolder, limboFolder]) {
      for (const name of fs.readdirSync(this.#at(folder))) {
        fs.rmSync(this.#at(`${folder}/${name}`), { recursive: true });
      }
    }
  }

  /** Paths that are not as recorded. */
  drift(): string[] {
    const seen = new Set<string>();
    const wrong: string[] = [];
    for (const path of listTree(this.root)) {
      seen.add(path);
      const expected = this.state.records[path];
      if (JSON.stringify(expected) !== JSON.stringify(this.#record(path))) wrong.push(path);
    }
    for (const path of Object.keys(this.state.records)) if (!seen.has(path)) wrong.push(path);
    return wrong;
  }

  /** Writes the initial records. */
  adopt(): void {
    const tree: Tree = new Map();
    for (const path of listTree(this.root)) {
      const stat = fs.lstatSync(this.#at(path));
      tree.set(path, { kind: stat.isFile() ? 'file' : 'directory', ino: stat.ino, word: '' });
    }
    const empty = { primitives: [], staged: [], times: [] };
    // Twice, so that both slots have their blocks.
    this.#writeSlot('intent', { ...empty, commit: -1, tree: [] }, 0);
    this.#writeSlot('intent', { ...empty, commit: -1, tree: [] }, 1);
    this.#finish({ ...empty, commit: -1, tree: [...tree] });
    this.#finish({ ...empty, commit: 0, tree: [...tree] });
  }

  #at(path: string): string {
    return join(this.root, path);
  }

  #inoAt(path: string): number | undefined {
    try {
      return fs.lstatSync(this.#at(path)).ino;
    } catch (error) {
      // A directory on the way may have become a file since: ENOTDIR, which throwIfNoEntry throws.
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
      throw error;
    }
  }

  #plan(commit: number, operations: readonly Operation[]) {
    const tree: Tree = new Map(this.tree);
    const stage: (() => void)[] = [];
    const later: (() => Primitive)[] = [];
    const staged: Staged[] = [];
    const touched = new Set<(() => number) | undefined>();
    let serial = 0;
    const fresh = (folder: string) => `${folder}/${commit}-${serial++}`;
    // Inodes of staged nodes are known only once staged: nodes are looked up when asked.
    const inoOf = new Map<string, () => number>();
    for (const [path, node] of tree) inoOf.set(path, () => node.ino);
    const at = (path: string): (() => number) => inoOf.get(path) ?? assert.fail(path);
    const push = (kind: 'link' | 'move', ino: () => number, from: string, to: string) =>
      later.push(() => ({ kind, ino: ino(), from, to }));
    const shift = (from: string, to: string | undefined) => {
      for (const [path, node] of [...tree]) {
        if (!isWithin(path, from)) continue;
        const ino = at(path);
        tree.delete(path);
        inoOf.delete(path);
        if (to === undefined) continue;
        tree.set(to + path.slice(from.length), node);
        inoOf.set(to + path.slice(from.length), ino);
      }
    };
    const toKept = (path: string) => {
      push('move', at(path), path, fresh(keptFolder));
      shift(path, undefined);
    };
    /** Makes room at `path` for a node of `kind`: a file stays visible until it is replaced. */
    const makeRoom = (path: string, kind: Node['kind']) => {
      const there = tree.get(path);
      if (there === undefined) return;
      if (there.kind === 'file' && kind === 'file') {
        push('link', at(path), path, fresh(keptFolder));
        shift(path, undefined);
      } else toKept(path);
    };
    /** True if a later operation of the commit puts a file where one is now: no gap then. */
    const isRetaken = (path: string, i: number) =>
      !options.plainRenames &&
      tree.get(path)?.kind === 'file' &&
      operations.slice(i + 1).some(next => {
        if (next.do === 'write') return next.path === path;
        return next.do === 'rename' && next.to === path && tree.get(next.path)?.kind === 'file';
      });
    for (const [i, operation] of operations.entries()) {
      const { path } = operation;
      touched.add(inoOf.get(parentOf(path)));
      if (operation.do === 'write' || operation.do === 'mkdir') {
        const kind = operation.do === 'write' ? 'file' : 'directory';
        const stagePath = fresh(stageFolder);
        const word = `${commit}:${stagePath.slice(stageFolder.length + 1)}:${path}`;
        let ino = 0;
        stage.push(() => {
          ino = kind === 'file' ? this.#stageFile(stagePath, word) : this.#stageFolder(stagePath);
          const digest = kind === 'file' ? digestOf(contentOf(word)) : '';
          staged.push({ path: stagePath, ino, digest });
        });
        makeRoom(path, kind);
        push('move', () => ino, stagePath, path);
        tree.set(path, { kind, ino: 0, word });
        inoOf.set(path, () => ino);
        if (kind === 'directory') touched.add(inoOf.get(path));
      } else if (operation.do === 'delete') {
        if (!isRetaken(path, i)) toKept(path);
      } else if (operation.do === 'rename' && isRetaken(path, i)) {
        // As an editor that keeps a backup: the old name stays until it is replaced.
        touched.add(inoOf.get(parentOf(operation.to)));
        const limbo = fresh(limboFolder);
        push('link', at(path), path, limbo);
        makeRoom(operation.to, 'file');
        push('move', at(path), limbo, operation.to);
        shift(path, operation.to);
      } else if (operation.do === 'rename') {
        touched.add(inoOf.get(parentOf(operation.to)));
        makeRoom(operation.to, tree.get(path)?.kind ?? assert.fail());
        push('move', at(path), path, operation.to);
        shift(path, operation.to);
      } else {
        // Hard links first, so that neither name is ever missing.
        const { to } = operation;
        const limbo = [fresh(limboFolder), fresh(limboFolder), fresh(limboFolder)] as const;
        push('link', at(path), path, limbo[0]);
        push('link', at(to), to, limbo[1]);
        push('move', at(path), limbo[0], to);
        push('move', at(to), limbo[1], path);
        shift(path, limbo[2]);
        shift(to, path);
        shift(limbo[2], to);
      }
    }
    const intent = (): Intent => ({
      commit,
      primitives: later.map(make => make()),
      staged,
      // The root, which has no entry, always; others if something in them changed or they are new.
      times: ['', ...tree.keys()]
        .filter(path => path === '' || tree.get(path)?.kind === 'directory')
        .filter(path => touched.has(inoOf.get(path)))
        .map(path => [path, 1_500_000_000 + commit] as const),
      tree: [...tree].map(([path, node]) => [path, { ...node, ino: at(path)() }] as const),
    });
    return { intent, stage };
  }

  #stageFile(path: string, word: string): number {
    const fd = fs.openSync(this.#at(path), 'wx');
    fs.writeSync(fd, contentOf(word));
    fs.futimesSync(fd, 1_400_000_000, 1_400_000_000);
    const { ino } = fs.fstatSync(fd);
    fs.closeSync(fd);
    return ino;
  }

  #stageFolder(path: string): number {
    fs.mkdirSync(this.#at(path));
    return fs.statSync(this.#at(path)).ino;
  }

  /** Does a primitive, or finds that it or a later one was done. */
  #do({ kind, ino, from, to }: Primitive): void {
    const isAtSource = this.#inoAt(from) === ino;
    const isAtTarget = this.#inoAt(to) === ino;
    if (!isAtSource) return;
    if (kind === 'link') {
      if (!isAtTarget) fs.linkSync(this.#at(from), this.#at(to));
    } else if (isAtTarget) {
      // rename(2) between two links of one inode does nothing and leaves both.
      fs.unlinkSync(this.#at(from));
    } else fs.renameSync(this.#at(from), this.#at(to));
  }

  /**
   * True if all staged content is there, durable, wherever it was moved since. `byPath` looks only
   * where the primitives say, and so not in a directory that a later primitive renamed.
   */
  #isWhole({ staged, primitives }: Intent, byPath: boolean): boolean {
    const all = byPath ? [] : this.#listAll('');
    return staged.every(({ path, ino, digest }) => {
      const places = [path, ...primitives.filter(p => p.ino === ino).map(p => p.to), ...all];
      const place = places.find(p => this.#inoAt(p) === ino);
      if (place === undefined) return false;
      return digest === '' || digestOf(fs.readFileSync(this.#at(place))) === digest;
    });
  }

  #listAll(folder: string): string[] {
    return fs.readdirSync(this.#at(folder), { withFileTypes: true }).flatMap(entry => {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      return entry.isDirectory() ? [path, ...this.#listAll(path)] : [path];
    });
  }

  #setTimes({ times }: Intent): void {
    for (const [path, time] of times) {
      if (this.#inoAt(path) !== undefined) fs.utimesSync(this.#at(path), time, time);
    }
  }

  #touched({ primitives, times }: Intent): Set<string> {
    const folders = new Set(times.map(([path]) => path));
    for (const { from, to } of primitives) folders.add(parentOf(from)).add(parentOf(to));
    return new Set([...folders].filter(path => this.#inoAt(path) !== undefined));
  }

  #syncFolder(path: string): void {
    const fd = fs.openSync(this.#at(path), 'r');
    fs.fsyncSync(fd);
    fs.closeSync(fd);
  }

  /** Times of link(2) and rename(2) are known only now: records are taken after placing. */
  #finish({ commit, tree }: Intent): void {
    const records = Object.fromEntries(tree.map(([path]) => [path, this.#record(path)]));
    this.#writeSlot('state', { commit, records }, commit);
    this.state = { commit, records };
    this.tree = new Map(tree);
  }

  #record(path: string): Record_ {
    const stat = fs.lstatSync(this.#at(path), { bigint: true, throwIfNoEntry: false });
    if (stat === undefined) return { kind: 'none', ino: 0, size: 0, mtimeNs: '', ctimeNs: '' };
    return {
      kind: stat.isFile() ? 'file' : 'directory',
      ino: Number(stat.ino),
      size: stat.isFile() ? Number(stat.size) : 0,
      mtimeNs: String(stat.mtimeNs),
      ctimeNs: stat.isFile() ? String(stat.ctimeNs) : '',
    };
  }

  /** Two slots, written in turn: a torn one leaves the other, as LMDB's meta pages do. */
  #writeSlot(name: 'state' | 'intent', value: State | Intent, turn: number): void {
    const text = Buffer.from(JSON.stringify(value));
    const head = Buffer.alloc(40);
    head.writeUInt32BE(text.length, 0);
    createHash('sha256').update(text).digest().copy(head, 8);
    const path = this.#at(`${zone}/${name}`);
    if (this.#slotsInPlace) {
      const fd = fs.openSync(path, 'r+');
      fs.writeSync(fd, Buffer.concat([head, text]), 0, undefined, (Math.abs(turn) % 2) * slotSize);
      fs.fdatasyncSync(fd);
      fs.closeSync(fd);
    } else {
      const fd = fs.openSync(path, 'a');
      const pad = Buffer.alloc(slotSize - head.length - text.length);
      fs.writeSync(fd, Buffer.concat([head, text, pad]));
      fs.fsyncSync(fd);
      fs.closeSync(fd);
    }
  }

  #readSlot<T extends { readonly commit: number }>(name: string): T | undefined {
    const path = this.#at(`${zone}/${name}`);
    if (!fs.existsSync(path)) return undefined;
    const bytes = fs.readFileSync(path);
    let best: T | undefined;
    for (let start = 0; start + slotSize <= bytes.length; start += slotSize) {
      const text = bytes.subarray(start + 40, start + 40 + bytes.readUInt32BE(start));
      const sum = createHash('sha256').update(text).digest();
      if (!sum.equals(bytes.subarray(start + 8, start + 40))) continue;
      // Written by #writeSlot, checked by its sum.
      const value = JSON.parse(text.toString()) as T;
      if (best === undefined || value.commit >= best.commit) best = value;
    }
    return best;
  }
}

const slotSize = 16384;

function listTree(root: string, folder = ''): string[] {
  const paths: string[] = [];
  for (const entry of fs.readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (path === zone) continue;
    paths.push(path);
    if (entry.isDirectory()) paths.push(...listTree(root, path));
  }
  return paths;
}

/** Path to content word, or undefined for a directory. A file that is no whole version: 'TORN'. */
function look(root: string, words: ReadonlyMap<string, string>): Map<string, string | undefined> {
  const seen = new Map<string, string | undefined>();
  for (const path of listTree(root)) {
    const isFile = fs.lstatSync(join(root, path)).isFile();
    const digest = isFile ? digestOf(fs.readFileSync(join(root, path))) : '';
    seen.set(path, isFile ? (words.get(digest) ?? 'TORN') : undefined);
  }
  return seen;
}

// --- The harness. ---

type Look = ReturnType<typeof look>;
interface Outcome {
  readonly before: Look;
  readonly after: Look;
  readonly commit: number;
  readonly drift: number;
  /** Recovery threw, or the rest of the program could not be applied afterwards. */
  readonly stuck: string | undefined;
}
interface Tally {
  cuts: number;
  images: number;
  torn: number;
  lost: number;
  missing: number;
  drift: number;
  stuck: number;
}

const { values: options } = parseArgs({
  options: {
    work: { type: 'string', default: '/dev/shm/replica-commit-order' },
    orders: { type: 'string', default: Object.keys(orders).join(',') },
    /** lazy: the journal commits only when asked. eager: it also commits before every cut. */
    kernels: { type: 'string', default: 'lazy,eager' },
    slots: { type: 'string', default: 'inplace' },
    length: { type: 'string', default: '2' },
    sample: { type: 'string', default: '0' },
    longSample: { type: 'string', default: '0' },
    seed: { type: 'string', default: '1' },
    /** Renames and deletes as they come, though the name is taken again in the same commit. */
    plainRenames: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
});
const mountOptions = 'loop,noatime,commit=300,noauto_da_alloc';

function main(): void {
  const work = options.work;
  fs.mkdirSync(work, { recursive: true });
  const host = `${work}/host`;
  execFileSync('truncate', ['-s', '1G', `${work}/host.img`]);
  execFileSync('mkfs.xfs', ['-q', '-f', '-m', 'reflink=1', `${work}/host.img`]);
  for (const name of ['host', 'live', 'cut']) fs.mkdirSync(`${work}/${name}`, { recursive: true });
  execFileSync('mount', ['-o', 'loop', `${work}/host.img`, host]);
  try {
    for (const slots of options.slots.split(',')) {
      makeBase(work, slots === 'inplace');
      for (const name of options.orders.split(',')) {
        for (const kernel of options.kernels.split(',')) {
          run(work, { name, kernel, inPlace: slots === 'inplace' });
        }
      }
    }
  } finally {
    for (const name of ['cut', 'live', 'host']) {
      try {
        execFileSync('umount', [`${work}/${name}`], { stdio: 'ignore' });
      } catch {
        // Was not mounted.
      }
    }
    fs.rmSync(work, { recursive: true });
  }
}

function makeBase(work: string, inPlace: boolean): void {
  const image = `${work}/host/base.img`;
  fs.rmSync(image, { force: true });
  execFileSync('truncate', ['-s', '24M', image]);
  const lazy = 'lazy_itable_init=0,lazy_journal_init=0';
  execFileSync('mkfs.ext4', ['-q', '-J', 'size=4', '-E', lazy, image]);
  execFileSync('mount', ['-o', mountOptions, image, `${work}/live`]);
  const root = `${work}/live/dst`;
  for (const folder of ['', stageFolder, keptFolder, limboFolder]) {
    fs.mkdirSync(join(root, folder), { recursive: true });
  }
  for (const [path, word] of initial) {
    if (word === undefined) fs.mkdirSync(join(root, path));
    else fs.writeFileSync(join(root, path), contentOf(word));
  }
  for (const name of ['state', 'intent']) {
    fs.writeFileSync(join(root, zone, name), inPlace ? Buffer.alloc(2 * slotSize, 1) : '');
  }
  fs.writeFileSync(`${work}/live/tick`, 'x');
  execFileSync('sync', ['-f', root]);
  new Replica(root, inPlace).adopt();
  execFileSync('umount', [`${work}/live`]);
}

/** All programs of up to `length` words, each as one commit and as one commit a word. */
function programs(): (readonly (readonly Operation[])[])[] {
  const words = Object.values(alphabet);
  const random = seeded(Number(options.seed));
  const pick = <T>(list: readonly T[]): T =>
    list[Math.floor(random() * list.length)] ?? assert.fail();
  let all: Operation[][][] = words.map(word => [[...word]]);
  if (Number(options.length) >= 2) {
    for (const first of words) {
      for (const second of words) {
        all.push([[...first], [...second]], [[...first, ...second]]);
      }
    }
  }
  all = all.filter(isPossible);
  const sample = Number(options.sample);
  if (sample > 0) {
    const singles = all.slice(0, words.length);
    all = [...singles, ...Array.from({ length: sample }, () => pick(all.slice(words.length)))];
  }
  for (let i = 0; i < Number(options.longSample); ) {
    const [a, b, c] = [pick(words), pick(words), pick(words)];
    const shape = pick([0, 1, 2]);
    const program =
      shape === 0
        ? [[...a, ...b, ...c]]
        : shape === 1
          ? [[...a], [...b], [...c]]
          : [[...a, ...b], [...c]];
    if (!isPossible(program)) continue;
    all.push(program);
    i++;
  }
  return all;
}

function run(work: string, what: { name: string; kernel: string; inPlace: boolean }): void {
  const tried = orders[what.name] ?? assert.fail(`no order ${what.name}`);
  const tallies = new Map<string, Tally>();
  const all = programs();
  const began = performance.now();
  for (const [index, program] of all.entries()) {
    runProgram(work, { program, tried, index, tallies, ...what });
  }
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  const slots = what.inPlace ? 'in place + fdatasync' : 'append + fsync';
  console.log(
    `\norder ${what.name}: ${tried.phases.join(' > ')}${tried.verify === 'no' ? '' : ` (recovery hashes what it finds ${tried.verify})`}; ` +
      `kernel ${what.kernel}; state ${slots}; ${all.length} programs, seed ${options.seed}, ${seconds} s\n`,
  );
  console.log('| cut after | cuts | images | torn | lost | missing | false drift | stuck |');
  console.log('|---|--:|--:|--:|--:|--:|--:|--:|');
  const total = emptyTally();
  for (const phase of tried.phases) {
    const tally = tallies.get(phase) ?? emptyTally();
    for (const key of Object.keys(total)) {
      // Keys of a Tally.
      total[key as keyof Tally] += tally[key as keyof Tally];
    }
    printTally(phase, tally);
  }
  printTally('**all**', total);
}

function emptyTally(): Tally {
  return { cuts: 0, images: 0, torn: 0, lost: 0, missing: 0, drift: 0, stuck: 0 };
}

function printTally(name: string, t: Tally): void {
  console.log(
    `| ${name} | ${t.cuts} | ${t.images} | ${t.torn} | ${t.lost} | ${t.missing} | ${t.drift} | ${t.stuck} |`,
  );
}

function runProgram(
  work: string,
  run: {
    program: readonly (readonly Operation[])[];
    tried: Order;
    index: number;
    tallies: Map<string, Tally>;
    kernel: string;
    inPlace: boolean;
  },
): void {
  const { program, tried, tallies } = run;
  const words = new Map(
    initial.flatMap(([, word]) => (word === undefined ? [] : [[digestOf(contentOf(word)), word]])),
  );
  const image = `${work}/host/live.img`;
  const live = `${work}/live`;
  fs.copyFileSync(`${work}/host/base.img`, image, fs.constants.COPYFILE_FICLONE_FORCE);
  execFileSync('mount', ['-o', mountOptions, image, live]);
  try {
    const loop = fs.readFileSync('/proc/mounts', 'utf8').match(`/dev/(loop\\d+) ${live} `)?.[1];
    const replica = new Replica(`${live}/dst`, run.inPlace);
    const models: Look[] = [look(replica.root, words)];
    let acked = 0;
    let written = '';
    let outcome: Outcome | undefined;
    for (const [i, operations] of program.entries()) {
      models.push(expectedAfter(models[i] ?? assert.fail(), operations, i + 1, words));
      for (const phase of replica.apply(i + 1, operations, tried)) {
        if (phase === 'ack') acked = i + 1;
        if (run.kernel === 'eager') commitJournal(`${live}/tick`);
        const stat = fs.readFileSync(`/sys/block/${loop}/stat`, 'utf8').trim().split(/\s+/);
        const tally = tallies.get(phase) ?? emptyTally();
        tallies.set(phase, tally);
        // An image nobody wrote to since the last cut would give the same outcome.
        if (stat[6] !== written || outcome === undefined) {
          written = stat[6] ?? '';
          tally.images++;
          outcome = cut(work, { ...run, words, random: seeded(run.index * 1000 + tally.cuts) });
        }
        judge(tally, outcome, {
          models,
          acked,
          current: i + 1,
          program,
          operations,
          label: `${run.index} ${phase}`,
        });
      }
    }
    const end = look(replica.root, words);
    assert.deepEqual(sorted(end), sorted(models.at(-1) ?? assert.fail()), JSON.stringify(program));
  } finally {
    execFileSync('umount', [live]);
  }
}

/** Commits the running journal transaction as the kernel may at any time; flushes no file data. */
function commitJournal(tick: string): void {
  const fd = fs.openSync(tick, 'r+');
  fs.fchmodSync(fd, fs.fstatSync(fd).mode ^ 0o1);
  fs.fsyncSync(fd);
  fs.closeSync(fd);
}

/** The tree as it must look after the operations; also registers the new contents. */
function expectedAfter(
  model: Look,
  operations: readonly Operation[],
  commit: number,
  words: Map<string, string>,
): Look {
  const next = new Map(model);
  const shift = (from: string, to: string | undefined) => {
    for (const [path, word] of [...next]) {
      if (!isWithin(path, from)) continue;
      next.delete(path);
      if (to !== undefined) next.set(to + path.slice(from.length), word);
    }
  };
  for (const operation of operations) {
    const { path } = operation;
    if (operation.do === 'write') {
      shift(path, undefined);
      next.set(path, `${commit}:${path}`);
    } else if (operation.do === 'mkdir') {
      shift(path, undefined);
      next.set(path, undefined);
    } else if (operation.do === 'delete') shift(path, undefined);
    else if (operation.do === 'rename') {
      shift(operation.to, undefined);
      shift(path, operation.to);
    } else {
      const [a, b] = [next.get(path), next.get(operation.to)];
      next.set(path, b).set(operation.to, a);
    }
  }
  // The planner's serial is part of the word on disk, so that every staged file is unlike others.
  for (let serial = 0; serial < 24; serial++) {
    for (const { path } of operations) {
      const word = `${commit}:${commit}-${serial}:${path}`;
      words.set(digestOf(contentOf(word)), `${commit}:${path}`);
    }
  }
  return next;
}

/** Cuts the power: clones the image as it is, mounts the clone, recovers and continues there. */
function cut(
  work: string,
  run: {
    program: readonly (readonly Operation[])[];
    tried: Order;
    inPlace: boolean;
    words: ReadonlyMap<string, string>;
    random: () => number;
  },
): Outcome {
  const image = `${work}/host/cut.img`;
  fs.rmSync(image, { force: true });
  fs.copyFileSync(`${work}/host/live.img`, image, fs.constants.COPYFILE_FICLONE_FORCE);
  execFileSync('mount', ['-o', mountOptions, image, `${work}/cut`]);
  try {
    const root = `${work}/cut/dst`;
    const before = look(root, run.words);
    let after = before;
    let commit = -1;
    let drift = 0;
    let stuck: string | undefined;
    try {
      // Killed somewhere within recovery, then recovered again.
      const first = new Replica(root, run.inPlace).recover(run.tried.verify);
      for (let left = Math.floor(run.random() * 8); left > 0; left--) {
        if (first.next().done) break;
      }
      const replica = new Replica(root, run.inPlace);
      Array.from(replica.recover(run.tried.verify));
      after = look(root, run.words);
      commit = replica.state.commit;
      drift = replica.drift().length;
      const rest = run.program.slice(commit);
      for (const [i, operations] of rest.entries()) {
        Array.from(replica.apply(commit + i + 1, operations, run.tried));
      }
      drift += replica.drift().length;
    } catch (error) {
      stuck = String(error);
    }
    return { before, after, commit, drift, stuck };
  } finally {
    execFileSync('umount', [`${work}/cut`]);
  }
}

function judge(
  tally: Tally,
  outcome: Outcome,
  now: {
    models: readonly Look[];
    acked: number;
    current: number;
    operations: readonly Operation[];
    program: unknown;
    label: string;
  },
): void {
  const { before, after, commit, drift, stuck } = outcome;
  const previous = now.models[now.current - 1] ?? assert.fail();
  const next = now.models[now.current] ?? assert.fail();
  const isTorn = [...before.values(), ...after.values()].includes('TORN');
  const expected = now.models[commit];
  const isLost = commit < now.acked || !isSame(after, expected);
  // A file that is a file before and after the commit must be there at any instant; a path that
  // changes its type, only after recovery.
  const isMissing = [...previous].some(([path, word]) => {
    if (!next.has(path)) return false;
    const isFolderBetween = now.operations.some(o => o.do === 'mkdir' && o.path === path);
    const mayBeAway = word === undefined || next.get(path) === undefined || isFolderBetween;
    return !after.has(path) || (!mayBeAway && !before.has(path));
  });
  tally.cuts++;
  if (isTorn) tally.torn++;
  if (isLost) tally.lost++;
  if (isMissing) tally.missing++;
  if (drift > 0) tally.drift++;
  if (stuck !== undefined) tally.stuck++;
  if (options.verbose && (isTorn || isLost || isMissing || drift > 0 || stuck !== undefined)) {
    console.log(
      now.label,
      JSON.stringify(now.program),
      { commit, acked: now.acked, drift, stuck },
      before,
      after,
      expected,
    );
  }
}

function isSame(a: Look, b: Look | undefined): boolean {
  return b !== undefined && JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

function sorted(model: Look): [string, string | undefined][] {
  return [...model].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Mulberry32. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

main();
