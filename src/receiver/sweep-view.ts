// One slice of the sweep: reads the tree without touching it, until something is found.
import type { BigIntStats } from 'node:fs';
import { systemCode } from '../errors.ts';
import { type Entry, type NodeId, rootId } from '../snapshot/entry.ts';
import type { Name } from '../snapshot/name.ts';
import { Changes } from '../store/changes.ts';
import { keptParent } from '../store/receiver-records.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';
import type { Lost } from '../wire/messages.ts';
import { Aside } from './aside.ts';
import { flushTree } from './commit.ts';
import { Directories } from './directories.ts';
import type { Flush } from './flush.ts';
import { isDoubtful } from './recorded-content.ts';
import { fatalMessage } from './rejection.ts';
import { type ApplyOptions, type OpenPlace, TreeView } from './tree-view.ts';

export type SweepViewOptions = Omit<ApplyOptions, 'changes' | 'isReplay' | 'onStep'> & {
  readonly store: ReplicaStore;
  /** Directories and links that did not take the attributes they should have, for now or for ever. */
  readonly stubborn: Map<NodeId, Stubborn>;
};

/** Left alone for so many sweeps more, of so many since it was tried. */
export interface Stubborn {
  readonly left: number;
  readonly of: number;
}

const stubbornMax = 10_000;
/** An hour, of sweeps by the minute. */
const stubbornSweepsMax = 64;
const rootPlace = { parent: keptParent, name: '' } as const;

export class SweepView {
  readonly options: SweepViewOptions;
  readonly changes: Changes;
  /** For looking: opens nothing up, unlike that of `#tree`. */
  readonly #directories: Directories;
  readonly #tree: TreeView;
  readonly #aside: Aside;
  readonly #corrected: NodeId[] = [];
  /** Directories that get their attributes back anyway. */
  readonly #displacedIn = new Set<NodeId>();

  constructor(options: SweepViewOptions) {
    this.options = options;
    this.changes = new Changes(options.store);
    const { folders } = options;
    this.#directories = new Directories({ folders, lookUp: id => this.changes.directory(id) });
    this.#tree = new TreeView({ ...options, changes: this.changes, isReplay: false });
    this.#aside = new Aside(this.#tree);
  }

  get driftCount(): number {
    return this.#aside.drift.count;
  }

  /** Names that were forgotten, which the sender must hear of. */
  get lost(): Lost['entries'] {
    return this.#aside.drift.lost;
  }

  /** A directory of the tree; undefined if it cannot be looked into. */
  open(id: NodeId): ConfinedDirectory | undefined {
    try {
      const resolution = this.#directories.open(id);
      if (resolution.kind === 'open') return resolution.isKept ? undefined : resolution.directory;
      if (resolution.kind === 'drift' && !resolution.opened.isKept) {
        const { name, opened } = resolution;
        // Outside of kept content every parent is a node.
        const parent = resolution.parent as NodeId;
        const isNamed = this.changes.entry(parent, name)?.id === id;
        if (isNamed) this.#displace(parent, name, opened.directory);
        else this.#aside.records.forgetDirectory(id);
      }
      return undefined;
    } catch (error) {
      return this.#unreadable(error);
    }
  }

  /** The names in a directory, but for the private folder. */
  list(id: NodeId): Name[] {
    try {
      const names = this.open(id)?.list() ?? [];
      const { folders } = this.options;
      return id === rootId ? names.filter(name => !folders.isReserved(name)) : names;
    } catch (error) {
      return this.#unreadable(error) ?? [];
    }
  }

  lstat(id: NodeId, name: Name): BigIntStats | undefined {
    return this.open(id)?.lstat(name);
  }

  /** Looks at a recorded name. 'doubtful': only a look at its content can tell. */
  check(id: NodeId, name: Name): 'done' | 'doubtful' {
    const entry = this.changes.entry(id, name);
    const directory = entry && this.open(id);
    if (!entry || !directory) return 'done';
    try {
      const now = directory.lstat(name);
      if (now && this.#tree.isAsRecorded(directory, name, entry, now)) {
        if (entry.kind === 'link') this.#checkLink({ parent: id, name, directory }, entry, now);
        return 'done';
      }
      if (now?.isDirectory() && entry.kind === 'directory' && isMounted(directory, now)) {
        return 'done';
      }
      const record = entry.kind === 'file' && this.changes.file(entry.id, entry.version);
      if (now && record && isDoubtful(record, now)) return 'doubtful';
      this.#displace(id, name, directory);
    } catch (error) {
      this.#unreadable(error);
    }
    return 'done';
  }

  /** Looks at a name found in the directory, recorded or not. */
  checkFound(id: NodeId, name: Name): void {
    const isReserved = id === rootId && this.options.folders.isReserved(name);
    if (isReserved || this.changes.entry(id, name)) return;
    try {
      const directory = this.open(id);
      const now = directory?.lstat(name);
      if (!directory || !now) return;
      // A socket, pipe or device belongs to a program; a mount point cannot be moved.
      if (!now.isFile() && !now.isDirectory() && !now.isSymbolicLink()) return;
      if (now.isDirectory() && isMounted(directory, now)) return;
      this.#displace(id, name, directory);
    } catch (error) {
      this.#unreadable(error);
    }
  }

  /** The name is not as recorded: it goes to kept content, and its record. */
  displace(id: NodeId, name: Name): void {
    const directory = this.open(id);
    if (directory) this.#displace(id, name, directory);
  }

  /** The source has something else: what is here becomes kept content, and its record goes. */
  expel(id: NodeId, name: Name): void {
    const directory = this.open(id);
    if (directory) this.#displace(id, name, directory, true);
  }

  /** The content is as recorded: takes its stamp anew, and gives it its attributes back. */
  restamp(id: NodeId, name: Name, now: BigIntStats): void {
    const entry = this.changes.entry(id, name);
    const record = entry && this.changes.file(entry.id, entry.version);
    const directory = this.open(id);
    if (!entry || !record || !directory) return;
    const { ino, size, mtimeNs, ctimeNs } = now;
    const stamp = { ino, size, mtimeNs, ctimeNs };
    this.changes.setFile(entry.id, entry.version, { ...record, stamp });
    const isDone = this.#attempt({ parent: id, name, directory }, entry);
    // Not as it should be yet: the next sweep is to find that again.
    if (!isDone) this.changes.setFile(entry.id, entry.version, record);
  }

  setLinkTime(id: NodeId, name: Name): void {
    const entry = this.changes.entry(id, name);
    const directory = this.open(id);
    if (entry?.kind !== 'link' || !directory) return;
    this.#attempt({ parent: id, name, directory }, entry);
  }

  /** Gives a link the time and owner it should have. */
  #checkLink(place: OpenPlace, entry: Entry, now: BigIntStats): void {
    if (this.#hasLinkAttributes(entry, now) || this.#isLeftAlone(entry.id)) return;
    this.#attempt(place, entry);
    const after = place.directory.lstat(place.name);
    this.#noteTried(entry.id, after !== undefined && this.#hasLinkAttributes(entry, after));
  }

  #hasLinkAttributes(entry: Entry, now: BigIntStats): boolean {
    const isOwned = this.options.attributes.hasOwner(entry, now);
    return isOwned && now.mtimeNs / 1000n === entry.mtimeNs / 1000n;
  }

  /** Refused attributes keep nobody from the rest of the tree; the next sweep tries them again. */
  #attempt(place: OpenPlace, entry: Entry): boolean {
    try {
      this.#tree.setAttributes(place, undefined, entry);
      return true;
    } catch (error) {
      if (systemCode(error) === undefined || fatalMessage(error)) throw error;
      const path = this.#tree.path(place.parent, place.name);
      this.options.log.debug({ path, code: systemCode(error) }, 'attributes cannot be put back');
      return false;
    }
  }

  /** Gives the directory the mode and time it should have. */
  checkAttributes(id: NodeId): void {
    const isPlanned = this.#displacedIn.has(id);
    if (isPlanned || this.#hasAttributes(id) || this.#isLeftAlone(id)) return;
    const path = this.#tree.path(id, '');
    this.options.log.debug({ path }, 'a directory gets its mode and time back');
    this.#tree.touch(id);
    this.#corrected.push(id);
  }

  #isLeftAlone(id: NodeId): boolean {
    const stubborn = this.options.stubborn.get(id);
    if (stubborn === undefined || stubborn.left === 0) return false;
    this.options.stubborn.set(id, { ...stubborn, left: stubborn.left - 1 });
    return true;
  }

  #noteTried(id: NodeId, isDone: boolean): void {
    const { stubborn } = this.options;
    const sweeps = Math.min((stubborn.get(id)?.of ?? 0) * 2 || 1, stubbornSweepsMax);
    if (isDone) stubborn.delete(id);
    else if (stubborn.size < stubbornMax || stubborn.has(id)) {
      stubborn.set(id, { left: sweeps, of: sweeps });
    }
  }

  #hasAttributes(id: NodeId): boolean {
    const record = id === rootId ? rootPlace : this.changes.directory(id);
    const entry = record && this.changes.entry(record.parent, record.name);
    const directory = this.open(id);
    if (!entry || !directory) return true;
    const stats = directory.stat();
    const { attributes } = this.options;
    const isOurs = attributes.hasMode(entry, stats) && attributes.hasOwner(entry, stats);
    if (!attributes.xattrs.has(entry, directory.fd)) return false;
    return isOurs && stats.mtimeNs / 1000n === entry.mtimeNs / 1000n;
  }

  /** Sets the attributes of directories whose names changed. */
  async settle(flush: Flush): Promise<void> {
    this.#aside.end();
    this.#tree.refresh();
    if (this.#tree.isTouched) await flushTree(this.#tree, flush);
    for (const id of this.#corrected) this.#noteTried(id, this.#hasAttributes(id));
  }

  close(): void {
    this.#directories.close();
    this.#tree.close();
  }

  #displace(parent: NodeId, name: Name, directory: ConfinedDirectory, isOurs = false): void {
    const present = directory.lstat(name);
    try {
      this.#tree.touch(parent);
      this.#displacedIn.add(parent);
      const place = { parent, name, directory };
      if (isOurs) this.#aside.expel(place, present);
      else this.#aside.drift.putAside(place, present);
    } catch (error) {
      if (systemCode(error) === undefined || fatalMessage(error)) throw error;
      const path = this.#tree.path(parent, name);
      this.options.log.warn({ path, code: systemCode(error) }, 'drift that cannot be moved away');
      return;
    }
    // Descriptors by id may lead to what left the tree.
    this.#directories.clear();
    this.#tree.refresh();
  }

  /** Says nothing about what is recorded there: not even that it drifted. */
  #unreadable(error: unknown): undefined {
    if (systemCode(error) === undefined || fatalMessage(error)) throw error;
    return undefined;
  }
}

function isMounted(directory: ConfinedDirectory, now: BigIntStats): boolean {
  return now.dev !== directory.stat().dev;
}
