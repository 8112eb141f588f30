// A commit that a crash left half done, in a tree where somebody else did something before.
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Receiver } from '../../src/receiver/receiver.ts';
import { FakeSender, rename, rootId } from '../support/fake-sender.ts';
import { listAll, receiverDefaults } from '../support/receivers.ts';

const never = 2 ** 31 - 1;
const pauses = { firstSliceMs: never, sliceMs: never, sweepMs: never, cleanMs: never };

/**
 * Two files; `new` drifts, and is renamed to `target` or to a free name by a commit that crashes at
 * a step. Returns what the next receiver has and knows.
 */
async function story(
  t: Test,
  { to, crashAt }: { readonly to: string; readonly crashAt: string },
): Promise<{ root: string; recorded: readonly string[] }> {
  const root = t.testdir();
  let isArmed = false;
  const receiver = await Receiver.open({
    ...{ ...receiverDefaults, root, pauses },
    onStep: label => {
      if (isArmed && label === crashAt) throw new Error('crash');
    },
  });
  const sender = await FakeSender.open(receiver);
  const file = sender.file(rootId, 'new', 'as it was');
  await sender.commit([file, sender.file(rootId, 'target', 'TARGET')]);
  const fd = fs.openSync(join(root, 'new'), 'r+');
  fs.writeSync(fd, 'drifted!!');
  fs.closeSync(fd);
  isArmed = true;
  await t.rejects(sender.commit([rename(file, rootId, to)]));
  await sender.close().catch(() => {});
  await receiver.close().catch(() => {});
  const again = await Receiver.open({ ...receiverDefaults, root, pauses });
  t.teardown(() => again.close());
  const next = await FakeSender.open(again);
  t.teardown(() => next.close());
  return { root, recorded: await listAll(next) };
}

function keptContents(root: string): string[] {
  const kept = join(root, '.replica/kept');
  return fs.readdirSync(kept).map(name => fs.readFileSync(join(kept, name), 'utf8'));
}

for (const crashAt of ['rename 0', 'end', 'records']) {
  t.test(`content that drifted is not taken for the file, crash at '${crashAt}'`, async t => {
    const { root, recorded } = await story(t, { to: 'other', crashAt });
    t.strictSame(recorded, ['1/target file 3 v1'], 'the sender hears that it is not there');
    t.strictSame(fs.readdirSync(root).sort(), ['.replica', 'target']);
    t.ok(keptContents(root).includes('drifted!!'));
  });

  t.test(`what a refused rename was to replace stays known, crash at '${crashAt}'`, async t => {
    const { root, recorded } = await story(t, { to: 'target', crashAt });
    t.strictSame(recorded, ['1/target file 3 v1']);
    t.equal(fs.readFileSync(join(root, 'target'), 'utf8'), 'TARGET');
    t.ok(keptContents(root).includes('drifted!!'));
  });
}
