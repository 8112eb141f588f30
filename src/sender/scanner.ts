// The sweep: every directory is listed, its packed listing compared byte for byte with the record,
// and only what differs is decoded and turned into changes. Runs in a worker; it owns the snapshot
// store. Two layers: the store is the confirmed one, `Observed` what lies on top of it.

import { type Problem, systemCode } from '../errors.ts';
import { depthMax, trustAfterMs } from '../limits.ts';
import { diff, sameSeen } from '../snapshot/diff.ts';
import { type Entry, type NodeId, noStamp, rootId } from '../snapshot/entry.ts';
import { isSameTree, judge, type MaxDelete } from '../snapshot/guard.ts';
import { IgnoreRules, ignoreFileName } from '../snapshot/ignore.ts';
import {
  directoriesOf,
  type Known,
  type Seen,
  SeenWriter,
  seenBytes,
} from '../snapshot/listing.ts';
import { fromUserPath, type Name } from '../snapshot/name.ts';
import type { SnapshotStore } from '../store/snapshot-store.ts';
import {
  below,
  listSource,
  readSourceLink,
  readSourceText,
  type SourceListing,
  seenOfStats,
  statSource,
} from '../tree/source-listing.ts';
import type { Change, RootState, Slice, SweepSummary } from './change.ts';
import { clockMs } from './clock.ts';
import { ConfirmedLayer, type Effect } from './confirmed.ts';
import { Observed } from './observed.ts';

export interface ScanOptions {
  /** Latin1. */
  readonly root: string;
  readonly exclude: readonly string[];
  readonly delete: boolean;
  readonly deleteExcluded: boolean;
  readonly maxDelete: MaxDelete;
  readonly acceptDeletes: boolean;
  /** Sweep only these parts, below the root; empty: everything. */
  readonly scope: readonly string[];
  /** Read every file again, whatever its times say. */
  readonly checksum: boolean;
}

/** Second looks handed out in one slice. */
const trustPerSlice = 64;
/** Names of the root looked for when its inode is another one. */
const sampleSize = 32;
const reservedName = '.replica';

/** A directory of the source. */
interface Place {
  readonly id: NodeId;
  readonly path: string;
}

interface Folder extends Place {
  readonly rules: IgnoreRules;
  readonly depth: number;
  readonly device: bigint;
}

interface Gone {
  readonly folder: Folder;
  readonly known: Known;
  /** What took the name, when that is another kind of entry. */
  readonly seen: Seen | undefined;
}

export class Scanner {
  readonly #options: ScanOptions;
  readonly #store: SnapshotStore;
  readonly #confirmed: ConfirmedLayer;
  readonly #observed: Observed;
  readonly #writer = new SeenWriter();
  #sweep: Generator<undefined, SweepSummary> | undefined;
  #changes: Change[] = [];
  #problems: Problem[] = [];
  #room = 0;
  #gone: Gone[] = [];
  #counts = { directories: 0, entries: 0, special: 0, changes: 0, deferred: 0, problems: 0 };
  /** Entries below a directory whose delete is held; counting walks the records. */
  #countsBelow = new Map<NodeId, number>();
  /** Nodes already read by this process, for --checksum. */
  #checked = new Set<NodeId>();
  /** Files with several names to be sent again in this sweep, and the first name of each. */
  readonly #regrouped = new Map<NodeId, Known | undefined>();
  #accepted: boolean;

  constructor(store: SnapshotStore, options: ScanOptions) {
    this.#store = store;
    this.#options = options;
    this.#confirmed = new ConfirmedLayer(store);
    this.#observed = new Observed(this.#confirmed);
    this.#accepted = options.acceptDeletes;
  }

  get confirmed(): ConfirmedLayer {
    return this.#confirmed;
  }

  get observed(): Observed {
    return this.#observed;
  }

  /** Drops the observed layer and any sweep under way: what was queued will be found again. */
  reset(): void {
    this.#sweep = undefined;
    this.#observed.clear();
    this.#countsBelow.clear();
  }

  /**
   * Goes on with the sweep (or begins one) until it has `room` changes, `budgetMs` are used up, or
   * the sweep ends.
   */
  next(room: number, budgetMs: number): Slice {
    const deadline = clockMs() + budgetMs;
    this.#room = room;
    this.#sweep ??= this.#run();
    let summary: SweepSummary | undefined;
    do {
      const step = this.#sweep.next();
      if (step.done === true) {
        summary = step.value;
        this.#sweep = undefined;
        break;
      }
    } while (this.#changes.length < 256 && clockMs() < deadline);
    const slice: Slice = { changes: this.#changes, problems: this.#problems, summary };
    this.#changes = [];
    this.#problems = [];
    return slice;
  }

  *#run(): Generator<undefined, SweepSummary> {
    const begunMs = clockMs();
    this.#gone = [];
    this.#observed.beginSweep();
    this.#counts = { directories: 0, entries: 0, special: 0, changes: 0, deferred: 0, problems: 0 };
    const root = this.#openRoot();
    if ('reason' in root) return this.#summary({ kind: 'gone', reason: root.reason }, begunMs);

    this.#regrouped.clear();
    this.#secondLooks();
    this.#joinSplits();
    let rules = IgnoreRules.none;
    if (this.#options.exclude.length > 0) rules = rules.with('', this.#options.exclude);
    const stack: Folder[] = [{ id: rootId, path: '', rules, depth: 0, device: root.device }];
    for (let folder = stack.pop(); folder !== undefined; folder = stack.pop()) {
      const listing = folder.depth === 0 ? root.listing : this.#list(folder);
      if (listing !== undefined) stack.push(...this.#scan(folder, listing).reverse());
      yield;
    }
    const held = this.#release(root.emptied);
    this.#counts.deferred += this.#observed.unprovenCount;
    return this.#summary({ kind: 'ok' }, begunMs, held);
  }

  #summary(root: RootState, begunMs: number, held: SweepSummary['held'] = undefined): SweepSummary {
    return { ...this.#counts, root, held, ms: clockMs() - begunMs };
  }

  // -- the root ---------------------------------------------------------------------------------

  #openRoot(): { listing: SourceListing; device: bigint; emptied: boolean } | { reason: string } {
    try {
      const stats = statSource(this.#options.root, '');
      if (stats === undefined) return { reason: 'it is not there' };
      if (!stats.isDirectory()) return { reason: 'it is not a directory' };
      const listing = listSource(this.#options.root, '', stats.dev);
      const sample = this.#sample(listing);
      const identity = { ino: stats.ino, birthtimeNs: stats.birthtimeNs };
      const known = this.#confirmed.rootIdentity();
      if (!this.#accepted && !isSameTree(known, identity, sample)) {
        return { reason: 'another directory is in its place (not mounted, or replaced?)' };
      }
      this.#confirmed.setRootIdentity(identity);
      this.#rootAttributes(stats);
      return { listing, device: stats.dev, emptied: listing.seen.length === 0 && sample.known > 0 };
    } catch (error) {
      const code = systemCode(error);
      if (code === undefined) throw error;
      return { reason: `it cannot be listed (${code})` };
    }
  }

  #sample(listing: SourceListing): { known: number; present: number } {
    const known = this.#store.listing(rootId);
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

  #rootAttributes(stats: { mode: bigint; mtimeNs: bigint }): void {
    const mode = Number(stats.mode & 0o7777n);
    const known = this.#observed.root();
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
    const token = this.#observed.queueRoot(entry);
    this.#hand({ kind: 'attributes', token, path: '', parent: 0, name: '', entry });
  }

  // -- one directory ----------------------------------------------------------------------------

  #list(folder: Folder): SourceListing | undefined {
    try {
      return listSource(this.#options.root, folder.path, folder.device);
    } catch (error) {
      const code = systemCode(error);
      if (code === undefined) throw error;
      // Gone, or no directory any more, since its parent was listed: the next sweep sees it there.
      if (code === 'ENOENT' || code === 'ENOTDIR') this.#counts.deferred++;
      else this.#problem(folder.path, code, 'cannot be listed; nothing in it is deleted');
      return undefined;
    }
  }

  /** Compares one listing with the records; returns the directories to go on with. */
  #scan(folder: Folder, listing: SourceListing): Folder[] {
    this.#counts.directories++;
    this.#counts.entries += listing.seen.length;
    this.#counts.special += listing.special.length;
    for (const problem of listing.unreadable.values()) this.#report(problem);
    const rules = this.#rulesIn(folder, listing);
    const { seen, hidden } = this.#visible(folder, listing, rules);

    const unchanged = listing.unreadable.size === 0 && this.#isUnchanged(folder.id, seen);
    if (!unchanged) {
      const known = this.#observed.listing(folder.id);
      for (const difference of diff(known, seen)) {
        switch (difference.kind) {
          case 'new':
            this.#created(folder, difference.seen, undefined);
            break;
          case 'changed':
            this.#updated(folder, difference.seen);
            break;
          case 'gone':
            if (listing.unreadable.has(difference.known.name)) break;
            if (hidden.has(difference.known.name) && !this.#options.deleteExcluded) break;
            this.#gone.push({ folder, known: difference.known, seen: undefined });
            break;
          case 'replaced':
            if (difference.known.entry.kind === 'directory') {
              this.#gone.push({ folder, known: difference.known, seen: difference.seen });
            } else {
              this.#created(folder, difference.seen, difference.known);
            }
            break;
        }
      }
    }
    if (this.#regrouped.size > 0) this.#regroup(folder, seen);
    if (this.#options.checksum) this.#checkAll(folder, seen);
    return this.#foldersIn(folder, seen, rules, unchanged);
  }

  #rulesIn(folder: Folder, listing: SourceListing): IgnoreRules {
    if (!listing.seen.some(seen => seen.name === ignoreFileName && seen.kind === 'file')) {
      return folder.rules;
    }
    try {
      const text = readSourceText(this.#options.root, below(folder.path, ignoreFileName));
      return folder.rules.with(folder.path, text);
    } catch (error) {
      const code = systemCode(error) ?? 'EIO';
      this.#problem(below(folder.path, ignoreFileName), code, 'cannot be read');
      return folder.rules;
    }
  }

  /** The names that count, and those that rules, --path or reservation hide. */
  #visible(
    folder: Folder,
    listing: SourceListing,
    rules: IgnoreRules,
  ): { seen: readonly Seen[]; hidden: ReadonlySet<Name> } {
    const { scope } = this.#options;
    const isRoot = folder.depth === 0;
    if (rules.isEmpty && scope.length === 0 && !isRoot) {
      return { seen: listing.seen, hidden: new Set() };
    }
    const hidden = new Set<Name>();
    const seen = listing.seen.filter(one => {
      const path = below(folder.path, one.name);
      const shown =
        !(isRoot && one.name === reservedName) &&
        isInScope(path, scope) &&
        !rules.ignores(path, one.kind === 'directory');
      if (!shown) hidden.add(one.name);
      return shown;
    });
    if (scope.length > 0) {
      // A name outside the scope is not looked at: it is neither there nor gone.
      for (const known of this.#observed.listing(folder.id)) {
        if (!isInScope(below(folder.path, known.name), scope)) hidden.add(known.name);
      }
    }
    return { seen, hidden };
  }

  #isUnchanged(id: NodeId, seen: readonly Seen[]): boolean {
    if (this.#observed.hasPending(id)) return false;
    const writer = this.#writer;
    writer.reset();
    for (const one of seen) writer.write(one);
    const bytes = writer.bytes();
    let offset = 0;
    for (const page of this.#store.pages(id)) {
      const recorded = seenBytes(page);
      const part = bytes.subarray(offset, offset + recorded.length);
      if (!part.equals(recorded)) return false;
      offset += recorded.length;
    }
    return offset === bytes.length;
  }

  #foldersIn(
    folder: Folder,
    seen: readonly Seen[],
    rules: IgnoreRules,
    unchanged: boolean,
  ): Folder[] {
    const depth = folder.depth + 1;
    const found = unchanged
      ? this.#store.pages(folder.id).flatMap(directoriesOf)
      : this.#observed.directoriesIn(folder.id, seen);
    if (found.length > 0 && depth > depthMax) {
      this.#problem(folder.path, 'ENAMETOOLONG', `deeper than ${depthMax} levels; skipped`);
      return [];
    }
    const seenAs = new Map(seen.map(one => [one.name, one]));
    this.#completeLinkCounts(folder.id, found, seenAs);
    return found
      .filter(({ name, id }) => !this.#looksUnmounted(folder, id, seenAs.get(name)))
      .map(({ name, id }) => {
        const path = below(folder.path, name);
        const device = this.#deviceOf(folder, path, seenAs.get(name)?.nlink);
        return { id, path, rules, depth, device };
      });
  }

  /** Device of a subdirectory: its parent's, unless it is a mount point. */
  #deviceOf(folder: Folder, path: string, nlink: number | undefined): bigint {
    return nlink === 2 ? (this.#statQuietly(path)?.dev ?? folder.device) : folder.device;
  }

  /** What was taken over from the receiver does not say which directories are mount points. */
  #completeLinkCounts(
    parent: NodeId,
    found: readonly { readonly name: Name }[],
    seenAs: ReadonlyMap<Name, Seen>,
  ): void {
    const complete: Known[] = [];
    for (const { name } of found) {
      const known = this.#confirmed.find(parent, name);
      const seen = seenAs.get(name);
      if (known?.nlink !== 0 || seen === undefined || !isSameInode(known.entry, seen)) continue;
      complete.push({ ...known, nlink: seen.nlink });
    }
    if (complete.length > 0) this.#confirmed.setLinkCounts(parent, complete);
  }

  /**
   * A directory that was a mount point and is none now (or the other way round), and shows none of
   * the names known in it: a file system is missing, not deleted. Where it is not known whether it
   * was one, any other directory in its place counts.
   */
  #looksUnmounted(folder: Folder, id: NodeId, seen: Seen | undefined): boolean {
    if (seen === undefined || this.#accepted) return false;
    const known = this.#observed.find(folder.id, seen.name);
    if (known === undefined || known.nlink === seen.nlink) return false;
    if (known.nlink === 0 && isSameInode(known.entry, seen)) return false;
    const path = below(folder.path, seen.name);
    const listing = this.#list({ ...folder, path });
    if (listing === undefined) return true;
    // The receiver found it there (--adopt, lost state) and no sender ever saw it: it is a mount
    // point without its file system only if nothing is in it.
    if (known.entry.stamp.ino === 0n && listing.seen.length > 0) return false;
    const names = new Set(listing.seen.map(one => one.name));
    const before = this.#observed.listing(id);
    if (before.length === 0 || before.some(one => names.has(one.name))) return false;
    this.#problem(path, 'ENXIO', 'a file system is not mounted here, or covers it; left as it was');
    return true;
  }

  // -- changes ----------------------------------------------------------------------------------

  #created(folder: Folder, seen: Seen, replaced: Known | undefined): void {
    const path = below(folder.path, seen.name);
    if (!this.#hasRoom()) return;
    const moved = this.#movedHere(folder, seen);
    if (moved === 'kept') return;
    if (moved === 'linked') return;
    const id = this.#observed.newId();
    if (seen.kind === 'file') {
      this.#file(folder, seen, { id, known: undefined, isNew: replaced === undefined });
      return;
    }
    let target = '';
    if (seen.kind === 'link') {
      const read = this.#target(path);
      if (read === undefined) return;
      target = read;
    }
    const entry = entryOf(seen, { id, version: 0, target });
    const token = this.#observed.queue([
      { parent: folder.id, name: seen.name, known: { name: seen.name, entry, nlink: seen.nlink } },
    ]);
    const isNew = replaced === undefined;
    this.#hand({ kind: seen.kind, token, path, parent: folder.id, name: seen.name, entry, isNew });
  }

  /**
   * Looks for the node of a name's inode elsewhere in the tree. 'kept': it was renamed to here, and
   * that was handed out. 'linked': it is one more name of a file. undefined: a node of its own.
   */
  #movedHere(folder: Folder, seen: Seen): 'kept' | 'linked' | undefined {
    if (seen.kind === 'link' || seen.birthtimeNs === 0n) return undefined;
    const from = this.#observed.placeOfInode(seen.ino, seen.birthtimeNs);
    if (from === undefined) return undefined;
    if (from.parent === folder.id && from.name === seen.name) return undefined;
    let known = this.#observed.find(from.parent, from.name);
    const isDisplaced = known?.entry.id !== from.id;
    // In a swap the other rename took the node's name; until the commit ends it can be claimed.
    if (isDisplaced) known = this.#observed.displaced(from.id);
    if (known === undefined || known.entry.kind !== seen.kind) return undefined;
    // The node may have got another inode since, in a change that is not yet confirmed.
    if (!isSameInode(known.entry, seen)) return undefined;
    const fromFolder = this.#observed.pathOf(from.parent);
    if (fromFolder === undefined) return undefined;
    const fromPath = below(fromFolder, from.name);
    const path = below(folder.path, seen.name);
    if (this.#isThere(fromPath, seen)) {
      if (seen.kind !== 'file' || seen.nlink < 2) return undefined;
      this.#hardLink(folder, seen, known);
      return 'linked';
    }
    const { entry: before } = known;
    if (seen.kind === 'file') {
      // What was half written under another name must not be shown under this one: new content
      // comes first, from blocks the receiver has.
      if (before.size !== seen.size || before.mtimeNs !== seen.mtimeNs) return undefined;
      if (!isDisplaced && this.#isTaken(fromPath)) {
        // Something else took the old name at once: it stays, whatever commits they end up in.
        const stays = { parent: from.parent, name: from.name, known: { ...known, nlink: 2 } };
        this.#hardLink(folder, seen, known, [stays]);
        return 'linked';
      }
    }
    const entry = entryOf(seen, { id: from.id, version: before.version, target: '' });
    const moved: Known = { name: seen.name, entry, nlink: seen.nlink };
    const arrives = { parent: folder.id, name: seen.name, known: moved };
    const leaves = { parent: from.parent, name: from.name, known: undefined };
    const token = this.#observed.queue(isDisplaced ? [arrives] : [leaves, arrives], true);
    this.#hand({
      kind: 'rename',
      token,
      path,
      fromParent: from.parent,
      fromName: from.name,
      fromPath,
      parent: folder.id,
      name: seen.name,
      entry,
    });
    return 'kept';
  }

  #isThere(path: string, seen: Seen): boolean {
    try {
      const stats = statSource(this.#options.root, path);
      return stats?.ino === seen.ino && stats.birthtimeNs === seen.birthtimeNs;
    } catch {
      return true; // Unknown counts as there: no rename is inferred from an error.
    }
  }

  /** Is there a file or link, that is to replace what the replica has at this path? */
  #isTaken(path: string): boolean {
    const stats = this.#statQuietly(path);
    return stats !== undefined && (stats.isFile() || stats.isSymbolicLink());
  }

  #hardLink(folder: Folder, seen: Seen, known: Known, others: readonly Effect[] = []): void {
    if (seen.size !== known.entry.size || seen.mtimeNs !== known.entry.mtimeNs) {
      this.#counts.deferred++; // Its content changes too; the link follows when that is through.
      return;
    }
    const isNew = this.#confirmed.find(folder.id, seen.name) === undefined;
    this.#linkTo(folder, seen, known, { isNew, others });
  }

  /** One more name for the content that `known` has. */
  #linkTo(
    folder: Place,
    seen: Seen,
    known: Known,
    { isNew, others = [] }: { isNew: boolean; others?: readonly Effect[] },
  ): void {
    const { id, version } = known.entry;
    const entry = entryOf(seen, { id, version, target: '' });
    const place = { parent: folder.id, name: seen.name };
    const arrives = { ...place, known: { name: seen.name, entry, nlink: seen.nlink } };
    const token = this.#observed.queue([...others, arrives]);
    const path = below(folder.path, seen.name);
    this.#hand({ kind: 'hardlink', token, path, ...place, entry, isNew });
  }

  /** Another name that the file with several names was last seen at; `isSame`: just like this. */
  #twin(parent: NodeId, seen: Seen): { known: Known; isSame: boolean } | undefined {
    const at = this.#observed.placeOfInode(seen.ino, seen.birthtimeNs);
    if (at === undefined || (at.parent === parent && at.name === seen.name)) return undefined;
    const known = this.#observed.find(at.parent, at.name);
    if (known?.entry.id !== at.id || known.entry.kind !== 'file') return undefined;
    const { entry } = known;
    const isSame =
      entry.size === seen.size &&
      entry.mtimeNs === seen.mtimeNs &&
      entry.stamp.ctimeNs === seen.ctimeNs &&
      entry.stamp.ino === seen.ino;
    return { known, isSame };
  }

  /** Another entry of the same kind than was known; a rename handed out meanwhile may have taken it. */
  #updated(folder: Folder, seen: Seen): void {
    const known = this.#observed.find(folder.id, seen.name);
    if (known === undefined) this.#created(folder, seen, undefined);
    else if (!sameSeen(known, seen)) this.#changed(folder, seen, known);
  }

  #changed(folder: Folder, seen: Seen, known: Known): void {
    if (!this.#hasRoom()) return;
    const path = below(folder.path, seen.name);
    const { entry: before } = known;
    const otherInode = !isSameInode(before, seen);
    if (seen.kind === 'directory' && this.#looksUnmounted(folder, before.id, seen)) return;
    if (otherInode && this.#movedHere(folder, seen) !== undefined) return;
    if (seen.kind === 'file') {
      const unstamped = before.stamp.ino === 0n && seen.nlink > 1;
      const leavesGroup = otherInode && known.nlink > 1;
      const id = unstamped || leavesGroup ? this.#observed.newId() : before.id;
      this.#file(folder, seen, { id, known, isNew: false });
      return;
    }
    let target = '';
    if (seen.kind === 'link') {
      const read = this.#target(path);
      if (read === undefined) return;
      target = read;
    }
    const entry = entryOf(seen, { id: before.id, version: 0, target });
    const token = this.#observed.queue([
      { parent: folder.id, name: seen.name, known: { name: seen.name, entry, nlink: seen.nlink } },
    ]);
    const place = { token, path, parent: folder.id, name: seen.name, entry };
    if (target === before.target) this.#hand({ kind: 'attributes', ...place });
    else this.#hand({ kind: 'link', ...place, isNew: false });
  }

  #file(
    folder: Place,
    seen: Seen,
    from: { id: NodeId; known: Known | undefined; isNew: boolean; isFirst?: boolean },
  ): void {
    const path = below(folder.path, seen.name);
    const { id, known } = from;
    const place = { parent: folder.id, name: seen.name };
    const twin = seen.nlink > 1 ? this.#twin(folder.id, seen) : undefined;
    if (twin?.isSame === true && from.isFirst !== true) {
      // Another name of a file whose content is known, or on its way.
      this.#linkTo(folder, seen, twin.known, { isNew: from.isNew });
      return;
    }
    if (this.#observed.isPaused(folder.id, seen.name)) {
      this.#counts.deferred++;
      return;
    }
    const before = known?.entry.id === id ? known.entry.version : 0;
    // Names of one node may be at different versions for a while; a number is never used twice.
    const newest = twin?.known.entry.id === id ? twin.known.entry.version : 0;
    const version = Math.max(before, newest) + 1;
    const entry = entryOf(seen, { id, version, target: '' });
    // Bytes of another node at this name make a basis for the reader, not for the receiver.
    const basis = before > 0 ? this.#store.basis(id, before) : undefined;
    const token = this.#observed.queue([
      { ...place, known: { name: seen.name, entry, nlink: seen.nlink } },
    ]);
    this.#hand({
      kind: 'file',
      token,
      path,
      ...place,
      entry,
      basis,
      baseVersion: before,
      purpose: 'content',
      seenMs: clockMs(),
      isNew: from.isNew,
    });
  }

  /** --checksum: every file is read once by this process, whatever its times say. */
  #checkAll(folder: Folder, seen: readonly Seen[]): void {
    for (const one of seen) {
      if (one.kind !== 'file') continue;
      const known = this.#observed.find(folder.id, one.name);
      if (known === undefined || this.#checked.has(known.entry.id)) continue;
      if (this.#observed.isPending(folder.id, one.name) || !this.#hasRoom()) continue;
      this.#checked.add(known.entry.id);
      this.#look(below(folder.path, one.name), { parent: folder.id, name: one.name }, known);
    }
  }

  /** Hands out files whose content is due for the second look that makes their times trusted. */
  #secondLooks(): void {
    for (const { id, place } of this.#observed.takeSuspects()) this.#resend(id, place);
    for (const { id, place } of this.#confirmed.takeSplits()) this.#resend(id, place);
    for (const { id, place } of this.#observed.dueForTrust(clockMs(), trustPerSlice)) {
      const known = this.#observed.find(place.parent, place.name);
      const folder = this.#observed.pathOf(place.parent);
      if (known?.entry.id !== id || folder === undefined) {
        this.#observed.trust(id);
        continue;
      }
      if (this.#observed.isPending(place.parent, place.name)) {
        this.#observed.looked(id, undefined, place);
        continue;
      }
      this.#look(below(folder, place.name), place, known);
    }
  }

  /** Makes one node of what are two names of one file. */
  #joinSplits(): void {
    for (const { place, known } of this.#observed.splits()) {
      const { parent, name } = place;
      // Until then the sweep is not quiet.
      this.#counts.deferred++;
      const path = this.#observed.pathOf(parent);
      if (path === undefined || this.#observed.isPending(parent, name) || !this.#hasRoom())
        continue;
      const stats = this.#statQuietly(below(path, name));
      const seen = stats && seenOfStats(name, stats);
      if (seen?.kind !== 'file' || seen.nlink < 2 || !isSameInode(known.entry, seen)) continue;
      const { size, mtimeNs } = known.entry;
      if (size !== seen.size || mtimeNs !== seen.mtimeNs) continue;
      this.#linkTo({ id: parent, path }, seen, known, { isNew: false });
    }
  }

  #resend(id: NodeId, place: { parent: NodeId; name: Name }): void {
    const known = this.#observed.find(place.parent, place.name);
    const folder = this.#observed.pathOf(place.parent);
    if (known?.entry.id !== id || folder === undefined) return;
    const stats = this.#statQuietly(below(folder, place.name));
    const seen = stats && seenOfStats(place.name, stats);
    if (seen?.kind !== 'file') return;
    const twin = seen.nlink > 1 ? this.#twin(place.parent, seen) : undefined;
    if (twin?.isSame === true && twin.known.entry.id !== id) {
      const at = { id: place.parent, path: folder };
      this.#linkTo(at, seen, twin.known, { isNew: false });
    } else if (seen.nlink > 1) this.#regrouped.set(id, undefined);
    else this.#file({ id: place.parent, path: folder }, seen, { id, known, isNew: false });
  }

  /** Of a file with several names the first one is sent again, the others are linked to it. */
  #regroup(folder: Folder, seen: readonly Seen[]): void {
    for (const one of seen) {
      if (one.kind !== 'file' || one.nlink < 2) continue;
      const known = this.#observed.find(folder.id, one.name);
      if (known === undefined || !this.#regrouped.has(known.entry.id)) continue;
      if (this.#observed.isPending(folder.id, one.name) || !sameSeen(known, one)) continue;
      const { id } = known.entry;
      const first = this.#regrouped.get(id);
      if (first !== undefined) this.#linkTo(folder, one, first, { isNew: false });
      else {
        this.#file(folder, one, { id, known, isNew: false, isFirst: true });
        this.#regrouped.set(id, this.#observed.find(folder.id, one.name));
      }
    }
  }

  /** lstat; undefined also when it fails: the sweep reports that where it lists the directory. */
  #statQuietly(path: string): ReturnType<typeof statSource> {
    try {
      return statSource(this.#options.root, path);
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      return undefined;
    }
  }

  #look(path: string, place: { parent: NodeId; name: Name }, known: Known): void {
    const { entry } = known;
    this.#changes.push({
      kind: 'file',
      token: 0, // Nothing is pending: a second look changes no record.
      path,
      ...place,
      entry,
      basis: this.#store.basis(entry.id, entry.version),
      baseVersion: entry.version,
      purpose: 'trust',
      seenMs: clockMs() - trustAfterMs,
      isNew: false,
    });
  }

  #target(path: string): string | undefined {
    try {
      return readSourceLink(this.#options.root, path);
    } catch (error) {
      const code = systemCode(error);
      if (code === undefined) throw error;
      if (code === 'ENOENT' || code === 'EINVAL') this.#counts.deferred++;
      else this.#problem(path, code, 'the link cannot be read');
      return undefined;
    }
  }

  #hasRoom(): boolean {
    if (this.#changes.length < this.#room) return true;
    this.#counts.deferred++;
    return false;
  }

  #hand(change: Change): void {
    this.#counts.changes++;
    this.#changes.push(change);
  }

  #problem(path: string, code: string, message: string): void {
    this.#report({ path, code, message });
  }

  #report(problem: Problem): void {
    this.#counts.problems++;
    this.#problems.push(problem);
  }

  // -- deletes ----------------------------------------------------------------------------------

  /** Judges what the sweep found gone, and hands out the deletes that are allowed. */
  #release(rootEmptied: boolean): SweepSummary['held'] {
    if (!this.#options.delete) return undefined;
    const gone = this.#gone.filter(one => this.#isGone(one));
    const inside = new Set(gone.map(one => one.known.entry.id));
    for (const id of this.#countsBelow.keys()) if (!inside.has(id)) this.#countsBelow.delete(id);
    let deleteCount = 0;
    for (const { known } of gone) deleteCount += 1 + this.#countBelow(known);
    const verdict = judge({
      deleteCount,
      entryCount: this.#confirmed.entryCount,
      rootEmptied,
      maxDelete: this.#options.maxDelete,
      accepted: this.#accepted,
    });
    if (verdict.kind === 'hold') return { count: deleteCount, reason: verdict.reason };
    if (gone.length > 0 && !this.#rootIsStill()) return undefined;
    for (const one of gone) {
      if (!this.#hasRoom()) continue;
      if (one.seen !== undefined) this.#created(one.folder, one.seen, one.known);
      else this.#remove(one.folder, one.known);
    }
    if (gone.length > 0) this.#accepted = false;
    return undefined;
  }

  /** Still gone, or still another kind of entry, and not renamed to elsewhere meanwhile? */
  #isGone({ folder, known, seen }: Gone): boolean {
    if (this.#observed.find(folder.id, known.name)?.entry.id !== known.entry.id) return false;
    try {
      const path = below(folder.path, known.name);
      const stats = statSource(this.#options.root, path);
      if (seen !== undefined) {
        return stats !== undefined && seenOfStats(known.name, stats)?.kind === seen.kind;
      }
      // An entry that is there but hidden (--delete-excluded) or special now counts as gone.
      if (stats !== undefined) return this.#options.deleteExcluded || isSpecial(known.name, stats);
      return statSource(this.#options.root, folder.path)?.isDirectory() === true;
    } catch {
      return false; // An error is no evidence.
    }
  }

  #rootIsStill(): boolean {
    try {
      const stats = statSource(this.#options.root, '');
      const known = this.#confirmed.rootIdentity();
      return stats?.ino === known?.ino && stats?.birthtimeNs === known?.birthtimeNs;
    } catch {
      return false;
    }
  }

  #countBelow(known: Known): number {
    if (known.entry.kind !== 'directory') return 0;
    const counted = this.#countsBelow.get(known.entry.id);
    if (counted !== undefined) return counted;
    const count = this.#confirmed.countBelow(known.entry.id);
    this.#countsBelow.set(known.entry.id, count);
    return count;
  }

  #remove(folder: Folder, known: Known): void {
    const place = { parent: folder.id, name: known.name };
    const token = this.#observed.queue([{ ...place, known: undefined }]);
    this.#hand({
      kind: 'remove',
      token,
      path: below(folder.path, known.name),
      ...place,
      id: known.entry.id,
      isDirectory: known.entry.kind === 'directory',
    });
  }
}

function isSameInode({ stamp }: Entry, seen: Seen): boolean {
  return stamp.ino === seen.ino && stamp.birthtimeNs === seen.birthtimeNs;
}

function isSpecial(name: Name, stats: NonNullable<ReturnType<typeof statSource>>): boolean {
  return seenOfStats(name, stats) === undefined;
}

/** A path is in scope when it is named, inside something named, or leads to it. */
export function isInScope(path: string, scope: readonly string[]): boolean {
  if (scope.length === 0) return true;
  return scope.some(
    one => path === one || path.startsWith(`${one}/`) || one.startsWith(`${path}/`),
  );
}

/** --path as given by the user: latin1, without slashes at its ends or '.' components. */
export function scopePath(text: string): string {
  const parts = fromUserPath(text).split('/');
  return parts.filter(part => part !== '' && part !== '.').join('/');
}

function entryOf(seen: Seen, record: { id: NodeId; version: number; target: string }): Entry {
  return {
    kind: seen.kind,
    id: record.id,
    mode: seen.mode,
    size: seen.kind === 'link' ? record.target.length : seen.size,
    mtimeNs: seen.mtimeNs,
    stamp: { ctimeNs: seen.ctimeNs, ino: seen.ino, birthtimeNs: seen.birthtimeNs },
    version: record.version,
    target: record.target,
  };
}
