// What goes wrong while a commit that failed is brought to its end.
import t from 'tap';
import { rootId } from '../../src/snapshot/entry.ts';
import { MessageType } from '../../src/wire/messages.ts';
import { Fuse } from '../support/crashing-directory.ts';
import { FakeSender } from '../support/fake-sender.ts';
import { collectingLog, openReceiver } from '../support/receivers.ts';

t.test('a disk that is still full then is called full, and it goes on when it is not', async t => {
  const root = t.testdir();
  const fuse = new Fuse();
  const { log, lines } = collectingLog();
  const openRoot = (path: string) => fuse.openRoot(path);
  const receiver = await openReceiver(t, { root, openRoot, log });
  const first = await FakeSender.open(receiver);
  await first.commit([first.file(rootId, 'a', 'A')]);
  const file = first.file(rootId, 'b', 'B');
  let changes = 0;
  fuse.before = () => {
    // The file is staged, the commit is not: it fails where it is applied, and then when mended.
    changes++;
    if (changes > 1) fuse.fullCount = Number.POSITIVE_INFINITY;
  };
  await t.rejects(first.commit([file]));
  await first.served;
  const second = FakeSender.connect(receiver);
  await second.hello();
  await second.next(MessageType.Hello);
  t.match(await second.next(MessageType.Failure), { code: 'io', message: /destination is full/ });
  await second.served;
  t.strictSame(
    lines.filter(line => /internal error/.test(line)),
    [],
  );
  fuse.before = () => {};
  fuse.fullCount = 0;
  const third = await FakeSender.open(receiver);
  t.equal(third.welcome?.watermark, 2n, 'the commit was mended');
  await third.close();
});
