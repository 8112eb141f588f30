// What the receiver does to its own files is no drift.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Receiver } from '../../src/receiver/receiver.ts';
import { MessageType } from '../../src/wire/messages.ts';
import { FakeSender, remove, rootId } from '../support/fake-sender.ts';
import { receiverDefaults } from '../support/receivers.ts';
import { until } from '../support/until.ts';

const never = 2 ** 31 - 1;
const mebibyte = 1024 * 1024;

for (const how of ['by itself', 'with its directory'] as const) {
  t.test(
    `a name that is kept no longer, removed ${how}, leaves the others as they are`,
    async t => {
      const root = t.testdir();
      let nowMs = Date.now();
      const pauses = { firstSliceMs: never, sliceMs: never, sweepMs: never, cleanMs: 5 };
      const options = { ...receiverDefaults, root, pauses, fsync: 'off' as const };
      const receiver = await Receiver.open({ ...options, nowMs: () => nowMs });
      t.teardown(() => receiver.close());
      const sender = await FakeSender.open(receiver);
      t.teardown(() => sender.close());
      // Too large to be read while a commit waits: its stamp decides.
      const size = 65 * mebibyte;
      const entry = sender.fileEntry(size);
      const folder = sender.directory(rootId, 'folder');
      await sender.commit([folder]);
      const open = { stage: 1, id: entry.id, size, baseVersion: 0 };
      await sender.connection.send({ type: MessageType.StageOpen, ...open });
      for (let i = 0; i < 65; i++) {
        const pieces = Array.from({ length: 16 }, () => sender.zero(65_536));
        await sender.connection.send({ type: MessageType.StageData, stage: 1, pieces });
      }
      const { parent, name } = sender.file(rootId, 'image', '');
      const image = { kind: 'file' as const, parent, name, entry };
      await sender.commit([{ ...image, content: { kind: 'stage', stage: 1 } }]);
      await sender.commit([{ ...image, kind: 'hardlink', parent: folder.entry.id }]);
      if (how === 'by itself') await sender.commit([remove(folder.entry.id, 'image', entry.id)]);
      else await sender.commit([remove(rootId, 'folder', folder.entry.id)]);
      const kept = join(root, '.replica/kept');
      nowMs += 25 * 60 * 60 * 1000;
      await until(() => fs.readdirSync(kept).length === 0);
      await until(() => fs.statSync(join(root, 'image')).nlink === 1);
      const chmod = { ...image, kind: 'attributes' as const, entry: { ...entry, mode: 0o600 } };
      const { rejected, lost } = await sender.commit([chmod]);
      t.same({ rejected, lost }, { rejected: [], lost: [] });
      t.equal(fs.statSync(join(root, 'image')).mode & 0o777, 0o600);
      t.equal(receiver.driftCount, 0);
    },
  );
}
