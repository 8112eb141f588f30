// Another process swaps directories for links while the destination is worked on. The same
// neighbour must beat the naive way, or this test would prove nothing.
import { once } from 'node:events';
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { systemCode } from '../../src/errors.ts';
import { toName } from '../../src/snapshot/name.ts';
import { ConfinedDirectory } from '../../src/tree/confined-directory.ts';
import { StagedFile } from '../../src/tree/staged-file.ts';
import { forkModule, onEachFileSystem } from '../support/folders.ts';
import { pick, randomInteger, seededRandom } from '../support/random.ts';
import { compareReadTrees, createTree, readTree, type TreeLiteral } from '../support/tree.ts';

const secret = 'secret';
const runMs = 700;
/** For a rare operation to come through once on a busy machine. */
const runMsMax = 20_000;
const naiveMsMax = 20_000;

/** Both trees have the same names, so that whatever goes astray finds something to hit. */
function sample(content: string): TreeLiteral {
  return { leaf: content, sub: { leaf: content, deep: { leaf: content } } };
}

interface Arena {
  readonly target: string;
  /** What differs outside from how it was, change times included. */
  damage(): string[];
  flipCount(): Promise<number>;
}

/** Runs `body` beside the neighbour, which is gone when this returns. */
async function inArena(folder: string, body: (arena: Arena) => Promise<void>): Promise<void> {
  const [target, outside] = [join(folder, 'dst'), join(folder, 'outside')];
  createTree(target, { p: sample('mine') });
  createTree(outside, sample(secret));
  const changeTimes = () =>
    ['', 'leaf', 'sub', 'sub/leaf', 'sub/deep', 'sub/deep/leaf'].map(path => {
      const stat = fs.lstatSync(join(outside, path), { bigint: true, throwIfNoEntry: false });
      return `${path} ${stat?.ino} ${stat?.ctimeNs} ${stat?.nlink}`;
    });
  const [before, beforeTimes] = [readTree(outside), changeTimes()];
  const child = forkModule(new URL('../support/flip.js', import.meta.url), [target, outside]);
  const ended = once(child, 'close');
  const arena: Arena = {
    target,
    damage() {
      const now = changeTimes();
      const touched = beforeTimes.filter((line, index) => line !== now[index]);
      return [...compareReadTrees(before, readTree(outside)), ...touched];
    },
    async flipCount() {
      child.send('count');
      const [count] = await once(child, 'message');
      return Number(count);
    },
  };
  try {
    await once(child, 'message');
    await body(arena);
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}

const when = { mode: 0o666, mtimeNs: 42_000n };

/** Everything a directory can do, to names that the neighbour plays with and to others. */
const operations: Record<string, (d: ConfinedDirectory, root: ConfinedDirectory) => void> = {
  read: d => {
    const fd = d.openRead(toName('leaf'));
    const content = fs.readFileSync(fd, 'utf8');
    fs.closeSync(fd);
    if (content === secret) throw new Error('read the secret');
  },
  write: d => {
    const fd = d.openWrite(toName('leaf'));
    fs.writeSync(fd, 'mine');
    fs.closeSync(fd);
  },
  stage: (d, root) => {
    const name = toName('staged');
    const file = StagedFile.create(root, name);
    try {
      file.write(Buffer.from('mine'));
      file.finish(when);
      root.rename(name, d, toName('leaf'));
    } finally {
      file.close();
      root.removeTree(name);
    }
  },
  create: d => fs.closeSync(d.createExclusive(toName('new'), 0o666)),
  unlink: d => d.unlink(toName('new')),
  mkdir: d => d.mkdir(toName('made'), 0o777),
  rmdir: d => d.rmdir(toName('made')),
  symlink: d => d.symlink('/nowhere', toName('link')),
  readlink: d => d.readlink(toName('link')),
  removeLink: d => d.unlink(toName('link')),
  link: (d, root) => d.link(toName('leaf'), root, toName('linked')),
  removeLinked: (_, root) => root.unlink(toName('linked')),
  renameOut: (d, root) => d.rename(toName('leaf'), root, toName('taken')),
  renameIn: (d, root) => root.rename(toName('taken'), d, toName('leaf')),
  chmod: d => d.chmod(toName('leaf'), 0o666),
  chmodDirectory: d => d.chmod(toName('sub'), 0o777),
  chmodSelf: d => d.chmodSelf(0o777),
  setTimes: d => d.setTimes(toName('leaf'), 42_000n),
  setTimesDirectory: d => d.setTimes(toName('sub'), 42_000n),
  setTimesSelf: d => d.setTimesSelf(42_000n),
  list: d => void d.list(),
  lstat: d => void d.lstat(toName('leaf')),
  removeTree: d => d.removeTree(toName('deep')),
  makeTree: d => {
    d.mkdir(toName('deep'), 0o777);
    const deep = d.sub(toName('deep'));
    fs.closeSync(deep.createExclusive(toName('leaf'), 0o666));
    deep.release();
  },
};

/** Walks to a directory anew and does one thing there; true if the neighbour did not prevent it. */
function attempt(root: ConfinedDirectory, random: () => number, name: string): boolean {
  const walked: ConfinedDirectory[] = [];
  try {
    let at = root;
    for (const step of ['p', 'sub'].slice(0, 1 + randomInteger(random, 2))) {
      at = at.sub(toName(step));
      walked.push(at);
    }
    operations[name]?.(at, root);
    return true;
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return false;
  } finally {
    for (const each of walked) each.release();
  }
}

onEachFileSystem(t, 'nothing outside is touched or read', (t, folder) =>
  inArena(folder, async ({ target, damage, flipCount }) => {
    const seed = Date.now() % 1_000_000;
    t.comment(`seed ${seed}`);
    const random = seededRandom(seed);
    const root = ConfinedDirectory.openRoot(target);
    t.teardown(() => root.release());
    const names = Object.keys(operations);
    const done = new Map<string, number>();
    let refused = 0;
    const start = Date.now();
    const isOver = (ms: number): boolean => Date.now() > start + ms;
    while (!isOver(runMs) || (done.size < names.length && !isOver(runMsMax))) {
      const name = pick(random, names);
      if (attempt(root, random, name)) done.set(name, (done.get(name) ?? 0) + 1);
      else refused++;
    }
    const flips = await flipCount();
    const total = [...done.values()].reduce((sum, count) => sum + count, 0);
    t.comment(`${total} done, ${refused} refused, ${flips} flips`);
    t.ok(flips > 100, 'the neighbour was at work');
    t.ok(total > 100 && refused > 100, 'and met the operations');
    const never = names.filter(name => !done.has(name));
    t.same(never, [], 'each kind of operation came through');
    t.same(damage(), []);
  }),
);

onEachFileSystem(t, 'the same neighbour beats a plain path', (t, folder) =>
  inArena(folder, async ({ target, damage }) => {
    for (const end = Date.now() + naiveMsMax; damage().length === 0 && Date.now() < end; ) {
      for (let count = 0; count < 200; count++) {
        try {
          fs.writeFileSync(join(target, 'p', 'sub', `new-${count}`), '');
        } catch (error) {
          if (systemCode(error) === undefined) throw error;
        }
      }
    }
    t.not(damage().length, 0);
  }),
);
