// The root of the source: is it there, and is it the tree that is known?
import { systemCode } from '../errors.ts';
import { type Entry, noStamp, rootId } from '../snapshot/entry.ts';
import { isSameTree } from '../snapshot/guard.ts';
import { sameOwner } from '../snapshot/owner.ts';
import { kindOf, type SourceListing, type SourceStats } from '../tree/source-listing.ts';
import { replacedRoot } from './change.ts';
import type { ScanState } from './scan-state.ts';

/** Names of the root looked for when its inode is another one. */
const sampleSize = 32;

export interface OpenRoot {
  readonly stats: SourceStats;
  readonly listing: SourceListing | undefined;
}

export class RootGuard {
  readonly #state: ScanState;
  #isEmptied = false;
  #attributed: { readonly stats: SourceStats; readonly xattrs: string } | undefined;

  constructor(state: ScanState) {
    this.#state = state;
  }

  /**
   * Looks at the root; lists it when `isListed` says so, or when it is another directory than
   * before. `reason`: nothing can be said about the tree.
   */
  open(isListed: (stats: SourceStats) => boolean): OpenRoot | { reason: string } {
    try {
      const stats = this.#state.source.stat('');
      if (stats === undefined) return { reason: 'it is not there' };
      if (kindOf(stats) !== 'directory') return { reason: 'it is not a directory' };
      const identity = { ino: stats.ino, birthtimeNs: stats.birthtimeNs };
      const known = this.#state.confirmed.rootIdentity();
      const isKnown = known?.ino === identity.ino && known.birthtimeNs === identity.birthtimeNs;
      const mustList = isListed(stats);
      if (isKnown && !mustList) {
        this.#attributes(stats);
        return { stats, listing: undefined };
      }
      const listing = this.#state.source.list({ path: '', device: stats.dev });
      const sample = this.#sample(listing);
      if (!this.#state.accepted && !isSameTree(known, identity, sample)) {
        return { reason: replacedRoot };
      }
      this.#state.confirmed.setRootIdentity(identity);
      this.#attributes(stats);
      this.#isEmptied = listing.linkCounts.length === 0 && sample.known > 0;
      return { stats, listing };
    } catch (error) {
      const code = systemCode(error);
      if (code === undefined) throw error;
      return { reason: `it cannot be listed (${code})` };
    }
  }

  /** The root had entries, and none when it was last listed. */
  get isEmptied(): boolean {
    return this.#isEmptied;
  }

  isStill(): boolean {
    try {
      const stats = this.#state.source.stat('');
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

  #attributes(stats: SourceStats): void {
    const mode = Number(stats.mode & 0o7777n);
    const known = this.#state.observed.root();
    const isSame = known?.mode === mode && known.mtimeNs === stats.mtimeNs;
    const xattrs = this.#xattrs(stats, known);
    if (isSame && sameOwner(known.owner, stats.owner) && known.xattrs === xattrs) return;
    if (this.#state.observed.isRootRefused) {
      this.#state.findings.pause();
      return;
    }
    const entry: Entry = {
      kind: 'directory',
      id: rootId,
      mode,
      size: 0,
      mtimeNs: stats.mtimeNs,
      stamp: noStamp,
      version: 0,
      target: '',
      owner: this.#state.owners.of(stats.owner),
      xattrs,
    };
    const token = this.#state.observed.queueRoot(entry);
    this.#state.findings.hand({ kind: 'attributes', token, path: '', parent: 0, name: '', entry });
  }

  /** The root's stamp is no part of its entry: what was read is remembered here. */
  #xattrs(stats: SourceStats, known: Entry | undefined): string | undefined {
    if (!stats.keepsXattrs) return undefined;
    const last = this.#attributed;
    const isKnown = last?.stats.ino === stats.ino && last.stats.ctimeNs === stats.ctimeNs;
    if (isKnown && !this.#state.xattrs.isRefused(last.xattrs)) return last.xattrs;
    const read = this.#state.xattrs.of('', stats, undefined);
    if (read === undefined) {
      this.#state.findings.defer();
      return known?.xattrs;
    }
    if (read.xattrs !== undefined) this.#attributed = { stats, xattrs: read.xattrs };
    return read.xattrs;
  }
}
