// A commit that refers to itself in a way that cannot be: nothing may wait for its own end, or the
// receiver would serve nobody any more.
import t from 'tap';
import { blockId } from '../../src/blocks/block-id.ts';
import type { Message, Operation, Piece } from '../../src/wire/messages.ts';
import { MessageType } from '../../src/wire/messages.ts';
import { FakeSender, rootId } from '../support/fake-sender.ts';
import { openReceiver } from '../support/receivers.ts';
import { treeText } from '../support/tree-text.ts';

const bytes = Buffer.alloc(300, 'x');

function made(sender: FakeSender, text: string, pieces: readonly Piece[], size: number): Operation {
  return {
    ...{ ...sender.file(rootId, text, ''), kind: 'file', entry: sender.fileEntry(size) },
    content: { kind: 'inline', baseVersion: 0, pieces },
  };
}

t.test('a block of this commit under another size is not waited for', async t => {
  const root = t.testdir();
  const receiver = await openReceiver(t, { root });
  const sender = await FakeSender.open(receiver);
  const id = blockId(sender.secret, bytes);
  const outcome = await sender.commit([
    sender.file(rootId, 'a', bytes),
    made(sender, 'b', [{ kind: 'block', id, size: 1 }], 1),
  ]);
  t.match(outcome.rejected, [{ index: 1, reason: 'blocks' }]);
  t.strictSame(treeText(root), ['a 300 bytes']);
  await sender.close();
});

t.test('nor one that came under the id of another', async t => {
  const root = t.testdir();
  const receiver = await openReceiver(t, { root });
  const sender = await FakeSender.open(receiver);
  const id = blockId(sender.secret, Buffer.alloc(300, 'y'));
  const outcome = await sender.commit([
    made(sender, 'a', [{ kind: 'data', id, bytes }], 300),
    made(sender, 'b', [{ kind: 'block', id, size: 300 }], 300),
  ]);
  t.match(outcome.rejected, [{ index: 1, reason: 'blocks' }]);
  t.strictSame(treeText(root), ['a 300 bytes']);
  await sender.close();
});

t.test('nor by a stage, while the commit is still coming in', async t => {
  const root = t.testdir();
  const receiver = await openReceiver(t, { root });
  const sender = await FakeSender.open(receiver);
  const id = blockId(sender.secret, bytes);
  const operations = [sender.file(rootId, 'a', bytes)];
  const stage = 4;
  const piece: Piece = { kind: 'block', id, size: 1 };
  const messages: Message[] = [
    { type: MessageType.Operations, commit: 1n, operations },
    { type: MessageType.StageOpen, stage, id: sender.id(), size: 1, baseVersion: 0 },
    { type: MessageType.StageData, stage, pieces: [piece] },
    { type: MessageType.StageAbort, stage },
    { type: MessageType.CommitEnd, commit: 1n, operationCount: 1 },
  ];
  for (const message of messages) await sender.connection.send(message);
  t.strictSame(await sender.durable(1n), { rejected: [], lost: [] });
  t.strictSame(treeText(root), ['a 300 bytes']);
  await sender.close();
});
