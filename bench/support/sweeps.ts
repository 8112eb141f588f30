// Sweeps by the scanner alone, in this process.
import fs from 'node:fs';
import { join } from 'node:path';
import { queuedChangesMax } from '../../src/limits.ts';
import { Scanner } from '../../src/sender/scanner.ts';
import { SnapshotStore } from '../../src/store/snapshot-store.ts';
import { DirectSource } from '../../src/tree/source.ts';
import { defaultScan } from '../../test/support/scanning.ts';

/** One sweep of the whole tree by the scanner, as the worker of `push` runs it. */
export function sweep(scanner: Scanner): number {
  const begunMs = performance.now();
  for (;;) {
    const { changes, summary } = scanner.next(queuedChangesMax, 50);
    if (changes.some(change => change.kind !== 'file' || change.purpose !== 'trust')) {
      throw new Error('the tree is not what the records say');
    }
    if (summary?.isWhole === true) return (performance.now() - begunMs) / 1000;
  }
}

/** A scanner with the records of a `push` of `source` that ran in this home and has ended. */
export function openScanner(
  home: string,
  source: string,
): { readonly scanner: Scanner; readonly store: SnapshotStore } {
  const states = join(home, 'state', 'replica');
  const store = SnapshotStore.open(join(states, fs.readdirSync(states)[0] ?? ''));
  const scanner = new Scanner(store, new DirectSource(source), {
    ...defaultScan,
    root: source,
  });
  return { scanner, store };
}
