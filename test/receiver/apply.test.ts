import t from 'tap';
import { FakeSender } from '../support/fake-sender.ts';
import { openUp } from '../support/open-up.ts';
import { OperationModel } from '../support/operation-model.ts';
import { randomInteger, seededRandom } from '../support/random.ts';
import { collectingLog, listAll, openReceiver } from '../support/receivers.ts';
import { treeText } from '../support/tree-text.ts';

const rounds = 60;

t.test('any valid commits give the tree and the records of the model', async t => {
  for (let seed = 1; seed <= rounds; seed++) {
    const root = t.testdir();
    t.teardown(() => openUp(root));
    const { log, lines } = collectingLog();
    const receiver = await openReceiver(t, { root, log, fsync: 'off' });
    const sender = await FakeSender.open(receiver);
    const random = seededRandom(seed);
    const model = new OperationModel(max => randomInteger(random, max), { isWild: true });
    for (let commit = 0; commit < 12; commit++) {
      const before = model.text();
      const operations = model.randomCommit(sender, 8);
      const outcome = await sender.commit(operations);
      const tree = treeText(root, { attributes: true });
      const expected = model.text();
      const isSame =
        outcome.rejected.length + outcome.lost.length === 0 &&
        tree.join('\n') === expected.join('\n');
      if (!isSame) {
        t.strictSame({ ...outcome, tree }, { rejected: [], lost: [], tree: expected });
        t.comment(`seed ${seed}, commit ${commit}`);
        t.comment(before.join('\n'));
        for (const operation of operations) t.comment(text(operation));
        return;
      }
    }
    const drifts = lines.filter(line => line.startsWith('warn drift'));
    const listed = await listAll(sender);
    if (drifts.length > 0 || listed.join('\n') !== model.entries().join('\n')) {
      t.strictSame({ drifts, listed }, { drifts: [], listed: model.entries() }, `seed ${seed}`);
      return;
    }
    await sender.close();
    await receiver.close();
    openUp(root);
  }
  t.pass(`${rounds} seeds`);
});

function text(value: object): string {
  return JSON.stringify(value, (_key, field) =>
    typeof field === 'bigint' ? `${field}` : Buffer.isBuffer(field) ? String(field) : field,
  );
}
