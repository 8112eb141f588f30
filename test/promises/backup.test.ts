// P4: state or tree of either side come from an old backup, or the clock jumps. That costs names and
// stats, never content: what is not as recorded is kept.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { caretakerPauses } from '../../src/receiver/caretaker.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import { makeDiskFolder } from '../support/folders.ts';
import { fillTree, mutate } from '../support/mutate.ts';
import { pushOnce } from '../support/push-once.ts';
import { seededRandom } from '../support/random.ts';
import { receiverDefaults } from '../support/receivers.ts';
import { ownShare } from '../support/seeds.ts';
import { compareTrees } from '../support/tree.ts';

interface Scene {
  readonly folder: string;
  readonly source: string;
  readonly target: string;
  /** Some operations at the source. */
  edit(): void;
  /** A receiver, a pass, and what differs then. */
  pass(nowMs?: () => number): Promise<readonly string[]>;
}

function begin(t: Test, seed: number): Scene {
  const folder = makeDiskFolder(t);
  const source = join(folder, 'source');
  const target = join(folder, 'target');
  const random = seededRandom(seed);
  fs.mkdirSync(target);
  fillTree(source, random, 25);
  return {
    folder,
    source,
    target,
    edit() {
      for (let i = 0; i < 15; i++) mutate(source, random);
    },
    async pass(nowMs) {
      // What is kept is gone through all the time, by the clock that jumps.
      const pauses = { ...caretakerPauses, cleanMs: 5 };
      const options = { ...receiverDefaults, root: target, keepMs: 60_000, nowMs, pauses };
      const receiver = await Receiver.open(options);
      try {
        const { outcome } = await pushOnce({ folder, source, receiver });
        t.ok(outcome.inSync);
      } finally {
        await receiver.close();
      }
      return compareTrees(source, target);
    },
  };
}

function copy(from: string, to: string): void {
  fs.rmSync(to, { recursive: true, force: true });
  // The names of these trees are not all UTF-8.
  const { status } = spawnSync('cp', ['-a', from, to]);
  if (status !== 0) throw new Error(`cannot copy ${from}`);
}

const restored: Readonly<Record<string, (scene: Scene) => string>> = {
  "the receiver's state": ({ target }) => join(target, '.replica', 'state'),
  "the sender's state": ({ folder }) => join(folder, 'sender-state'),
  'the destination with its state': ({ target }) => target,
  'the source': ({ source }) => source,
};

for (const [what, pathOf] of ownShare(Object.entries(restored))) {
  t.test(`${what} comes from a backup`, async t => {
    const scene = begin(t, 3);
    await scene.pass();
    const path = pathOf(scene);
    const backup = join(scene.folder, 'backup');
    copy(path, backup);
    scene.edit();
    // So that the root itself changed since the backup.
    fs.writeFileSync(join(scene.source, 'late'), '');
    t.strictSame(await scene.pass(), [], 'equal before');
    copy(backup, path);
    const differences = await scene.pass();
    t.strictSame(differences, [], 'equal after');
    scene.edit();
    t.strictSame(await scene.pass(), [], 'and after more edits');
  });
}

t.test('the clock of the receiver jumps by years, to and fro', async t => {
  const scene = begin(t, 4);
  const yearMs = 365 * 24 * 3_600_000;
  for (const years of [10, -20]) {
    scene.edit();
    t.strictSame(await scene.pass(() => Date.now() + years * yearMs), [], `${years} years`);
  }
});
