// Blocks that are made of the version before: what patches promise is checked, and refused if not so.
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { blockId } from '../../src/blocks/block-id.ts';
import { encodePatch } from '../../src/blocks/block-patch.ts';
import { silentLog } from '../../src/log.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import { MessageType, type Operation } from '../../src/wire/messages.ts';
import { FakeSender, rootId } from '../support/fake-sender.ts';

const old = Buffer.from('one two three four five six seven eight nine ten');
const next = Buffer.from('one two 3 four five six seven eight nine ten');
const copies = [
  { at: 0, from: 0, size: 8 },
  { at: 9, from: 13, size: 35 },
];

async function prepare(t: Test) {
  const root = t.testdir();
  const receiver = await Receiver.open({
    root,
    adopt: false,
    takeOver: false,
    fsync: 'batch',
    keepMs: 0,
    specialBits: false,
    log: silentLog,
  });
  t.teardown(() => receiver.close());
  const sender = await FakeSender.open(receiver);
  t.teardown(() => sender.close());
  const file = sender.file(rootId, 'a', old);
  await sender.commit([file]);
  /** The file as `next`, by a patch under the id of `claimed`. */
  const patched = (patch: Buffer, claimed: Buffer, baseVersion = 1): Operation => {
    const { id } = file.entry;
    const { parent, name, entry } = sender.file(rootId, 'a', next, { id, version: 2 });
    const piece = { kind: 'patch', id: blockId(sender.secret, claimed), patch } as const;
    const pieces = [{ ...piece, size: claimed.length }];
    return { kind: 'file', parent, name, entry, content: { kind: 'inline', baseVersion, pieces } };
  };
  const content = (): string => fs.readFileSync(join(root, 'a'), 'latin1');
  return { sender, patched, content };
}

t.test('a patch makes a block of the version before', async t => {
  const { sender, patched, content } = await prepare(t);
  const { rejected } = await sender.commit([patched(encodePatch(next, copies), next)]);
  t.strictSame(rejected, []);
  t.equal(content(), next.toString());
});

t.test('a patch that makes another block is refused, and the old version stays', async t => {
  const { sender, patched, content } = await prepare(t);
  const wrong = [{ at: 0, from: 1, size: 8 }, copies[1] as (typeof copies)[1]];
  const { rejected } = await sender.commit([patched(encodePatch(next, wrong), next)]);
  t.match(rejected, [{ index: 0, reason: 'base' }]);
  t.equal(content(), old.toString());
});

t.test('a patch of more than the version before has is refused', async t => {
  const { sender, patched, content } = await prepare(t);
  const beyond = [{ at: 0, from: old.length - 1, size: 2 }];
  const { rejected } = await sender.commit([patched(encodePatch(next, beyond), next)]);
  t.match(rejected, [{ index: 0, reason: 'base' }]);
  t.equal(content(), old.toString());
});

t.test('a patch that is none, or of no version, ends the connection', async t => {
  for (const [patch, base] of [
    [Buffer.from('00ff', 'hex'), 1],
    [encodePatch(next, copies), 0],
  ] as const) {
    const { sender, patched } = await prepare(t);
    await sender.send([patched(patch, next, base)]);
    t.match(await sender.any(), { type: MessageType.Failure, code: 'protocol', message: /patch/ });
  }
});
