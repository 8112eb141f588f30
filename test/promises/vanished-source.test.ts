// P5: a source that vanished, emptied, is covered, hangs or cannot be listed deletes nothing, says
// why, and goes on by itself when it is back.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { isPrivileged, makeDiskFolder } from '../support/folders.ts';
import { LivePair } from '../support/live-pair.ts';
import { waitUntil } from '../support/programs.ts';
import { compareReadTrees, createTree, hardLink, readTree } from '../support/tree.ts';

type TestContext = Parameters<Parameters<typeof t.test>[0]>[0];

const tree = {
  'a.txt': 'one',
  'b.txt': 'two',
  folder: { deep: { 'c.txt': 'three' }, 'd.txt': 'four' },
  twin: hardLink('a.txt'),
};

const cannotMount = mountProblem();

function mountProblem(): string {
  if (!isPrivileged) return 'only root may mount';
  const folder = fs.mkdtempSync('/tmp/replica-mount-');
  try {
    const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', folder], {
      encoding: 'utf8',
    });
    if (status !== 0) return `cannot mount here: ${stderr.trim()}`;
    spawnSync('umount', [folder]);
    return '';
  } finally {
    fs.rmdirSync(folder);
  }
}

function run(command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
}

/** Mounts a file system at `at` until the test ends. */
function mount(t: TestContext, at: string, ...args: string[]): void {
  run('mount', ...args, at);
  // Teardowns run last in, first out: before the folder is removed.
  t.teardown(() => spawnSync('umount', ['-l', at]));
}

interface Ready {
  readonly pair: LivePair;
  /** The destination is as it was: nothing deleted, nothing changed. */
  unchanged(): string[];
}

/** A pair in sync. */
async function inSync(t: TestContext, prepare?: (pair: LivePair) => void): Promise<Ready> {
  const pair = new LivePair({ folder: makeDiskFolder(t) });
  t.teardown(() => pair.kill());
  prepare?.(pair);
  createTree(pair.source, tree);
  await pair.start();
  await pair.equal();
  await pair.push?.line(/in sync/);
  const before = readTree(pair.target);
  return { pair, unchanged: () => compareReadTrees(before, readTree(pair.target)) };
}

/** Sweeps go on while the source is away: long enough for a wrong delete to arrive. */
async function severalSweeps(): Promise<void> {
  await new Promise(resolve => setTimeout(resolve, 1200));
}

interface Case {
  readonly name: string;
  readonly vanish: (t: TestContext, pair: LivePair) => void;
  readonly comeBack: (pair: LivePair) => void;
  readonly reason: RegExp;
  /** Exit code of a --once meanwhile. */
  readonly code: number;
  readonly needsMount?: boolean;
  readonly prepare?: (t: TestContext, pair: LivePair) => void;
}

const away = (pair: LivePair): string => `${pair.source}.away`;

const cases: readonly Case[] = [
  {
    name: 'renamed away',
    vanish: (_, pair) => fs.renameSync(pair.source, away(pair)),
    comeBack: pair => fs.renameSync(away(pair), pair.source),
    reason: /source gone: it is not there/,
    code: 3,
  },
  {
    name: 'emptied',
    vanish: (_, pair) => {
      fs.mkdirSync(away(pair));
      for (const name of fs.readdirSync(pair.source)) {
        fs.renameSync(join(pair.source, name), join(away(pair), name));
      }
    },
    comeBack: pair => {
      for (const name of fs.readdirSync(away(pair))) {
        fs.renameSync(join(away(pair), name), join(pair.source, name));
      }
    },
    reason: /deletes held: the source is empty/,
    code: 25,
  },
  {
    name: 'another, empty directory in its place',
    vanish: (_, pair) => {
      fs.renameSync(pair.source, away(pair));
      fs.mkdirSync(pair.source);
    },
    comeBack: pair => {
      fs.rmdirSync(pair.source);
      fs.renameSync(away(pair), pair.source);
    },
    reason: /source gone: another directory is in its place/,
    code: 3,
  },
  {
    name: 'replaced by a file',
    vanish: (_, pair) => {
      fs.renameSync(pair.source, away(pair));
      fs.writeFileSync(pair.source, 'no directory');
    },
    comeBack: pair => {
      fs.rmSync(pair.source);
      fs.renameSync(away(pair), pair.source);
    },
    reason: /source gone: it is not a directory/,
    code: 3,
  },
  {
    name: 'covered by an empty file system',
    vanish: (t, pair) => mount(t, pair.source, '-t', 'tmpfs', 'tmpfs'),
    comeBack: pair => run('umount', pair.source),
    reason: /source gone: another directory is in its place/,
    code: 3,
    needsMount: true,
  },
  {
    name: 'covered by a bind mount of another tree',
    vanish: (t, pair) => {
      createTree(away(pair), { other: 'content', things: { x: 'y' } });
      mount(t, pair.source, '--bind', away(pair));
    },
    comeBack: pair => run('umount', pair.source),
    reason: /source gone: another directory is in its place/,
    code: 3,
    needsMount: true,
  },
  {
    name: 'unmounted, then mounted with another device number',
    // An image keeps inodes and birth times over mounts; the loop device gives the number.
    prepare: (t, pair) => {
      const image = `${pair.source}.img`;
      run('truncate', '-s', '16M', image);
      run('mkfs.ext4', '-q', '-F', image);
      mount(t, pair.source, '-o', 'loop', image);
      fs.rmdirSync(join(pair.source, 'lost+found'));
    },
    vanish: (_, pair) => run('umount', pair.source),
    comeBack: pair => {
      // Another loop device in between takes the old number.
      const other = `${pair.source}.other`;
      run('truncate', '-s', '16M', `${other}.img`);
      run('mkfs.ext4', '-q', '-F', `${other}.img`);
      fs.mkdirSync(other);
      run('mount', '-o', 'loop', `${other}.img`, other);
      run('mount', '-o', 'loop', `${pair.source}.img`, pair.source);
      run('umount', other);
    },
    reason: /source gone: another directory is in its place/,
    code: 3,
    needsMount: true,
  },
];

for (const { name, vanish, comeBack, reason, code, needsMount, prepare } of cases) {
  const skip = needsMount === true && cannotMount;
  t.test(`deletes nothing: ${name}`, { skip }, async t => {
    const { pair, unchanged } = await inSync(t, pair => prepare?.(t, pair));
    const device = fs.statSync(pair.source).dev;
    vanish(t, pair);
    t.match(await pair.push?.line(reason), reason, 'the reason is printed');
    await severalSweeps();
    t.strictSame(unchanged(), [], 'nothing is deleted');

    comeBack(pair);
    if (prepare) t.not(fs.statSync(pair.source).dev, device, 'the device number is another one');
    fs.writeFileSync(join(pair.source, 'new'), 'it goes on');
    fs.rmSync(join(pair.source, 'b.txt'));
    await pair.equal();
    t.ok(fs.existsSync(join(pair.target, 'new')), 'replication resumes by itself');
    t.notOk(fs.existsSync(join(pair.target, 'b.txt')), 'and real deletes with it');
    t.equal((await pair.push?.stop())?.code, 0);
    const afterwards = readTree(pair.target);

    if (name === 'emptied') fs.rmSync(away(pair), { recursive: true });
    if (prepare) run('umount', pair.source);
    else vanish(t, pair);
    const once = await pair.once();
    t.equal(once.code, code, 'a --once meanwhile does not exit 0');
    t.ok(
      once.lines.some(line => reason.test(line) || /no such directory|not a directory/.test(line)),
      `it says why: ${once.lines.at(-1)}`,
    );
    t.strictSame(compareReadTrees(afterwards, readTree(pair.target)), [], 'nor does it delete');
  });
}

t.test(
  'deletes nothing in a subdirectory that was a mount and is none now',
  {
    skip: cannotMount,
  },
  async t => {
    const { pair, unchanged } = await inSync(t, pair => {
      const at = join(pair.source, 'share');
      fs.mkdirSync(at);
      mount(t, at, '-t', 'tmpfs', 'tmpfs');
      createTree(at, { 'x.txt': 'x', below: { 'y.txt': 'y' } });
    });
    const at = join(pair.source, 'share');
    // Keeps the file system alive while it is mounted nowhere in the source.
    const elsewhere = `${pair.source}.share`;
    fs.mkdirSync(elsewhere);
    mount(t, elsewhere, '--bind', at);
    run('umount', at);
    t.match(await pair.push?.line(/not mounted/), /share/, 'the reason is printed');
    await severalSweeps();
    t.strictSame(unchanged(), [], 'nothing is deleted');
    fs.writeFileSync(join(pair.source, 'a.txt'), 'the rest goes on');
    await waitUntil(
      () => fs.readFileSync(join(pair.target, 'a.txt'), 'utf8') === 'the rest goes on',
      'a change elsewhere arrives',
    );
    const once = await pair.once();
    t.equal(once.code, 23, 'a --once does not exit 0');

    run('mount', '--bind', elsewhere, at);
    fs.rmSync(join(at, 'x.txt'));
    fs.writeFileSync(join(at, 'z.txt'), 'z');
    await pair.equal();
    t.pass('replication resumes by itself');
  },
);

t.test(
  'a directory that cannot be listed deletes nothing',
  { skip: isPrivileged && 'root lists everything' },
  async t => {
    const { pair, unchanged } = await inSync(t);
    const folder = join(pair.source, 'folder');
    fs.chmodSync(folder, 0o000);
    t.match(await pair.push?.line(/cannot be listed/), /folder/);
    await severalSweeps();
    // Its own mode may follow; what is in it stays.
    fs.chmodSync(join(pair.target, 'folder'), 0o755);
    t.strictSame(
      unchanged().filter(line => !/"folder" (mode|mtimeUs)/.test(line)),
      [],
    );
    fs.chmodSync(folder, 0o755);
    await pair.equal();
    t.pass('replication resumes by itself');
  },
);

t.test(
  'a source that hangs deletes nothing and holds up no stop',
  { skip: cannotHang() },
  async t => {
    const behind = makeDiskFolder(t);
    let daemon = 0;
    const { pair, unchanged } = await inSync(t, pair => {
      createTree(behind, {});
      run('bindfs', behind, pair.source);
      t.teardown(() => spawnSync('umount', ['-l', pair.source]));
      const pids = spawnSync('pgrep', ['-f', `bindfs ${behind} `], { encoding: 'utf8' });
      daemon = Number(pids.stdout.trim());
      t.teardown(() => {
        process.kill(daemon, 'SIGCONT');
      });
    });
    process.kill(daemon, 'SIGSTOP');
    fs.rmSync(join(behind, 'b.txt'));
    await pair.push?.line(/source slow: no answer from the file system/, 15_000);
    t.strictSame(unchanged(), [], 'nothing is deleted');
    process.kill(daemon, 'SIGCONT');
    await pair.push?.line(/source back: it answers again/);
    await pair.equal();
    t.pass('replication resumes by itself');

    process.kill(daemon, 'SIGSTOP');
    await severalSweeps();
    const begunMs = performance.now();
    pair.push?.child.kill('SIGTERM');
    await waitUntil(() => pair.push?.exited !== undefined, 'push ends', 8000);
    t.comment(`ended ${Math.round(performance.now() - begunMs)} ms after SIGTERM`);
    t.pass('SIGTERM is answered while the file system hangs');
  },
);

function cannotHang(): string | false {
  if (!isPrivileged) return 'only root may mount a FUSE file system here';
  if (!fs.existsSync('/dev/fuse')) return 'no /dev/fuse';
  if (spawnSync('bindfs', ['--version']).status !== 0) return 'bindfs is not installed';
  return false;
}

t.test('a source that was never there', async t => {
  const pair = new LivePair({ folder: makeDiskFolder(t) });
  t.teardown(() => pair.kill());
  await pair.startReceive();
  fs.rmdirSync(pair.source);
  const once = await pair.once();
  t.equal(once.code, 3);
  t.match(once.lines.at(-1), /source/);
});
