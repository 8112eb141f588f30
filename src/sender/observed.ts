// The observed layer: what has been handed out and is not yet confirmed, on top of the confirmed
// layer. In memory only, bounded by the queue; a restart drops it and the scan finds it again.

import type { Entry, NodeId, Stamp } from '../snapshot/entry.ts';
import { rootId } from '../snapshot/entry.ts';
import type { Known, Seen } from '../snapshot/listing.ts';
import type { Name } from '../snapshot/name.ts';
import type { InodePlace, Place } from '../store/snapshot-store.ts';
import type { Confirmation, Reversal } from './change.ts';
import type { ConfirmedLayer, Effect } from './confirmed.ts';
import { Layers } from './layers.ts';
import { type Pause, Pauses } from './pauses.ts';
import { type Since, SyncTimes } from './sync-times.ts';
import { TrustTimes } from './trust-times.ts';

interface Pending {
  /** undefined: the name is gone. */
  readonly known: Known | undefined;
}

type Inode = Pick<Stamp, 'ino' | 'birthtimeNs'>;

/** Files not yet trusted that are looked through at a time. */
const recentRowsMax = 1024;
/** The root has no name. */
const rootPlace: Place = { parent: 0 as NodeId, name: '' as Name };

export class Observed {
  readonly #confirmed: ConfirmedLayer;
  readonly #effects = new Map<number, readonly Effect[]>();
  readonly #isUnderWay = (token: number): boolean => this.#effects.has(token);
  readonly #names = new Map<NodeId, Layers<Name, Pending>>();
  readonly #inodes = new Layers<bigint, InodePlace>(this.#isUnderWay);
  readonly #directories = new Layers<NodeId, Place>(this.#isUnderWay);
  readonly #unread = new Set<number>();
  readonly #displaced = new Map<NodeId, Known>();
  readonly #pauses = new Pauses();
  readonly #trustTimes = new TrustTimes();
  /**
   * Files that got another name: that went ahead on the word of inode and times, which a same-size
   * edit with restored times would pass too. They are read before anything is called in sync.
   */
  readonly #unproven = new Map<NodeId, Place>();
  readonly #splits = new Map<string, { place: Place; other: Place }>();
  readonly #looking = new Map<NodeId, { readonly isProof: boolean }>();
  /** Of those looks the ones that began before there was reason to doubt: they prove nothing. */
  readonly #outdated = new Set<NodeId>();
  readonly #suspects = new Map<NodeId, Place>();
  /** Directories whose records were taken back: what is in them is to be compared again. */
  readonly #touched = new Set<NodeId>();
  readonly #syncTimes = new SyncTimes();
  #root: { token: number; entry: Entry } | undefined;
  #lastToken = 0;
  /** Where the files whose content is due were looked for last. */
  #recentAfter: NodeId | undefined;

  constructor(confirmed: ConfirmedLayer) {
    this.#confirmed = confirmed;
  }

  /** The session is over: what was sent and is not confirmed is found again, or adopted. */
  clear(): void {
    this.#names.clear();
    this.#inodes.clear();
    this.#directories.clear();
    this.#effects.clear();
    this.#unread.clear();
    this.#displaced.clear();
    this.#looking.clear();
    this.#outdated.clear();
    this.#touched.clear();
    this.#root = undefined;
  }

  newId(): NodeId {
    return this.#confirmed.newId();
  }

  // -- reading ----------------------------------------------------------------------------------

  root(): Entry | undefined {
    return this.#root?.entry ?? this.#confirmed.rootEntry();
  }

  hasPending(directory: NodeId): boolean {
    return this.#names.has(directory);
  }

  isPending(directory: NodeId, name: Name): boolean {
    return this.#names.get(directory)?.has(name) === true;
  }

  find(directory: NodeId, name: Name): Known | undefined {
    const pending = this.#names.get(directory)?.get(name);
    return pending === undefined ? this.#confirmed.find(directory, name) : pending.known;
  }

  /** All entries of a directory in name order. */
  listing(directory: NodeId): Known[] {
    const confirmed = this.#confirmed.listing(directory);
    const pending = this.#names.get(directory);
    if (pending === undefined) return confirmed;
    const merged = confirmed.filter(known => !pending.has(known.name));
    for (const { known } of pending.values()) if (known !== undefined) merged.push(known);
    return merged.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Those of the seen directories that have a record, and so can be descended into. */
  directoriesIn(directory: NodeId, seen: readonly Seen[]): Known[] {
    const names = new Set<Name>();
    for (const one of seen) if (one.kind === 'directory') names.add(one.name);
    if (names.size === 0) return [];
    return this.listing(directory).filter(
      ({ name, entry }) => entry.kind === 'directory' && names.has(name),
    );
  }

  /** Where a directory is; undefined for one that is not known (any more). */
  placeOfDirectory(id: NodeId): Place | undefined {
    return this.#directories.get(id) ?? this.#confirmed.placeOfDirectory(id);
  }

  /** Where a node of the inode is, but for the place `at`; of several the one looked at last. */
  placeOfInode({ ino, birthtimeNs }: Inode, at?: Place): InodePlace | undefined {
    const isOther = ({ parent, name }: Place): boolean => parent !== at?.parent || name !== at.name;
    const pending = this.#inodes.get(inodeKey(ino, birthtimeNs));
    if (pending !== undefined && isOther(pending)) return pending;
    return this.#confirmed.placesOfInode(ino, birthtimeNs).find(isOther);
  }

  /** Path of a directory below the root; undefined when a step to it is not known. */
  pathOf(directory: NodeId): string | undefined {
    const names: Name[] = [];
    let id = directory;
    for (let depth = 0; id !== rootId; depth++) {
      const place = this.placeOfDirectory(id);
      if (place === undefined || depth > 4096) return undefined;
      names.push(place.name);
      id = place.parent;
    }
    return names.reverse().join('/');
  }

  /** A node that lost its name to another one in this sweep. */
  displaced(id: NodeId): Known | undefined {
    return this.#displaced.get(id);
  }

  /** Since when the name, which is in sync, is so. */
  inSyncSince(directory: NodeId, name: Name): Since {
    return this.#syncTimes.since(directory, name);
  }

  beginSweep(): void {
    this.#displaced.clear();
  }

  // -- handing out ------------------------------------------------------------------------------

  /**
   * Puts names on top of the confirmed layer; returns the token that confirms or reverts them.
   * `isUnread`: renamed or linked, nobody looked at the content.
   */
  queue(effects: readonly Effect[], isUnread = false): number {
    const token = ++this.#lastToken;
    this.#effects.set(token, effects);
    if (isUnread) this.#unread.add(token);
    for (const { parent, name, known } of effects) {
      const before = this.find(parent, name);
      if (before !== undefined && known !== undefined && before.entry.id !== known.entry.id) {
        this.#displaced.set(before.entry.id, before);
      }
      let names = this.#names.get(parent);
      if (names === undefined) {
        names = new Layers(this.#isUnderWay);
        this.#names.set(parent, names);
      }
      names.put(name, token, { known });
      if (known === undefined) continue;
      const { entry } = known;
      const { ino, birthtimeNs } = entry.stamp;
      if (entry.kind === 'file' && known.nlink > 1) this.#noteSplit({ parent, name }, entry);
      if (entry.kind !== 'link') {
        this.#inodes.put(inodeKey(ino, birthtimeNs), token, { parent, name, id: entry.id });
      }
      if (entry.kind !== 'directory') continue;
      this.#directories.put(entry.id, token, { parent, name });
      this.#confirmed.noteSent(known);
    }
    return token;
  }

  /** Two names of one inode got different nodes, each right by itself: nothing else would see it. */
  #noteSplit(place: Place, { id, stamp }: Entry): void {
    const other = this.placeOfInode(stamp, place);
    if (other === undefined || other.id === id) return;
    this.#splits.set(`${place.parent}/${place.name}`, { place, other });
  }

  /** Names that belong to one file and are still two nodes, with what the other name has. */
  splits(): { place: Place; other: Place; known: Known }[] {
    const found: { place: Place; other: Place; known: Known }[] = [];
    for (const [key, { place, other }] of this.#splits) {
      const one = this.find(place.parent, place.name)?.entry;
      const known = this.find(other.parent, other.name);
      const isSplit =
        one?.kind === 'file' &&
        known?.entry.kind === 'file' &&
        one.id !== known.entry.id &&
        one.stamp.ino === known.entry.stamp.ino &&
        one.stamp.birthtimeNs === known.entry.stamp.birthtimeNs;
      if (!isSplit) this.#splits.delete(key);
      else found.push({ place, other, known });
    }
    return found;
  }

  queueRoot(entry: Entry): number {
    const token = ++this.#lastToken;
    this.#effects.set(token, []);
    this.#root = { token, entry };
    return token;
  }

  /** Moves durable changes into the confirmed layer, as one transaction. */
  confirm(confirmations: readonly Confirmation[]): void {
    const batch: { effects: readonly Effect[]; confirmation: Confirmation }[] = [];
    let rootEntry: Entry | undefined;
    for (const confirmation of confirmations) {
      const effects = this.#effects.get(confirmation.token);
      if (effects === undefined) continue;
      if (this.#root?.token === confirmation.token) {
        rootEntry = this.#root.entry;
        this.#pauses.end(rootPlace);
      }
      batch.push({ effects, confirmation });
    }
    this.#confirmed.apply(batch, rootEntry);
    for (const { effects, confirmation } of batch) {
      const isUnread = this.#unread.has(confirmation.token);
      this.#settle(confirmation.token, 'confirm');
      for (const { parent, name, known, id } of effects) {
        this.#pauses.end({ parent, name });
        if (known === undefined) this.#pauses.makeRoom(parent);
        // Another node still has the name.
        if (id !== undefined && this.#confirmed.find(parent, name)) this.#touched.add(parent);
        if (known !== undefined) this.#syncTimes.note(parent, name);
        if (known?.entry.kind !== 'file') continue;
        if (isUnread) this.doubt(known.entry.id, { parent, name });
        if (confirmation.trusted === true) this.#trustTimes.forget(known.entry.id);
        else this.#trustTimes.postpone(known.entry.id);
      }
    }
  }

  /** The entry of a change that is under way. */
  entryOf(token: number): Entry | undefined {
    if (this.#root?.token === token) return this.#root.entry;
    const effects = this.#effects.get(token) ?? [];
    return effects.find(({ known }) => known !== undefined)?.known?.entry;
  }

  /** Takes back what was not carried out. */
  revert(reversals: readonly Reversal[]): void {
    for (const { token, reason } of reversals) {
      const effects = this.#effects.get(token) ?? [];
      if (this.#root?.token === token) {
        this.#touched.add(rootId);
        if (reason === 'refused') this.#pauses.begin(rootPlace, reason);
      }
      this.#settle(token, 'revert');
      for (const { parent } of effects) this.#touched.add(parent);
      if (reason === 'base') this.#confirmed.forgetBasis(effects);
      if (reason !== 'unstable' && reason !== 'unreadable' && reason !== 'refused') continue;
      for (const place of effects) this.#pauses.begin(place, reason);
    }
  }

  #settle(token: number, outcome: 'confirm' | 'revert'): void {
    const effects = this.#effects.get(token) ?? [];
    this.#effects.delete(token);
    this.#unread.delete(token);
    if (this.#root?.token === token) this.#root = undefined;
    for (const { parent, name, known } of effects) {
      const names = this.#names.get(parent);
      names?.[outcome](name, token);
      if (names?.isEmpty) this.#names.delete(parent);
      if (known === undefined) continue;
      const { ino, birthtimeNs } = known.entry.stamp;
      this.#inodes[outcome](inodeKey(ino, birthtimeNs), token);
      this.#directories[outcome](known.entry.id, token);
    }
  }

  /** The receiver no longer has these names. */
  lost(entries: readonly { parent: NodeId; name: Name; id: NodeId }[]): void {
    const effects: Effect[] = [];
    for (const { parent, name, id } of entries) {
      if (this.#confirmed.find(parent, name)?.entry.id !== id) continue;
      effects.push({ parent, name, known: undefined });
    }
    this.#confirmed.forget(effects);
    for (const { parent } of effects) this.#touched.add(parent);
  }

  /** How many `takeTouched` would return: what a tick has seen of them may be no longer true. */
  get touchedCount(): number {
    return this.#touched.size;
  }

  /** Directories whose records were taken back since the last call. */
  takeTouched(): NodeId[] {
    const touched = [...this.#touched];
    this.#touched.clear();
    return touched;
  }

  // -- pauses and trust -------------------------------------------------------------------------

  /** Why a name is not tried again before when. */
  pauseOf(directory: NodeId, name: Name): Pause | undefined {
    return this.#pauses.of({ parent: directory, name });
  }

  /** It could not be read, or not be done by the receiver, and is not tried again for a while. */
  isStuck(directory: NodeId, name: Name): boolean {
    const pause = this.pauseOf(directory, name);
    return pause !== undefined && pause.reason !== 'unstable';
  }

  /** The receiver could not do what was to be done with the name: it is left alone for a while. */
  isRefused(directory: NodeId, name: Name): boolean {
    return this.pauseOf(directory, name)?.reason === 'refused';
  }

  get isRootRefused(): boolean {
    return this.#pauses.of(rootPlace) !== undefined;
  }

  /** The next look tries again what was paused. */
  liftPauses(which: 'fleeting' | 'all'): void {
    this.#pauses.lift(which);
  }

  /**
   * Every file whose times are not yet trusted is to be read again, whenever that was due: it may
   * have been edited since it was read without its times telling.
   */
  doubtRecent(): void {
    for (const { id, place } of this.#confirmed.recent(Number.MAX_SAFE_INTEGER)) {
      this.doubt(id, place);
    }
  }

  /** It is to be read before anything is called in sync, whatever its times say. */
  doubt(id: NodeId, place: Place): void {
    this.#unproven.set(id, place);
    if (this.#looking.has(id)) this.#outdated.add(id);
  }

  /** Files to be looked at again before the sweep may be called quiet. */
  get unprovenCount(): number {
    return this.#unproven.size;
  }

  /** Nodes whose content wants a second look by now, at most `limit`, those unproven first. */
  dueForTrust(nowMs: number, limit: number): { id: NodeId; place: Place }[] {
    const due: { id: NodeId; place: Place }[] = [];
    for (const [id, place] of this.#unproven) {
      if (due.length < limit && !this.#looking.has(id)) due.push({ id, place });
    }
    // In turn: those with low numbers may be written to all the time, and never be due.
    const recent = this.#confirmed.recent(recentRowsMax, this.#recentAfter);
    this.#recentAfter = recent.length < recentRowsMax ? undefined : recent.at(-1)?.id;
    for (const { id, place } of recent) {
      if (due.length >= limit) break;
      if (this.#looking.has(id) || !this.#trustTimes.isDue(id, nowMs)) continue;
      this.#recentAfter = id;
      if (!this.#unproven.has(id)) due.push({ id, place });
    }
    for (const { id } of due) {
      this.#looking.set(id, { isProof: this.#trustTimes.isProof(id, nowMs) });
    }
    return due;
  }

  /** The look is over; `isSame`: the content is what was sent, undefined: it could not be read. */
  looked(id: NodeId, isSame: boolean | undefined, place: Place): void {
    const isProof = this.#looking.get(id)?.isProof === true;
    this.#looking.delete(id);
    if (this.#outdated.delete(id)) return;
    this.#unproven.delete(id);
    // A look before its time proves the content of now, not that times tell of edits.
    if (isSame === true && isProof) this.trust(id);
    else this.#trustTimes.postpone(id);
    if (isSame === false) this.#suspects.set(id, place);
  }

  /** Files whose content is another one under the same times: they are to be sent again. */
  takeSuspects(): { id: NodeId; place: Place }[] {
    const suspects = [...this.#suspects].map(([id, place]) => ({ id, place }));
    this.#suspects.clear();
    return suspects;
  }

  /** The node's content was seen unchanged by two looks, or there is nothing to look at. */
  trust(id: NodeId): void {
    this.#trustTimes.forget(id);
    this.#unproven.delete(id);
    this.#looking.delete(id);
    this.#confirmed.trust(id);
  }
}

function inodeKey(ino: bigint, birthtimeNs: bigint): bigint {
  return (birthtimeNs << 64n) | ino;
}
