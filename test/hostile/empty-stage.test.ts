// A stage that is announced as large and completed without a byte, in a commit that never ends: it
// must not be taken for one to go on with.
import t from 'tap';
import { largeFileSize } from '../../src/limits.ts';
import { MessageType } from '../../src/wire/messages.ts';
import { FakeSender, rootId } from '../support/fake-sender.ts';
import { openReceiver } from '../support/receivers.ts';
import { treeText } from '../support/tree-text.ts';

t.test('an empty stage that was cut short does not stop the next one', async t => {
  const root = t.testdir();
  const receiver = await openReceiver(t, { root });
  const stage = 1;
  for (const bytes of [Buffer.alloc(0), Buffer.alloc(300, 'x')]) {
    const sender = await FakeSender.open(receiver);
    const { connection, nextCommit: commit } = sender;
    const file = { ...sender.file(rootId, 'a', ''), entry: sender.fileEntry(bytes.length) };
    const { id } = file.entry;
    const size = largeFileSize;
    await connection.send({ type: MessageType.StageOpen, stage, id, size, baseVersion: 0 });
    const pieces = sender.data(bytes);
    await connection.send({ type: MessageType.StageData, stage, pieces });
    const operations = [{ ...file, kind: 'file', content: { kind: 'stage', stage } } as const];
    await connection.send({ type: MessageType.Operations, commit, operations });
    if (bytes.length > 0) {
      await connection.send({ type: MessageType.CommitEnd, commit, operationCount: 1 });
      t.strictSame(await sender.durable(commit), { rejected: [], lost: [] });
    } else {
      await connection.send({ type: MessageType.Ping, token: 1n });
      await connection.waitForCredit(0);
    }
    await sender.close();
  }
  t.strictSame(treeText(root), ['a 300 bytes']);
});
