import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Receiver } from '../../src/receiver/receiver.ts';
import type { Operation } from '../../src/wire/messages.ts';
import { Fuse } from '../support/crashing-directory.ts';
import { FakeSender } from '../support/fake-sender.ts';
import { auditIndex } from '../support/index-audit.ts';
import { openUp } from '../support/open-up.ts';
import { OperationModel } from '../support/operation-model.ts';
import { randomInteger, seededRandom } from '../support/random.ts';
import { collectingLog, listAll, receiverDefaults } from '../support/receivers.ts';
import { ownSeeds } from '../support/seeds.ts';
import { treeText } from '../support/tree-text.ts';

const seeds = ownSeeds(8);
const setupCommits = 4;
const crashedCommits = 3;

interface Story {
  readonly sent: readonly (readonly Operation[])[];
  /** What the tree and the records are after n of the commits that may crash. */
  readonly trees: readonly string[];
  readonly records: readonly string[];
  /** One more commit for afterwards, valid only if all were applied. */
  readonly next: (sender: FakeSender) => Operation[];
  readonly model: OperationModel;
}

/** The same commits for the same seed. */
async function begin(sender: FakeSender, seed: number): Promise<Story> {
  const random = seededRandom(seed);
  const model = new OperationModel(max => randomInteger(random, max), { isWild: false });
  for (let i = 0; i < setupCommits; i++) await sender.commit(model.randomCommit(sender, 8));
  const trees = [model.text().join('\n')];
  const records = [model.entries().join('\n')];
  const sent: Operation[][] = [];
  for (let i = 0; i < crashedCommits; i++) {
    sent.push(model.randomCommit(sender, 6));
    trees.push(model.text().join('\n'));
    records.push(model.entries().join('\n'));
  }
  return { sent, trees, records, model, next: other => model.randomCommit(other, 6) };
}

/** Crashes at the `at`th change, or at a step of that name; false: there are not so many. */
async function crashOnce(t: Test, seed: number, at: number | string): Promise<boolean> {
  const root = t.testdir();
  const fuse = new Fuse();
  const { log, lines } = collectingLog();
  const openRoot = (path: string) => fuse.openRoot(path);
  let isArmed = false;
  const onStep = (label: string) => {
    if (isArmed && label === at) fuse.blow();
  };
  // Only the steps between flushes need them.
  const fsync = typeof at === 'string' ? 'batch' : 'off';
  const options = { ...receiverDefaults, root, log, fsync } as const;
  const first = await Receiver.open({ ...options, openRoot, onStep });
  const sender = await FakeSender.open(first);
  const story = await begin(sender, seed);
  isArmed = true;
  if (typeof at === 'number') fuse.left = at;
  for (const operations of story.sent) {
    await sender.send(operations).catch(() => {});
  }
  await sender.durable(sender.nextCommit - 1n).catch(() => {});
  const hasCrashed = fuse.isBlown;
  await first.close().catch(() => {});
  await sender.connection.close();
  fuse.replace();
  fs.rmSync(join(root, '.replica', 'receive.lock'), { force: true });

  const second = await Receiver.open(options);
  const again = await FakeSender.open(second);
  const done = Number(again.welcome?.watermark ?? 0n) - setupCommits;
  const problems: string[] = lines.filter(line => line.startsWith('warn drift'));
  const tree = treeText(root, { attributes: true }).join('\n');
  if (tree !== story.trees[done]) problems.push(`tree\n${tree}\nnot\n${story.trees[done]}`);
  const records = (await listAll(again)).join('\n');
  if (records !== story.records[done]) {
    problems.push(`records\n${records}\nnot\n${story.records[done]}`);
  }
  for (const folder of ['staging', 'limbo']) {
    const names = fs.readdirSync(join(root, '.replica', folder));
    if (names.length > 0) problems.push(`${folder} has ${names.join(', ')}`);
  }
  if (done === crashedCommits) {
    again.nextId = sender.nextId;
    const { rejected, lost } = await again.commit(story.next(again));
    if (rejected.length + lost.length > 0) problems.push('the next commit was not applied');
    const after = treeText(root, { attributes: true }).join('\n');
    if (after !== story.model.text().join('\n')) problems.push(`tree afterwards\n${after}`);
  }
  await again.close();
  await second.close();
  problems.push(...(await auditIndex(root)).faults);
  openUp(root);
  if (problems.length > 0) {
    t.strictSame(problems, [], `seed ${seed}, crash at ${at}, ${done} commits done`);
    for (const line of lines) t.comment(line);
    for (const operations of story.sent) for (const one of operations) t.comment(text(one));
    t.comment(`before\n${story.trees[0]}`);
    throw new Error('crash test failed');
  }
  return hasCrashed;
}

for (const label of ['flush', 'intents', 'attributes', 'applied', 'records', 'written']) {
  t.test(`a crash at '${label}' leaves whole commits`, async t => {
    for (const seed of ownSeeds(4)) await crashOnce(t, seed, label);
    t.pass();
  });
}

t.test('a crash at any change to the tree leaves whole commits and no drift', async t => {
  let count = 0;
  for (const seed of seeds) {
    for (let at = 0; await crashOnce(t, seed, at); at++) count++;
  }
  t.ok(count > seeds.length * 10, `${count} crashes`);
});

function text(value: object): string {
  return JSON.stringify(value, (key, field) => {
    if (key === 'content' || key === 'stamp') return undefined;
    return typeof field === 'bigint' ? `${field}` : field;
  });
}
