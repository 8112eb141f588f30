// A commit may touch more directories than a process may have open.
import fs from 'node:fs';
import t from 'tap';
import { Receiver } from '../../src/receiver/receiver.ts';
import type { NodeId } from '../../src/snapshot/entry.ts';
import { ConfinedDirectory } from '../../src/tree/confined-directory.ts';
import type { Operation } from '../../src/wire/messages.ts';
import { FakeSender, rootId } from '../support/fake-sender.ts';
import { receiverDefaults } from '../support/receivers.ts';

const chains = 60;
const depth = 10;

t.test('directories of a commit are closed again while the others get their times', async t => {
  for (const fsync of ['off', 'batch'] as const) {
    const root = t.testdir();
    const receiver = await Receiver.open({ ...receiverDefaults, root, fsync });
    const sender = await FakeSender.open(receiver);
    const tips: NodeId[] = [];
    for (let chain = 0; chain < chains; chain++) {
      const operations: Operation[] = [];
      let parent = rootId;
      for (let i = 0; i < depth; i++) {
        const made = sender.directory(parent, i === 0 ? `chain ${chain}` : 'd');
        operations.push(made);
        parent = made.entry.id;
      }
      tips.push(parent);
      await sender.commit(operations as Parameters<typeof sender.commit>[0]);
    }
    const before = fs.readdirSync('/proc/self/fd').length;
    const original = ConfinedDirectory.prototype.setTimesSelf;
    let most = 0;
    ConfinedDirectory.prototype.setTimesSelf = function (mtimeNs) {
      most = Math.max(most, fs.readdirSync('/proc/self/fd').length - before);
      original.call(this, mtimeNs);
    };
    await sender.commit(tips.map(tip => sender.file(tip, 'f', 'x')));
    ConfinedDirectory.prototype.setTimesSelf = original;
    t.ok(most > 0 && most < 256 + 4 * depth, `${most} open at most, of ${chains * depth}`);
    await sender.close();
    await receiver.close();
  }
});
