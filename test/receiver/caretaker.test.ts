import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { MessageType } from '../../src/wire/messages.ts';
import { FakeSender, remove, rootId } from '../support/fake-sender.ts';
import { collectingLog, listAll, openReceiver } from '../support/receivers.ts';
import { treeText } from '../support/tree-text.ts';

const never = 2 ** 31 - 1;
const busy = { firstSliceMs: 1, sliceMs: 1, sweepMs: 1, cleanMs: never };
const idle = { firstSliceMs: never, sliceMs: never, sweepMs: never, cleanMs: never };

t.test('what others alter, remove or add is kept, forgotten and told', async t => {
  const root = t.testdir();
  const { log, lines } = collectingLog();
  const receiver = await openReceiver(t, { root, log, pauses: busy });
  const sender = await FakeSender.open(receiver);
  const d = sender.directory(rootId, 'd');
  const sub = sender.directory(d.entry.id, 'sub');
  const deep = sender.file(sub.entry.id, 'deep', 'deep');
  const a = sender.file(rootId, 'a', 'a');
  const b = sender.file(d.entry.id, 'b', 'b');
  const l = sender.link(d.entry.id, 'l', 'somewhere');
  await sender.commit([d, sub, deep, a, b, l]);

  fs.writeFileSync(join(root, 'a'), 'altered');
  fs.rmSync(join(root, 'd', 'b'));
  fs.writeFileSync(join(root, 'd', 'foreign'), 'foreign');
  fs.rmSync(join(root, 'd', 'l'));
  fs.symlinkSync('elsewhere', join(root, 'd', 'l'));
  fs.rmSync(join(root, 'd', 'sub'), { recursive: true });
  fs.symlinkSync('/etc', join(root, 'd', 'sub'));

  const lost = new Set<string>();
  while (lost.size < 4) {
    const message = await sender.next(MessageType.Lost);
    for (const { parent, name, id } of message.entries) lost.add(`${parent}/${name} ${id}`);
  }
  while (receiver.driftCount < 5) await new Promise(setImmediate);
  t.strictSame(
    [...lost].sort(),
    [a, b, l, sub].map(one => `${one.parent}/${one.name} ${one.entry.id}`).sort(),
  );
  t.strictSame(treeText(root), ['d/'], 'only what is as recorded stays');
  t.strictSame(await listAll(sender), [`1/d directory ${d.entry.id} v0`]);
  const kept = treeText(join(root, '.replica', 'kept')).map(line => line.replace(/^\w+-/, ''));
  t.strictSame(kept.sort(), ["a 'altered'", "foreign 'foreign'", 'l -> elsewhere', 'sub -> /etc']);
  t.equal(lines.filter(line => line.startsWith('warn drift')).length, 5);
  await sender.close();
});

t.test('a changed mode is put right without sending anything', async t => {
  const root = t.testdir();
  const receiver = await openReceiver(t, { root, pauses: busy });
  const sender = await FakeSender.open(receiver);
  const d = sender.directory(rootId, 'd', { mode: 0o750 });
  const f = sender.file(d.entry.id, 'f', 'content', { mode: 0o640 });
  await sender.commit([d, f]);
  const before = treeText(root, { attributes: true });
  fs.chmodSync(join(root, 'd', 'f'), 0o666);
  fs.chmodSync(join(root, 'd'), 0o777);
  while (treeText(root, { attributes: true }).join() !== before.join()) {
    await new Promise(setImmediate);
  }
  t.equal(receiver.driftCount, 0);
  t.strictSame(await listAll(sender), [
    `1/d directory ${d.entry.id} v0`,
    `${d.entry.id}/f file ${f.entry.id} v1`,
  ]);
  await sender.close();
});

t.test('kept content goes when it is old, with its records', async t => {
  const root = t.testdir();
  let nowMs = 1_000_000_000_000;
  const keepMs = 3_600_000;
  const pauses = { ...idle, cleanMs: 1 };
  const receiver = await openReceiver(t, { root, pauses, keepMs, nowMs: () => nowMs });
  const sender = await FakeSender.open(receiver);
  const d = sender.directory(rootId, 'd', { mode: 0o500 });
  const sub = sender.directory(d.entry.id, 'sub', { mode: 0o500 });
  const contents = ['inside', 'alone'].map(text => Buffer.alloc(500, text));
  const [ofF = Buffer.alloc(0), ofG = Buffer.alloc(0)] = contents;
  const f = sender.file(sub.entry.id, 'f', ofF);
  const g = sender.file(rootId, 'g', ofG);
  await sender.commit([d, sub, f, g]);
  await sender.commit([remove(rootId, 'd', d.entry.id), remove(rootId, 'g', g.entry.id)]);
  const inside = contents.map(bytes => sender.block(bytes));
  const ids = inside.map(piece => (piece.kind === 'block' ? piece.id : Buffer.alloc(16)));
  t.strictSame(await sender.offer(ids), [false, false], 'both blocks are here');
  nowMs += keepMs - 600_000;
  const late = sender.file(rootId, 'late', 'late');
  await sender.commit([late]);
  await sender.commit([remove(rootId, 'late', late.entry.id)]);
  nowMs += 1_200_000;
  const folder = join(root, '.replica', 'kept');
  while (fs.readdirSync(folder).length > 1) await new Promise(setImmediate);
  t.strictSame(treeText(folder), ["4.0.0-late 'late'"]);
  await sender.close();
  // The records go right after the content.
  for (;;) {
    const other = await FakeSender.open(receiver);
    const isNeeded = await other.offer(ids);
    await other.close();
    if (!isNeeded.includes(false)) break;
  }
  t.pass('their blocks are not in the index any more');
});
