// A scanner over a real folder, and a model of the receiver that it feeds.
import { join } from 'node:path';
import type t from 'tap';
import type { Change, SweepSummary } from '../../src/sender/change.ts';
import type { ScanOptions } from '../../src/sender/scan-options.ts';
import { Scanner } from '../../src/sender/scanner.ts';
import type { NodeId } from '../../src/snapshot/entry.ts';
import { SnapshotStore } from '../../src/store/snapshot-store.ts';
import { DirectSource, type Source } from '../../src/tree/source.ts';
import type { Operation } from '../../src/wire/messages.ts';
import type { ModelReceiver } from './model.ts';

export const receiverState = {
  epoch: Buffer.alloc(16, 1),
  digest: Buffer.alloc(16),
  nextId: 2 as NodeId, // The first id after the root's.
  secret: Buffer.alloc(32, 7),
};

export function openScanner(
  t: TestContext,
  name: string,
  changes: Partial<ScanOptions> = {},
  openSource: (root: string) => Source = root => new DirectSource(root),
): Opened {
  const folder = t.testdir();
  const root = join(folder, 'source');
  const store = SnapshotStore.open(join(folder, `state-${name}`));
  t.teardown(() => store.close());
  const path = Buffer.from(root).toString('latin1');
  const scanner = new Scanner(store, openSource(path), {
    ...defaultScan,
    root: path,
    ...changes,
  });
  scanner.confirmed.connect(receiverState);
  return { root, store, scanner };
}

export type TestContext = Parameters<Parameters<typeof t.test>[0]>[0];

export interface Opened {
  root: string;
  store: SnapshotStore;
  scanner: Scanner;
}

export const defaultScan: Omit<ScanOptions, 'root'> = {
  exclude: [],
  delete: true,
  deleteExcluded: false,
  maxDelete: { kind: 'percent', value: 50 },
  acceptDeletes: false,
  scope: [],
  checksum: false,
  // As fast as the budget of a tick allows.
  pace: { intervalMs: 500, cpuShare: 1000 },
};

export function sweep(
  scanner: Scanner,
  { room = 100_000, budgetMs }: { room?: number; budgetMs?: number } = {},
): { changes: Change[]; summary: SweepSummary } {
  const changes: Change[] = [];
  for (;;) {
    const slice = scanner.next(room, 1000, budgetMs);
    changes.push(...slice.changes);
    if (slice.summary !== undefined) return { changes, summary: slice.summary };
  }
}

export function operationOf(change: Change): Operation {
  const { token: _token, path: _path, ...rest } = change;
  if (change.kind !== 'file') return rest as Operation; // A change is an operation and its context.
  const { parent, name, entry } = change;
  const content = { kind: 'inline', baseVersion: 0, pieces: [] } as const;
  return { kind: 'file', parent, name, entry, content };
}

/** Changes that are operations: second looks are none. */
export function operationsOf(changes: readonly Change[]): Change[] {
  return changes.filter(change => !(change.kind === 'file' && change.purpose === 'trust'));
}

/** Commits changes in groups; what the model rejects is reverted, the rest confirmed. */
export function transfer(
  scanner: Scanner,
  model: ModelReceiver,
  changes: readonly Change[],
  group: number,
): void {
  const real = operationsOf(changes);
  for (let from = 0; from < real.length; from += group) {
    const part = real.slice(from, from + group);
    const rejected = new Set(model.commit(part.map(operationOf)));
    scanner.observed.confirm(
      part.filter((_, i) => !rejected.has(i)).map(({ token }) => ({ token })),
    );
    scanner.observed.revert(
      part
        .filter((_, i) => rejected.has(i))
        .map(({ token }) => ({ token, reason: 'gone' as const })),
    );
  }
}

export function sortedTree(tree: ReadonlyMap<string, string>): [string, string][] {
  return [...tree].sort(([a], [b]) => (a < b ? -1 : 1));
}
