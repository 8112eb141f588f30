// What is new or other about one name, as changes: renames and further names of a file are
// recognised by their inode.
import QuickLru from 'quick-lru';
import { systemCode } from '../errors.ts';
import { sameSeen } from '../snapshot/diff.ts';
import type { Entry, NodeId } from '../snapshot/entry.ts';
import type { Known, Seen } from '../snapshot/listing.ts';
import { below, kindOf } from '../tree/source-listing.ts';
import { clockMs } from './clock.ts';
import type { Effect } from './confirmed.ts';
import type { MountGuard } from './mount-guard.ts';
import {
  type Folder,
  type FolderPlace,
  isSameInode,
  type ScanState,
  statQuietly,
} from './scan-state.ts';

/** Files with several names whose newest version is remembered. */
const newestMax = 50_000;
/** Versions that other names of a file, gone by now, may have had before this process began. */
const unknownVersions = 1000;
/** A u32 on the wire. */
const versionMax = 2 ** 32 - 1;

/** What of an entry the scan does not see. */
type EntryRecord = Pick<Entry, 'id' | 'version' | 'target'>;

export class NodeChanges {
  readonly #state: ScanState;
  readonly #mounts: MountGuard;
  /** Of files with several names, whichever of them brought it, and though that one be gone. */
  readonly #newest = new QuickLru<NodeId, number>({ maxSize: newestMax });

  constructor(state: ScanState, mounts: MountGuard) {
    this.#state = state;
    this.#mounts = mounts;
  }

  created(folder: Folder, seen: Seen, replaced: Known | undefined): void {
    const path = below(folder.path, seen.name);
    if (!this.#state.findings.hasRoom() || this.#isRefused(folder, seen)) return;
    const moved = this.#movedHere(folder, seen);
    if (moved === 'kept') return;
    if (moved === 'linked') return;
    const id = this.#state.observed.newId();
    if (seen.kind === 'file') {
      this.file(folder, seen, { id, known: undefined, isNew: replaced === undefined });
      return;
    }
    let target = '';
    if (seen.kind === 'link') {
      const read = this.#target(path);
      if (read === undefined) return;
      target = read;
    }
    const entry = this.#entryOf(path, seen, { id, version: 0, target, known: undefined });
    const token = this.#state.observed.queue([
      { parent: folder.id, name: seen.name, known: { name: seen.name, entry, nlink: seen.nlink } },
    ]);
    const isNew = replaced === undefined;
    const place = { token, path, parent: folder.id, name: seen.name, entry, isNew };
    if (seen.kind === 'link') this.#state.findings.hand({ kind: 'link', ...place });
    else this.#state.findings.handDirectory(id, { kind: 'directory', ...place });
  }

  /** Another entry of the same kind than was known; a rename handed out meanwhile may have taken it. */
  updated(folder: Folder, seen: Seen): void {
    const known = this.#state.observed.find(folder.id, seen.name);
    if (known === undefined) this.created(folder, seen, undefined);
    else if (!sameSeen(known, seen)) this.#changed(folder, seen, known);
  }

  #changed(folder: Folder, seen: Seen, known: Known): void {
    if (!this.#state.findings.hasRoom() || this.#isRefused(folder, seen)) return;
    const path = below(folder.path, seen.name);
    const { entry: before } = known;
    const otherInode = !isSameInode(before, seen);
    if (seen.kind === 'directory' && this.#mounts.looksUnmounted(folder, before.id, seen)) return;
    if (otherInode && this.#movedHere(folder, seen) !== undefined) return;
    if (this.#isUnkeepable(path, seen, known)) return;
    if (seen.kind === 'file') {
      const unstamped = before.stamp.ino === 0n && seen.nlink > 1;
      const leavesGroup = otherInode && this.#isShared(folder, known);
      const id = unstamped || leavesGroup ? this.#state.observed.newId() : before.id;
      this.file(folder, seen, { id, known, isNew: false });
      return;
    }
    let target = '';
    if (seen.kind === 'link') {
      const read = this.#target(path);
      if (read === undefined) return;
      target = read;
    }
    const entry = this.#entryOf(path, seen, { id: before.id, version: 0, target, known: before });
    const token = this.#state.observed.queue([
      { parent: folder.id, name: seen.name, known: { name: seen.name, entry, nlink: seen.nlink } },
    ]);
    const place = { token, path, parent: folder.id, name: seen.name, entry };
    if (target === before.target) this.#state.findings.hand({ kind: 'attributes', ...place });
    else this.#state.findings.hand({ kind: 'link', ...place, isNew: false });
  }

  /** Nothing differs but extended attributes that cannot be kept, which is reported each time. */
  #isUnkeepable(path: string, seen: Seen, known: Known): boolean {
    const isOtherwiseSame =
      seen.keepsXattrs === true &&
      known.entry.xattrs === undefined &&
      sameSeen(known, { ...seen, keepsXattrs: false });
    if (!isOtherwiseSame) return false;
    const kept = this.#state.xattrs.of(path, seen, known.entry);
    if (kept === undefined) this.#state.findings.defer();
    return kept?.xattrs === undefined;
  }

  /** Does the receiver have, or may it have, other names of the node? */
  #isShared({ id: parent }: Folder, { name, entry, nlink }: Known): boolean {
    if (nlink > 1) return true;
    return this.#state.observed.placeOfInode(entry.stamp, { parent, name })?.id === entry.id;
  }

  file(
    folder: FolderPlace,
    seen: Seen,
    from: { id: NodeId; known: Known | undefined; isNew: boolean; isFirst?: boolean },
  ): void {
    const path = below(folder.path, seen.name);
    const { known } = from;
    const place = { parent: folder.id, name: seen.name };
    const twin = seen.nlink > 1 ? this.twin(folder.id, seen) : undefined;
    if (twin?.isSame === true && from.isFirst !== true) {
      // Another name of a file whose content is known, or on its way.
      this.linkTo(folder, seen, twin.known, { isNew: from.isNew });
      return;
    }
    if (this.#state.observed.pauseOf(folder.id, seen.name) !== undefined) {
      if (this.#state.observed.isStuck(folder.id, seen.name)) this.#state.findings.pause();
      else this.#state.findings.defer();
      return;
    }
    if (this.#state.settling.isSettling(path, seen)) {
      this.#state.findings.settle();
      return;
    }
    const xattrs = this.#state.xattrs.of(path, seen, known?.entry);
    if (xattrs === undefined) {
      this.#state.findings.defer();
      return;
    }
    const next = this.#nextVersion(from.id, seen, known, twin?.known);
    // Only a hostile peer counts that far. The content goes on as another node.
    const isUsedUp = next > versionMax;
    const id = isUsedUp ? this.#state.observed.newId() : from.id;
    const version = isUsedUp ? 1 : next;
    const before = known?.entry.id === id ? known.entry.version : 0;
    const entry = { ...this.#bareEntryOf(seen, { id, version, target: '' }), ...xattrs };
    // Bytes of another node at this name make a basis for the reader, not for the receiver.
    const basis = before > 0 ? this.#state.store.basis(id, before) : undefined;
    const token = this.#state.observed.queue([
      { ...place, known: { name: seen.name, entry, nlink: seen.nlink } },
    ]);
    this.#state.findings.hand({
      kind: 'file',
      token,
      path,
      ...place,
      entry,
      basis,
      baseVersion: before,
      baseSize: before > 0 ? (known?.entry.size ?? 0) : 0,
      purpose: 'content',
      seenMs: clockMs(),
      isNew: from.isNew,
    });
  }

  /** The receiver could not do it a moment ago: the name's turn comes again. */
  #isRefused(folder: FolderPlace, seen: Seen): boolean {
    if (!this.#state.observed.isRefused(folder.id, seen.name)) return false;
    this.#state.findings.pause();
    return true;
  }

  /** Names of one node may be at different versions for a while; a number is never used twice. */
  #nextVersion(id: NodeId, seen: Seen, known: Known | undefined, twin: Known | undefined): number {
    const versions = [known, twin].map(one => (one?.entry.id === id ? one.entry.version : 0));
    const newest = this.#newest.get(id);
    const isUnknown = newest === undefined && known?.entry.id === id && known.nlink > 1;
    const next = Math.max(...versions, newest ?? 0) + 1 + (isUnknown ? unknownVersions : 0);
    if (seen.nlink > 1 || newest !== undefined) this.#newest.set(id, next);
    return next;
  }

  /** One more name for the content that `known` has. */
  linkTo(
    folder: FolderPlace,
    seen: Seen,
    known: Known,
    { isNew, others = [] }: { isNew: boolean; others?: readonly Effect[] },
  ): void {
    if (this.#isRefused(folder, seen)) return;
    const { id, version } = known.entry;
    const path = below(folder.path, seen.name);
    const entry = this.#movedEntryOf(path, seen, { id, version, target: '', known: known.entry });
    const place = { parent: folder.id, name: seen.name };
    // At the receiver the node has two names now, even if the other was to go and does not: content
    // that comes under this one must not count versions of the node for itself.
    const nlink = Math.max(seen.nlink, 2);
    const arrives = { ...place, known: { name: seen.name, entry, nlink } };
    // A link moves the ctime: what else was done to the file meanwhile, its times need not tell.
    const isUnread = known.entry.stamp.ctimeNs !== seen.ctimeNs;
    const token = this.#state.observed.queue([...others, arrives], isUnread);
    this.#state.findings.hand({ kind: 'hardlink', token, path, ...place, entry, isNew });
  }

  /** Another name that the file with several names was last seen at; `isSame`: just like this. */
  twin(parent: NodeId, seen: Seen): { known: Known; isSame: boolean } | undefined {
    const at = this.#state.observed.placeOfInode(seen, { parent, name: seen.name });
    if (at === undefined) return undefined;
    const known = this.#state.observed.find(at.parent, at.name);
    if (known?.entry.id !== at.id || known.entry.kind !== 'file') return undefined;
    const { entry } = known;
    const isSame =
      entry.size === seen.size &&
      entry.mtimeNs === seen.mtimeNs &&
      entry.stamp.ctimeNs === seen.ctimeNs &&
      entry.stamp.ino === seen.ino;
    return { known, isSame };
  }

  /**
   * Looks for the node of a name's inode elsewhere in the tree. 'kept': it was renamed to here, and
   * that was handed out. 'linked': it is one more name of a file. undefined: a node of its own.
   */
  #movedHere(folder: Folder, seen: Seen): 'kept' | 'linked' | undefined {
    if (seen.kind === 'link' || seen.birthtimeNs === 0n) return undefined;
    const from = this.#state.observed.placeOfInode(seen, { parent: folder.id, name: seen.name });
    if (from === undefined) return undefined;
    let known = this.#state.observed.find(from.parent, from.name);
    const isDisplaced = known?.entry.id !== from.id;
    // In a swap the other rename took the node's name; until the commit ends it can be claimed.
    if (isDisplaced) known = this.#state.observed.displaced(from.id);
    if (known === undefined || known.entry.kind !== seen.kind) return undefined;
    // The node may have got another inode since, in a change that is not yet confirmed.
    if (!isSameInode(known.entry, seen)) return undefined;
    const fromFolder = this.#state.observed.pathOf(from.parent);
    if (fromFolder === undefined) return undefined;
    const fromPath = below(fromFolder, from.name);
    const path = below(folder.path, seen.name);
    const isOther = known.entry.size !== seen.size || known.entry.mtimeNs !== seen.mtimeNs;
    if (this.#isThere(fromPath, seen)) {
      if (seen.kind !== 'file' || seen.nlink < 2) return undefined;
      // A name that cannot be brought up to date holds no other one up: it is linked to this one then.
      if (isOther && this.#state.observed.isStuck(from.parent, from.name)) return undefined;
      this.#hardLink(folder, seen, known);
      return 'linked';
    }
    const { entry: before } = known;
    if (seen.kind === 'file') {
      // What was half written under another name must not be shown under this one: new content
      // comes first, from blocks the receiver has.
      if (isOther) return undefined;
      if (this.#isTaken(fromPath)) {
        // Something else took the old name at once: it stays, whatever commits they end up in, and
        // whether the newcomer can be read or not.
        const stays = { parent: from.parent, name: from.name, known: { ...known, nlink: 2 } };
        this.#hardLink(folder, seen, known, isDisplaced ? [] : [stays]);
        return 'linked';
      }
    }
    const record = { id: from.id, version: before.version, target: '', known: before };
    const entry = this.#movedEntryOf(path, seen, record);
    const moved: Known = { name: seen.name, entry, nlink: seen.nlink };
    const arrives = { parent: folder.id, name: seen.name, known: moved };
    const leaves = { parent: from.parent, name: from.name, known: undefined };
    const token = this.#state.observed.queue(isDisplaced ? [arrives] : [leaves, arrives], true);
    this.#state.findings.hand({
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
      const stats = this.#state.source.stat(path);
      return stats?.ino === seen.ino && stats.birthtimeNs === seen.birthtimeNs;
    } catch {
      return true; // Unknown counts as there: no rename is inferred from an error.
    }
  }

  /** Is there a file or link, that is to replace what the replica has at this path? */
  #isTaken(path: string): boolean {
    const stats = statQuietly(this.#state.source, path);
    const kind = stats && kindOf(stats);
    return kind === 'file' || kind === 'link';
  }

  #hardLink(folder: Folder, seen: Seen, known: Known, others: readonly Effect[] = []): void {
    if (seen.size !== known.entry.size || seen.mtimeNs !== known.entry.mtimeNs) {
      this.#state.findings.defer(); // Its content changes too; the link follows when that is through.
      return;
    }
    const isNew = this.#state.confirmed.find(folder.id, seen.name) === undefined;
    this.linkTo(folder, seen, known, { isNew, others });
  }

  #target(path: string): string | undefined {
    try {
      return this.#state.source.readLink(path);
    } catch (error) {
      const code = systemCode(error);
      if (code === undefined) throw error;
      if (code === 'ENOENT' || code === 'EINVAL') this.#state.findings.defer();
      else this.#state.findings.problem(path, code, 'the link cannot be read');
      return undefined;
    }
  }

  /**
   * Extended attributes that change just now go as they were, since a rename or the names in a directory
   * must not wait for them; the entry has a ctime that is not there: the next look finds it changed.
   */
  #entryOf(
    path: string,
    seen: Seen,
    record: EntryRecord & { readonly known: Entry | undefined },
  ): Entry {
    const entry = this.#bareEntryOf(seen, record);
    const kept = this.#state.xattrs.of(path, seen, record.known);
    if (kept !== undefined) return { ...entry, ...kept };
    this.#state.findings.defer();
    const stamp = { ...entry.stamp, ctimeNs: 0n };
    return { ...entry, xattrs: record.known?.xattrs, stamp };
  }

  /** Under another name: what else became of it follows as a change that can be refused by itself. */
  #movedEntryOf(path: string, seen: Seen, record: EntryRecord & { readonly known: Entry }): Entry {
    const entry = this.#entryOf(path, seen, record);
    const { xattrs } = record.known;
    if (seen.keepsXattrs !== true || entry.xattrs === xattrs) return entry;
    this.#state.findings.defer();
    return { ...entry, xattrs, stamp: { ...entry.stamp, ctimeNs: 0n } };
  }

  #bareEntryOf(seen: Seen, record: EntryRecord): Entry {
    return {
      kind: seen.kind,
      id: record.id,
      mode: seen.mode,
      size: seen.kind === 'link' ? record.target.length : seen.size,
      mtimeNs: seen.mtimeNs,
      stamp: { ctimeNs: seen.ctimeNs, ino: seen.ino, birthtimeNs: seen.birthtimeNs },
      version: record.version,
      target: record.target,
      owner: this.#state.owners.of(seen.owner),
    };
  }
}
