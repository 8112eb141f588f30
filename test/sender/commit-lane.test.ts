import t from 'tap';
import type { FileChange } from '../../src/sender/change.ts';
import { CommitLane, type CommitLaneOptions } from '../../src/sender/commit-lane.ts';
import { LaneControl } from '../../src/sender/lane-control.ts';
import { noStamp, rootId } from '../../src/snapshot/entry.ts';
import { name, nodeId } from '../support/messages.ts';

const mebibyte = 1024 * 1024;

function lookAt(index: number, size: number): FileChange {
  const entry = {
    ...({ kind: 'file', id: nodeId(index + 2), mode: 0o644, size, mtimeNs: 0n } as const),
    ...{ stamp: noStamp, version: 1, target: '', owner: undefined },
  };
  return {
    ...{
      kind: 'file',
      token: 0,
      path: `f${index}`,
      parent: rootId,
      name: name(`f${index}`),
      entry,
    },
    ...{ basis: undefined, baseVersion: 1, baseSize: 0, purpose: 'trust', seenMs: 0, isNew: false },
  };
}

t.test('second looks are in memory together: so many as fit, and 32 of small files', async t => {
  const control = new LaneControl();
  const read: number[] = [];
  const options = {
    control,
    inFlight: { commitCount: 0 },
    reader: {
      readAll: async (files: readonly FileChange[]) => {
        read.push(files.reduce((sum, { entry }) => sum + entry.size, 0));
        return { contents: [], data: new ArrayBuffer(0) };
      },
    },
    looks: { report: async () => {} },
  };
  const lane = new CommitLane(options as unknown as CommitLaneOptions);
  for (let i = 0; i < 10; i++) lane.enqueueLook(lookAt(i, 3 * mebibyte));
  for (let i = 10; i < 110; i++) lane.enqueueLook(lookAt(i, 1));
  const ended = lane.run({ isIdle: true });
  while (lane.isLooking) await control.woken();
  control.stop();
  await ended;
  const large = read.filter(size => size > mebibyte);
  t.strictSame(large, Array(5).fill(6 * mebibyte));
  t.strictSame(read.slice(large.length), [32, 32, 32, 4]);
});

t.test('a look that ends after its session answers for nobody', async t => {
  const control = new LaneControl();
  let reported = 0;
  const options = {
    control,
    inFlight: { commitCount: 0 },
    reader: {
      readAll: async () => {
        control.end();
        return { contents: [], data: new ArrayBuffer(0) };
      },
    },
    looks: {
      report: async () => {
        reported++;
      },
    },
  };
  const lane = new CommitLane(options as unknown as CommitLaneOptions);
  lane.enqueueLook(lookAt(0, 1));
  await t.rejects(lane.run({ isIdle: true }), { code: 'ERR_SOCKET' });
  t.equal(reported, 0);
});
