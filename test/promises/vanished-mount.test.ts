// P5 where file systems come and go: a source, or a part of it, that is covered, unmounted, mounted
// anew or hangs deletes nothing, says why, and goes on by itself when it is back.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { transports } from '../support/fake-ssh.ts';
import { isPrivileged, makeDiskFolder } from '../support/folders.ts';
import { inTurn } from '../support/in-turn.ts';
import { waitUntil } from '../support/programs.ts';
import { createTree } from '../support/tree.ts';
import {
  away,
  inSync,
  run,
  severalSweeps,
  type Vanishing,
  vanishAndComeBack,
} from '../support/vanishing.ts';

/** In place of t.test. */
const each = inTurn(transports);
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

/** Mounts a file system at `at` until the test ends. */
function mount(t: Test, at: string, ...args: string[]): void {
  run('mount', ...args, at);
  // Teardowns run last in, first out: before the folder is removed.
  t.teardown(() => spawnSync('umount', ['-l', at]));
}

const cases: readonly Vanishing[] = [
  {
    name: 'covered by an empty file system',
    vanish: (t, pair) => mount(t, pair.source, '-t', 'tmpfs', 'tmpfs'),
    comeBack: pair => run('umount', pair.source),
    reason: /another directory is in its place/,
    code: 3,
  },
  {
    name: 'covered by a bind mount of another tree',
    vanish: (t, pair) => {
      if (!fs.existsSync(away(pair)))
        createTree(away(pair), { other: 'content', things: { x: 'y' } });
      mount(t, pair.source, '--bind', away(pair));
    },
    comeBack: pair => run('umount', pair.source),
    reason: /another directory is in its place/,
    code: 3,
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
    reason: /another directory is in its place/,
    code: 3,
  },
];

for (const one of cases) {
  each(`deletes nothing: ${one.name}`, { skip: cannotMount }, (t, transport) =>
    vanishAndComeBack(t, transport, one),
  );
}

each(
  'deletes nothing in a subdirectory that was a mount and is none now',
  {
    skip: cannotMount,
  },
  async (t, transport) => {
    const { pair, unchanged } = await inSync(t, transport, pair => {
      const at = join(pair.source, 'share');
      fs.mkdirSync(at);
      mount(t, at, '-t', 'tmpfs', '-o', 'mode=755', 'tmpfs');
      createTree(at, { 'x.txt': 'x', below: { 'y.txt': 'y' } });
    });
    const notDeletedByOnce = async (what: string): Promise<void> => {
      t.equal((await pair.once()).code, 23, `${what} does not exit 0`);
      const lines = unchanged().filter(line => !/^"(a.txt|twin)"/.test(line));
      t.strictSame(lines, [], `${what} does not delete`);
    };
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
    // One sender at a time: a newer one would fence this one off.
    await pair.push?.stop();
    await notDeletedByOnce('a --once');
    // The receiver does not know what was a mount: neither does a sender that lost its state.
    fs.rmSync(join(pair.home.folder, 'state'), { recursive: true });
    await notDeletedByOnce('a --once without state');
    pair.startPush();
    await pair.push?.line(/not mounted/);

    run('mount', '--bind', elsewhere, at);
    fs.rmSync(join(at, 'x.txt'));
    fs.writeFileSync(join(at, 'z.txt'), 'z');
    await pair.equal();
    t.pass('replication resumes by itself');
  },
);

each(
  'a source that hangs deletes nothing and holds up no stop',
  { skip: cannotHang() },
  async (t, transport) => {
    const behind = makeDiskFolder(t);
    let daemon = 0;
    const { pair, unchanged } = await inSync(t, transport, pair => {
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
    await pair.push?.line(/no answer from the file system/, 15_000);
    t.strictSame(unchanged(), [], 'nothing is deleted');
    process.kill(daemon, 'SIGCONT');
    await pair.push?.line(/answers again/);
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
