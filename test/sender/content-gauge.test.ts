import t from 'tap';
import type { Change } from '../../src/sender/change.ts';
import { ContentGauge } from '../../src/sender/content-gauge.ts';
import { noStamp, rootId } from '../../src/snapshot/entry.ts';
import { name, nodeId } from '../support/messages.ts';

function file(token: number, size: number): Change {
  const entry = {
    ...({ kind: 'file', id: nodeId(token + 2), mode: 0o644, size, mtimeNs: 0n } as const),
    ...{ stamp: noStamp, version: 1, target: '', owner: undefined },
  };
  return {
    ...{ kind: 'file', token, path: `f${token}`, parent: rootId, name: name(`f${token}`), entry },
    ...{
      basis: undefined,
      baseVersion: 0,
      baseSize: 0,
      purpose: 'content',
      seenMs: 0,
      isNew: true,
    },
  };
}

t.test('what goes by of each file, to its end', async t => {
  const gauge = new ContentGauge(() => 0);
  const [large, small] = [file(1, 1000), file(2, 10)];
  gauge.take(large);
  gauge.take(small);
  t.match(gauge, { bytesDone: 0, bytesLeft: 1010 });
  gauge.pass(large, 300);
  gauge.passWhole(small);
  t.match(gauge, { bytesDone: 310, bytesLeft: 700 });
  t.equal(gauge.doneOf(large), 300);
  gauge.settle(2, true);
  t.match(gauge, { bytesDone: 310, bytesLeft: 700 });
  gauge.pass(large, 5000);
  t.match(gauge, { bytesDone: 1010, bytesLeft: 0 }, 'no more than there is');
  gauge.settle(1, true);
  gauge.settle(1, true);
  t.match(gauge, { bytesDone: 1010, bytesLeft: 0 });
});

t.test('a file that is taken back counts for nothing, until it is found again', async t => {
  const gauge = new ContentGauge(() => 0);
  gauge.take(file(1, 1000));
  gauge.take(file(2, 10));
  gauge.pass(file(1, 1000), 300);
  gauge.settle(1, false);
  t.match(gauge, { bytesDone: 0, bytesLeft: 10 });
  gauge.take(file(3, 1000));
  t.match(gauge, { bytesDone: 0, bytesLeft: 1010 });
});

t.test('counting begins anew once everything is durable, and not before', async t => {
  const gauge = new ContentGauge(() => 0);
  gauge.take(file(1, 1000));
  gauge.passWhole(file(1, 1000));
  gauge.rest();
  t.equal(gauge.bytesDone, 1000);
  gauge.settle(1, true);
  gauge.rest();
  t.match(gauge, { bytesDone: 0, bytesLeft: 0, bytesPerSecond: 0 });
});

t.test('the rate is that of the last seconds', async t => {
  let nowMs = 100_500;
  const gauge = new ContentGauge(() => nowMs);
  gauge.take(file(1, 1e9));
  const pass = (bytes: number): void => gauge.pass(file(1, 1e9), bytes);
  pass(2000);
  t.equal(gauge.bytesPerSecond, 0, 'a second has to be over');
  nowMs = 102_500;
  t.equal(gauge.bytesPerSecond, 1000);
  for (; nowMs < 130_500; nowMs += 500) pass(5000);
  t.equal(gauge.bytesPerSecond, 10_000);
  nowMs = 133_000;
  t.equal(gauge.bytesPerSecond, 5000, 'nothing came for half of them');
  nowMs = 200_000;
  t.equal(gauge.bytesPerSecond, 0);
});
