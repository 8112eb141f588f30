// Sessions cut after some of their bytes; `node dist/bench/soak/every-byte.js` takes every one.

import { once } from 'node:events';
import net from 'node:net';
import t from 'tap';
import { CutStory, directions } from '../support/cut-story.ts';
import { makeDiskFolder } from '../support/folders.ts';
import { ownShare } from '../support/seeds.ts';
import { readTree } from '../support/tree.ts';

/** Each way. */
const cuts = 6;

for (const insecure of ownShare([false, true])) {
  const how = insecure ? 'plaintext' : 'TLS';

  t.test(`${how}: a session cut anywhere goes on, and nothing is torn`, async t => {
    const story = await CutStory.open({ folder: makeDiskFolder(t), insecure });
    t.teardown(() => story.close());
    await story.synced();
    const sizes = await story.measure();
    let happened = 0;
    for (const direction of directions) {
      const all = Array.from({ length: cuts }, (_, i) => Math.floor((i * sizes[direction]) / cuts));
      for (const offset of all) {
        const { isCut } = await story.cutAt(direction, offset);
        if (isCut) happened++;
        t.strictSame(story.faults, [], `${direction}, after byte ${offset}`);
      }
    }
    t.comment(`${JSON.stringify(sizes)} bytes, ${happened} cuts`);
    t.ok(happened > cuts / 2, 'sessions were cut');
  });
}

t.test('a recorded session, sent again, is nothing to the receiver', async t => {
  const story = await CutStory.open({ folder: makeDiskFolder(t), insecure: false });
  t.teardown(() => story.close());
  await story.synced();
  const bytes = await story.record();
  t.ok(bytes.length > 1000, 'it was recorded');
  story.change();
  await story.reconnect();
  const before = readTree(story.target);
  const socket = net.connect(story.port, '127.0.0.1');
  socket.on('error', () => {}).resume();
  socket.write(bytes);
  await once(socket, 'close');
  t.strictSame(readTree(story.target), before);
  story.change();
  await story.synced();
  t.strictSame(story.faults, [], 'the sender goes on');
});

t.test('a link that goes silent is given up by both, and work goes on', async t => {
  const limits = { pingAfterMs: 50, deadAfterMs: 500 };
  const story = await CutStory.open({ folder: makeDiskFolder(t), insecure: false, limits });
  t.teardown(() => story.close());
  await story.synced();
  for (let round = 0; round < 3; round++) {
    const { connections } = story.relay;
    story.relay.isStalled = true;
    story.change();
    await story.anotherConnection(connections);
    story.relay.isStalled = false;
    await story.synced();
  }
  t.strictSame(story.faults, []);
});
