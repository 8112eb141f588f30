// P4: a lost, truncated or damaged state file on either side costs time and names, never content,
// a wrong delete or wrong content.
import fs from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { freePort } from '../support/kill-story.ts';
import { fillTree } from '../support/mutate.ts';
import { Home } from '../support/programs.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { Relay } from '../support/relay.ts';
import { ownShare } from '../support/seeds.ts';
import { compareTrees, readTree } from '../support/tree.ts';

const fileCount = 40;
const fileSize = 50_000;
/** Far less than the content, far more than its names and stats. */
const namesAndStatsMax = 100_000;

interface Pass {
  readonly lines: readonly string[];
  /** Both ways. */
  readonly bytes: number;
}

/** A source of noise that cannot be guessed, and one receiver and one push at a time. */
class Scene {
  readonly source: string;
  readonly target: string;
  readonly #home: Home;
  readonly #relay: Relay;
  readonly #port: number;

  private constructor(folder: string, relay: Relay, port: number) {
    this.source = join(folder, 'source');
    this.target = join(folder, 'target');
    this.#home = new Home(join(folder, 'home'));
    this.#relay = relay;
    this.#port = port;
    const random = seededRandom(5);
    fs.mkdirSync(this.target);
    fillTree(this.source, random, 60);
    for (let i = 0; i < fileCount; i++) {
      const path = join(this.source, 'two/three', `noise${i}`);
      fs.writeFileSync(path, randomBytes(random, fileSize));
    }
  }

  static async open(t: Test): Promise<Scene> {
    const port = await freePort();
    // One for all passes: the target's address is part of the place of the sender's state.
    const relay = await Relay.open({ targetPort: port });
    t.teardown(() => relay.close());
    return new Scene(t.testdir(), relay, port);
  }

  get senderState(): string {
    return join(this.#home.folder, 'state/replica');
  }

  get receiverState(): string {
    return join(this.target, '.replica/state');
  }

  /** A receiver, and one push --once through a relay that counts. */
  async pass(t: Test, flags: readonly string[] = []): Promise<Pass> {
    const { program } = await this.#home.receive(this.target, ['--port', `${this.#port}`]);
    const bytes = this.#relay.bytesUp + this.#relay.bytesDown;
    try {
      const target = `127.0.0.1:${this.#relay.port}`;
      const { code, lines } = await this.#home.pushOnce(this.source, target, flags);
      const all = [...lines, ...program.lines];
      t.equal(code, 0, all.join('\n'));
      return { lines: all, bytes: this.#relay.bytesUp + this.#relay.bytesDown - bytes };
    } finally {
      t.equal((await program.stop()).code, 0, 'the receiver ends well');
    }
  }
}

const damages: Readonly<Record<string, (folder: string) => void>> = {
  lost: folder => fs.rmSync(folder, { recursive: true }),
  truncated: folder => {
    for (const path of stores(folder)) fs.truncateSync(path, fs.statSync(path).size >> 1);
  },
  emptied: folder => {
    for (const path of stores(folder)) fs.truncateSync(path, 0);
  },
  damaged: folder => {
    for (const path of stores(folder)) {
      const content = fs.readFileSync(path);
      const random = seededRandom(3);
      for (let at = 0; at < content.length; at += 4096) {
        randomBytes(random, 256).copy(content, at);
      }
      fs.writeFileSync(path, content);
    }
  },
};

/** As programs leave it that died of it: a flipped bit can end them by a signal. */
function leaveStarts(folder: string): void {
  for (const path of stores(folder)) fs.writeFileSync(join(dirname(path), 'starts'), '...');
}

/** The LMDB files below `folder`. */
function stores(folder: string): string[] {
  const names = fs.readdirSync(folder, { recursive: true, encoding: 'utf8' });
  const found = names.filter(name => name.endsWith('data.mdb')).map(name => join(folder, name));
  if (found.length === 0) throw new Error(`no store among ${names}`);
  return found;
}

/** Inodes of the files: those of content that was written again are others. */
function inodes(root: string): Map<string, bigint> {
  const paths = [...readTree(root)].filter(([, entry]) => entry.kind === 'file');
  return new Map(
    paths.map(([path]) => {
      const full = Buffer.concat([Buffer.from(`${root}/`), Buffer.from(path, 'latin1')]);
      return [path, fs.lstatSync(full, { bigint: true }).ino];
    }),
  );
}

for (const side of ['sender', 'receiver'] as const) {
  t.test(`the ${side}'s state is lost, truncated, emptied, damaged`, async t => {
    const scene = await Scene.open(t);
    const first = await scene.pass(t);
    t.ok(first.bytes > fileCount * fileSize, 'the content crossed the wire once');
    t.strictSame(compareTrees(scene.source, scene.target), []);
    const before = inodes(scene.target);
    for (const [kind, damage] of ownShare(Object.entries(damages))) {
      damage(side === 'sender' ? scene.senderState : scene.receiverState);
      const { bytes, lines } = await scene.pass(t);
      t.comment(`${kind}: ${bytes} bytes instead of ${first.bytes}`);
      t.strictSame(compareTrees(scene.source, scene.target), [], `${kind}: still equal`);
      t.ok(bytes < namesAndStatsMax, `${kind}: only names and stats crossed the wire`);
      const drift = lines.filter(line => /"msg":"drift"/.test(line));
      t.strictSame(drift, [], `${kind}: nothing is called drift`);
    }
    leaveStarts(side === 'sender' ? scene.senderState : scene.receiverState);
    const { lines } = await scene.pass(t);
    t.match(lines.join('\n'), /3 starts in a row ended early/, 'the state is made anew');
    t.strictSame(compareTrees(scene.source, scene.target), []);
    if (side === 'sender') t.strictSame(inodes(scene.target), before, 'no file was written again');
    const { bytes } = await scene.pass(t);
    t.ok(bytes < 10_000, `nothing is left to do: ${bytes} bytes`);
  });
}

t.test('edits made after the state was lost arrive, and what was deleted goes', async t => {
  for (const side of ownShare(['sender', 'receiver'] as const)) {
    const scene = await Scene.open(t);
    await scene.pass(t);
    damages.lost?.(side === 'sender' ? scene.senderState : scene.receiverState);
    const noise = join(scene.source, 'two/three');
    fs.appendFileSync(join(noise, 'noise1'), 'more');
    fs.rmSync(join(noise, 'noise2'));
    fs.renameSync(join(noise, 'noise3'), join(scene.source, 'moved'));
    // As a save that keeps size and time: only reading it tells.
    const path = join(noise, 'noise4');
    const { atime, mtime } = fs.statSync(path);
    fs.writeFileSync(path, Buffer.alloc(fileSize, 4));
    fs.utimesSync(path, atime, mtime);
    const { bytes } = await scene.pass(t);
    t.strictSame(compareTrees(scene.source, scene.target), [], `${side}: equal`);
    t.ok(bytes < namesAndStatsMax + fileSize, `${side}: ${bytes} bytes`);
  }
});
