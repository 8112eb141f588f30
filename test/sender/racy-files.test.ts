import { performance } from 'node:perf_hooks';
import t from 'tap';
import { ConfirmedLayer } from '../../src/sender/confirmed.ts';
import { Observed } from '../../src/sender/observed.ts';
import { RacyFiles } from '../../src/sender/racy-files.ts';
import { type NodeId, rootId } from '../../src/snapshot/entry.ts';
import type { Name } from '../../src/snapshot/name.ts';
import { SnapshotStore } from '../../src/store/snapshot-store.ts';

const dayMs = 86_400_000;
const firstRunMs = 20_000 * dayMs;

type Test = Parameters<Parameters<typeof t.test>[0]>[0];

/** A state in which the files were confirmed, and not looked at again; by name when each changed. */
function leftBy(t: Test, beganMs: number, changedMs: Record<string, number>) {
  const store = SnapshotStore.open(t.testdir());
  t.teardown(() => store.close());
  let observed = new Observed(new ConfirmedLayer(store));
  let nextId = 2;
  const confirm = (files: Record<string, number>): void => {
    for (const [name, ms] of Object.entries(files)) {
      const id = nextId++ as NodeId;
      const stamp = { ctimeNs: BigInt(ms) * 1_000_000n, ino: BigInt(id), birthtimeNs: 0n };
      const entry = {
        ...({ kind: 'file', id, mode: 0o644, size: 1, mtimeNs: 1n, stamp } as const),
        ...{ version: 1, target: '' },
      };
      const known = { name: name as Name, nlink: 1, entry };
      const token = observed.queue([{ parent: rootId, name: known.name, known }]);
      observed.confirm([{ token }]);
    }
  };
  new RacyFiles({ store, observed, beganMs }).begin(false);
  confirm(changedMs);
  return {
    store,
    confirm,
    /** Another process with this state: what it wants to read before anything is in sync. */
    run(beganMs: number, outcome: 'same' | 'unreadable' = 'same'): string[] {
      const isSame = outcome === 'same' ? true : undefined;
      observed = new Observed(new ConfirmedLayer(store));
      const racy = new RacyFiles({ store, observed, beganMs });
      racy.begin(true);
      const due = observed.dueForTrust(performance.now(), 100);
      for (const { id, place } of due) {
        observed.looked(id, isSame, place);
        racy.looked(isSame);
      }
      racy.end();
      return due.map(({ place }) => place.name);
    },
  };
}

t.test(
  'a run that ends reads again what may have changed as it was read, and believes the rest',
  t => {
    const state = leftBy(t, firstRunMs, {
      old: firstRunMs - dayMs,
      aMinuteOld: firstRunMs - 60_001,
      young: firstRunMs - 59_999,
      during: firstRunMs + 5000,
    });
    t.strictSame(state.run(firstRunMs + dayMs), ['young', 'during']);
    // Proven for now: that times tell of edits since is for the next run to believe.
    t.strictSame(state.run(firstRunMs + 2 * dayMs), []);
    t.equal(state.store.recent(10).length, 0);
    t.end();
  },
);

t.test('what a run sends is the next one to look at, however old what was left before', t => {
  const secondRunMs = firstRunMs + dayMs;
  const state = leftBy(t, firstRunMs, { first: firstRunMs });
  t.strictSame(state.run(secondRunMs), ['first']);
  state.confirm({ edited: secondRunMs - 1000, before: secondRunMs - dayMs / 2 });
  t.strictSame(state.run(secondRunMs + dayMs), ['edited']);
  t.end();
});

t.test('what could not be read is not believed later', t => {
  const state = leftBy(t, firstRunMs, { first: firstRunMs });
  t.strictSame(state.run(firstRunMs + dayMs, 'unreadable'), ['first']);
  t.strictSame(state.run(firstRunMs + 2 * dayMs), ['first']);
  t.strictSame(state.run(firstRunMs + 3 * dayMs), []);
  t.end();
});

t.test('a run that goes on leaves what it finds to its own second looks', t => {
  const state = leftBy(t, firstRunMs, { first: firstRunMs, old: firstRunMs - dayMs });
  const observed = new Observed(new ConfirmedLayer(state.store));
  new RacyFiles({ store: state.store, observed, beganMs: firstRunMs + dayMs }).begin(false);
  t.equal(observed.unprovenCount, 0);
  t.equal(state.store.recent(10).length, 2);
  t.strictSame(state.run(firstRunMs + 2 * dayMs), ['first'], 'nothing was read since');
  t.end();
});

t.test('a name that is another file by now wants no look', t => {
  const state = leftBy(t, firstRunMs, { first: firstRunMs });
  const [row] = state.store.recent(1);
  if (!row) throw new Error('no row');
  state.store.transaction(() => state.store.setRecent(99 as NodeId, row.place));
  t.strictSame(state.run(firstRunMs + 1), ['first']);
  t.strictSame(
    state.store.recent(10).map(({ id }) => id),
    [row.id],
  );
  t.end();
});
