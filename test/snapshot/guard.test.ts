import t from 'tap';
import {
  defaultMaxDelete,
  isSameTree,
  judge,
  type SweepFindings,
} from '../../src/snapshot/guard.ts';

const quiet: SweepFindings = {
  deleteCount: 1,
  entryCount: 2000,
  peakCount: 2000,
  rootEmptied: false,
  maxDelete: defaultMaxDelete,
};

const rows: [string, Partial<SweepFindings>, 'allow' | 'hold'][] = [
  ['one of many', {}, 'allow'],
  ['half is still allowed', { deleteCount: 1000 }, 'allow'],
  ['one more than half', { deleteCount: 1001 }, 'hold'],
  ['all of a small tree', { deleteCount: 1000, entryCount: 1000, peakCount: 1000 }, 'allow'],
  ['an emptied root, however small', { rootEmptied: true, entryCount: 1 }, 'hold'],
  ['an emptied root without deletes', { rootEmptied: true, deleteCount: 0 }, 'allow'],
  ['at the count', { maxDelete: { kind: 'count', value: 5 }, deleteCount: 5 }, 'allow'],
  ['above the count', { maxDelete: { kind: 'count', value: 5 }, deleteCount: 6 }, 'hold'],
  [
    'a count holds in small trees too',
    { maxDelete: { kind: 'count', value: 0 }, entryCount: 3 },
    'hold',
  ],
  ['what went before it', { entryCount: 1200, deleteCount: 200 }, 'allow'],
  ['more than half with what went before it', { entryCount: 1200, deleteCount: 201 }, 'hold'],
  ['small steps of a large tree', { entryCount: 900, deleteCount: 1 }, 'hold'],
  ['a tree that grew', { entryCount: 4000, deleteCount: 2000 }, 'allow'],
  ['100% never holds', { maxDelete: { kind: 'percent', value: 100 }, deleteCount: 2000 }, 'allow'],
  ['0% always does', { maxDelete: { kind: 'percent', value: 0 } }, 'hold'],
];

for (const [name, changes, kind] of rows) {
  t.test(`judges ${name}`, async t => {
    const verdict = judge({ ...quiet, ...changes });
    t.equal(verdict.kind, kind);
    if (verdict.kind === 'hold') t.match(verdict.reason, /entries/);
  });
}

t.test('knows the tree by its root or by its names', async t => {
  const known = { ino: 7n, birthtimeNs: 9n };
  const other = { ino: 8n, birthtimeNs: 9n };
  t.equal(isSameTree(undefined, other, { known: 4, present: 0 }), true, 'first sight');
  t.equal(isSameTree(known, known, { known: 4, present: 0 }), true, 'the same inode, emptied');
  t.equal(isSameTree(known, other, { known: 4, present: 1 }), false, 'another tree');
  t.equal(isSameTree(known, other, { known: 4, present: 2 }), true, 'restored or renumbered');
  t.equal(isSameTree(known, other, { known: 0, present: 0 }), true, 'nothing to lose');
});
