// Two names of the source that are one at the destination: the first one is replicated, the other is
// refused in clear words, and neither takes the place of the other.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { makeDiskFolder } from '../support/folders.ts';
import { openFoldingRoot } from '../support/folding-directory.ts';
import { type Pushed, pushOnce } from '../support/push-once.ts';
import { collectingLog, openReceiver } from '../support/receivers.ts';

type Test = Parameters<Parameters<typeof t.test>[0]>[0];

async function openPair(t: Test) {
  const folder = makeDiskFolder(t);
  const source = join(folder, 'source');
  const root = join(folder, 'target');
  for (const path of [source, root]) fs.mkdirSync(path);
  const { log, lines } = collectingLog();
  const receiver = await openReceiver(t, { root, log, openRoot: openFoldingRoot });
  return {
    source,
    root,
    drifts: () => lines.filter(line => line.startsWith('warn drift')),
    push: () => pushOnce({ folder, source, receiver }),
  };
}

function tree(root: string): string[] {
  return fs
    .readdirSync(root, { recursive: true, withFileTypes: true })
    .map(one => join(one.parentPath, one.name).slice(root.length + 1))
    .filter(path => !path.startsWith('.replica'))
    .sort();
}

function problemsOf({ events }: Pushed): string[] {
  return events.flatMap(event =>
    event.kind === 'problem' ? [`${event.problem.path}: ${event.problem.message}`] : [],
  );
}

t.test('of two names that are one there the first stays, and the other is refused', async t => {
  const { source, root, push, drifts } = await openPair(t);
  fs.writeFileSync(join(source, 'README'), 'upper');
  fs.mkdirSync(join(source, 'docs'));
  fs.writeFileSync(join(source, 'docs/one'), '1');
  t.match(await push(), { outcome: { inSync: true } });
  fs.writeFileSync(join(source, 'readme'), 'lower');
  fs.symlinkSync('docs', join(source, 'Docs'));
  fs.linkSync(join(source, 'docs/one'), join(source, 'docs/ONE'));
  fs.mkdirSync(join(source, 'new'));
  for (const name of ['a', 'A', 'b']) fs.writeFileSync(join(source, 'new', name), name);
  fs.mkdirSync(join(source, 'neW'));
  fs.writeFileSync(join(source, 'neW/deep'), 'deep');
  for (let run = 0; run < 2; run++) {
    const pushed = await push();
    t.match(pushed.outcome, { inSync: false });
    const problems = ['', ...problemsOf(pushed)].join('\n');
    for (const name of ['readme', 'Docs', 'docs/ONE']) {
      t.match(problems, `\n${name}: another name that differs only in case or form is in the way`);
    }
    t.equal(fs.readFileSync(join(root, 'README'), 'utf8'), 'upper');
    // Which of two that come together is the first is as it happens.
    t.ok(tree(root).length <= 6, tree(root).join(' '));
    t.equal(fs.readFileSync(join(root, 'docs/one'), 'utf8'), '1');
  }
  t.strictSame(drifts(), []);
  for (const path of ['README', 'Docs', 'docs/ONE', 'new/A', 'neW']) {
    fs.rmSync(join(source, path), { recursive: true });
  }
  t.match(await push(), { outcome: { inSync: true } }, 'once it is the only one it has its place');
  t.strictSame(tree(root), tree(source));
  t.equal(fs.readFileSync(join(root, 'readme'), 'utf8'), 'lower');
});

t.test('a name may get another case', async t => {
  const { source, root, push, drifts } = await openPair(t);
  fs.writeFileSync(join(source, 'README'), 'text');
  fs.mkdirSync(join(source, 'Docs'));
  fs.writeFileSync(join(source, 'Docs/one'), '1');
  fs.symlinkSync('Docs', join(source, 'Link'));
  await push();
  for (const name of ['README', 'Docs', 'Link']) {
    fs.renameSync(join(source, name), join(source, name.toLowerCase()));
  }
  const pushed = await push();
  t.match(pushed, { outcome: { inSync: true }, sentBytes: 0 });
  t.strictSame(tree(root), tree(source));
  t.equal(fs.readFileSync(join(root, 'readme'), 'utf8'), 'text');
  t.strictSame(drifts(), []);
});
