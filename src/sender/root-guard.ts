// The root of the source: is it there, and is it the tree that is known?
import { systemCode } from '../errors.ts';
import { type Entry, noStamp, rootId } from '../snapshot/entry.ts';
import { isSameTree } from '../snapshot/guard.ts';
import { listSource, type SourceListing, statSource } from '../tree/source-listing.ts';
import type { ScanState } from './scan-state.ts';

/** Names of the root looked for when its inode is another one. */
const sampleSize = 32;

export class RootGuard {
  readonly #state: ScanState;

  constructor(state: ScanState) {
    this.#state = state;
  }

  open(): { listing: SourceListing; device: bigint; emptied: boolean } | { reason: string } {
    try {
      const stats = statSource(this.#state.options.root, '');
      if (stats === undefined) return { reason: 'it is not there' };
      if (!stats.isDirectory()) return { reason: 'it is not a directory' };
      const listing = listSource(this.#state.options.root, '', stats.dev);
      const sample = this.#sample(listing);
      const identity = { ino: stats.ino, birthtimeNs: stats.birthtimeNs };
      const known = this.#state.confirmed.rootIdentity();
      if (!this.#state.accepted && !isSameTree(known, identity, sample)) {
        return { reason: 'another directory is in its place (not mounted, or replaced?)' };
      }
      this.#state.confirmed.setRootIdentity(identity);
      this.#attributes(stats);
      return { listing, device: stats.dev, emptied: listing.seen.length === 0 && sample.known > 0 };
    } catch (error) {
      const code = systemCode(error);
      if (code === undefined) throw error;
      return { reason: `it cannot be listed (${code})` };
    }
  }

  isStill(): boolean {
    try {
      const stats = statSource(this.#state.options.root, '');
      const known = this.#state.confirmed.rootIdentity();
      return stats?.ino === known?.ino && stats?.birthtimeNs === known?.birthtimeNs;
    } catch {
      return false;
    }
  }

  #sample(listing: SourceListing): { known: number; present: number } {
    const known = this.#state.store.listing(rootId);
    const step = Math.max(1, Math.floor(known.length / sampleSize));
    const kinds = new Map(listing.seen.map(seen => [seen.name, seen.kind]));
    let count = 0;
    let present = 0;
    for (let i = 0; i < known.length; i += step) {
      const one = known[i];
      if (one === undefined) break;
      count++;
      if (kinds.get(one.name) === one.entry.kind) present++;
    }
    return { known: count, present };
  }

  #attributes(stats: { mode: bigint; mtimeNs: bigint }): void {
    const mode = Number(stats.mode & 0o7777n);
    const known = this.#state.observed.root();
    if (known !== undefined && known.mode === mode && known.mtimeNs === stats.mtimeNs) return;
    const entry: Entry = {
      kind: 'directory',
      id: rootId,
      mode,
      size: 0,
      mtimeNs: stats.mtimeNs,
      stamp: noStamp,
      version: 0,
      target: '',
    };
    const token = this.#state.observed.queueRoot(entry);
    this.#state.findings.hand({ kind: 'attributes', token, path: '', parent: 0, name: '', entry });
  }
}
