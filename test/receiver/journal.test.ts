// What commits did, as `replica log` reads it.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { readCommitLog } from '../../src/store/commit-log.ts';
import { FakeSender, remove, rename, rootId } from '../support/fake-sender.ts';
import { collectingLog, openReceiver } from '../support/receivers.ts';

t.test('each operation is noted with the path it had or has, a rejected one is not', async t => {
  const root = t.testdir();
  const receiver = await openReceiver(t, { root, nowMs: () => 5000 });
  const sender = await FakeSender.open(receiver);
  const docs = sender.directory(rootId, 'docs');
  const old = sender.directory(docs.entry.id, 'old');
  const file = sender.file(old.entry.id, 'a', 'hello');
  await sender.commit([docs, old, file]);
  await sender.commit([rename(docs, rootId, 'papers'), sender.link(rootId, 'l', 't')]);
  const strange = { ...file.entry, id: 999 } as typeof file.entry;
  const { rejected } = await sender.commit([
    remove(old.entry.id, 'a', file.entry.id),
    remove(docs.entry.id, 'old', old.entry.id),
    { kind: 'attributes', parent: rootId, name: 'l' as never, entry: strange },
  ]);
  t.equal(rejected.length, 1);
  await sender.close();
  const commits = readCommitLog(join(root, '.replica/state'));
  t.same(
    commits.map(one => [one.commit, one.timeMs, one.more]),
    [
      [1, 5000, 0],
      [2, 5000, 0],
      [3, 5000, 0],
    ],
  );
  t.same(
    commits.map(one => one.operations),
    [
      [
        { kind: 'directory', path: 'docs' },
        { kind: 'directory', path: 'docs/old' },
        { kind: 'file', path: 'docs/old/a', size: 5 },
      ],
      [
        { kind: 'rename', path: 'papers', from: 'docs' },
        { kind: 'link', path: 'l' },
      ],
      [
        { kind: 'remove', path: 'papers/old/a' },
        { kind: 'remove', path: 'papers/old' },
      ],
    ],
  );
});

t.test('a commit that a crash interrupted is noted once, when it is finished', async t => {
  const root = t.testdir();
  const crash = { at: '' };
  const onStep = (label: string): void => {
    if (label === crash.at) throw new Error('crash');
  };
  for (const at of ['file 0', 'records']) {
    const receiver = await openReceiver(t, { root, onStep });
    const sender = await FakeSender.open(receiver);
    crash.at = at;
    await t.rejects(sender.commit([sender.file(rootId, at.replaceAll(' ', '-'), 'x')]));
    crash.at = '';
    await receiver.close();
    const again = await openReceiver(t, { root });
    await again.close();
  }
  const commits = readCommitLog(join(root, '.replica/state'));
  t.same(
    commits.map(one => [one.commit, one.operations[0]?.path]),
    [
      [1, 'file-0'],
      [2, 'records'],
    ],
  );
});

t.test('where nothing can be noted, commits go on, and it is said once', async t => {
  const root = t.testdir();
  const { log, lines } = collectingLog();
  const receiver = await openReceiver(t, { root, log });
  fs.mkdirSync(join(root, '.replica/state/commits.jsonl'));
  const sender = await FakeSender.open(receiver);
  for (const name of ['a', 'b']) {
    t.same(await sender.commit([sender.file(rootId, name, name)]), { rejected: [], lost: [] });
  }
  await sender.close();
  t.equal(lines.filter(line => line.includes("missing in 'replica log' (EISDIR)")).length, 1);
});
