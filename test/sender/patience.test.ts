// How long --once goes on without its receiver.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Patience } from '../../src/sender/patience.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { Relay } from '../support/relay.ts';
import { place, receiving, run } from '../support/stage.ts';

t.test('only time without a connection counts, and after progress it counts anew', async t => {
  let nowMs = 1000;
  const patience = new Patience(100, () => nowMs);
  nowMs += 60;
  patience.reached();
  nowMs += 5000;
  t.equal(patience.isOver(false, 40), false, 'connected for long');
  nowMs += 30;
  t.equal(patience.isOver(false, 10), false);
  t.equal(patience.isOver(false, 11), true, 'the next try would be too late');
  patience.reached();
  patience.reached();
  nowMs += 7;
  t.equal(patience.isOver(false, 11), true, 'a connection that is refused gains nothing');
  t.equal(patience.isOver(true, 100), false);
  nowMs += 100;
  t.equal(patience.isOver(false, 0), false);
  nowMs += 1;
  t.equal(patience.isOver(false, 0), true);
});

t.test('a copy that takes longer than --timeout outlives a lost connection', async t => {
  const home = place(t);
  const content = randomBytes(seededRandom(1), 300_000);
  writeFileSync(join(home, 'src/large'), content);
  const address = await receiving(t, home, 'dst', '--insecure');
  const relay = await Relay.open({
    targetPort: Number(address.split(':').at(-1)),
    bytesPerSecond: 100_000,
    // It is more than --timeout that has gone by then.
    cutAfter: connection => (connection === 0 ? 200_000 : undefined),
  });
  t.teardown(() => relay.close());
  const target = `127.0.0.1:${relay.port}`;
  const once = ['--once', '--insecure', '--timeout', '1s'];
  const { code, stderr } = await run(home, 'push', 'src', target, ...once);
  t.equal(code, 0, stderr);
  t.ok(relay.connections > 1);
  t.ok(readFileSync(join(home, 'dst/large')).equals(content));
});
