// What is in the way of an operation, and where it goes: nothing is ever overwritten or removed
// without being recorded as ours, and nothing of ours is dropped without a second name first.
//
//   limbo  a node that a later step of the same commit places elsewhere
//   kept   content that leaves the tree, and everything that is not as recorded (drift)
import type { BigIntStats } from 'node:fs';
import { systemCode } from '../errors.ts';
import type { Entry, NodeId } from '../snapshot/entry.ts';
import { type Name, printable, toName } from '../snapshot/name.ts';
import type { Changes } from '../store/changes.ts';
import { addPlace, type FileVersion, removePlace, replacePlace } from '../store/file-places.ts';
import { keptParent, type ParentId, type Place } from '../store/receiver-records.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';
import type { Lost } from '../wire/messages.ts';
import type { Opened } from './directories.ts';
import { keptName } from './kept.ts';
import { Rejection } from './rejection.ts';
import type { Step } from './steps.ts';
import type { OpenPlace, TreeView } from './tree-view.ts';

/** Something moved out of the way by system calls; `record` notes them, `undo` takes them back. */
export interface Displaced {
  readonly undo: () => void;
  readonly record: () => void;
}

/** A node in limbo. */
export interface Waiting {
  readonly entry: Entry;
  readonly name: Name;
}

interface InTheWay extends OpenPlace {
  readonly present: BigIntStats;
  /** The name is left for a rename over it. */
  readonly stays: boolean;
}

interface Keepable {
  readonly kind: 'file' | 'directory' | 'foreign';
  readonly drift: boolean;
  /** What is recorded of it. */
  readonly current: Entry | undefined;
}

const nothingDisplaced: Displaced = { undo() {}, record() {} };

export class Aside {
  readonly #tree: TreeView;
  readonly #changes: Changes;
  #canLink = true;
  #driftCount = 0;

  // Of the commit under way:
  #commit = 0n;
  #step: Step | undefined;
  #keptCount = 0;
  #lastMove = new Map<string, number>();
  readonly #limbo = new Map<string, Waiting>();
  /** Names whose node got another name: inode of what is left there. */
  readonly #vacated = new Map<string, { readonly place: Place; readonly ino: bigint }>();
  #lost: { parent: NodeId; name: Name; id: NodeId }[] = [];

  constructor(tree: TreeView) {
    this.#tree = tree;
    this.#changes = tree.options.changes;
  }

  get driftCount(): number {
    return this.#driftCount;
  }

  /** Names that were forgotten in this commit, which the sender must hear of. */
  get lost(): Lost['entries'] {
    return this.#lost;
  }

  begin(commit: bigint, steps: readonly Step[]): void {
    this.#commit = commit;
    this.#lost = [];
    this.#lastMove = new Map();
    for (const step of steps) {
      if (step.kind !== 'rename' && step.kind !== 'hardlink') continue;
      this.#lastMove.set(nodeKey(step.entry), step.index);
    }
  }

  beginStep(step: Step): void {
    this.#step = step;
    this.#keptCount = 0;
  }

  /** What nothing took over, and what nothing placed again. */
  end(): void {
    for (const { place, ino } of this.#vacated.values()) {
      const resolution = this.#tree.resolve(place.parent);
      if (resolution.kind !== 'open') continue;
      const { directory } = resolution;
      if (directory.lstat(place.name)?.ino === ino) directory.unlink(place.name);
    }
    this.#vacated.clear();
    for (const waiting of this.#limbo.values()) this.#keepFromLimbo(waiting);
    this.#limbo.clear();
    this.#tree.restampMoved();
  }

  waiting(entry: Entry): Waiting | undefined {
    return this.#limbo.get(nodeKey(entry));
  }

  /** A later step placed it. */
  endWaiting(entry: Entry): void {
    this.#limbo.delete(nodeKey(entry));
  }

  /** The node at a name got another name by a link; the old one goes unless it is taken over. */
  vacate(place: Place, ino: bigint): void {
    this.#vacated.set(`${place.parent}/${place.name}`, { place, ino });
  }

  isVacated({ parent, name }: Place, present: BigIntStats): boolean {
    return this.#vacated.get(`${parent}/${name}`)?.ino === present.ino;
  }

  // Directories

  /** A directory of the tree whose names will change. Throws Rejection if it is not there. */
  openToChange(id: NodeId): Opened {
    const opened = this.open(id);
    this.#tree.touchOpened(id, opened);
    return opened;
  }

  open(id: NodeId): Opened {
    const resolution = this.#tree.resolve(id);
    if (resolution.kind === 'open' && !resolution.isKept) return resolution;
    const isDrift = resolution.kind === 'drift' && !resolution.opened.isKept;
    if (isDrift && !this.#tree.options.isReplay) {
      const { name, opened } = resolution;
      const { directory } = opened;
      // Outside of kept content every parent is a node.
      const parent = resolution.parent as NodeId;
      this.lose({ parent, name, directory }, directory.lstat(name));
    }
    throw new Rejection('gone', `directory ${id} is not there`);
  }

  // Displacing

  /**
   * Takes what is at a name out of the way of something new, or of nothing. With `stays` the name
   * is left in place, so that a rename over it leaves no moment without it.
   */
  displace(place: OpenPlace, present: BigIntStats | undefined, stays: boolean): Displaced {
    const { parent, name, directory } = place;
    const current = this.#changes.entry(parent, name);
    if (this.#isDisplacedBefore(place, current, present)) {
      this.recordDone(place);
      return this.displace(place, present, stays);
    }
    if (!present) {
      if (!current) return nothingDisplaced;
      return { undo() {}, record: () => this.#recordMissing(place, current) };
    }
    const inTheWay = { ...place, present, stays: stays && !present.isDirectory() };
    if (this.isVacated(place, present)) {
      if (!inTheWay.stays) directory.unlink(name);
      return { undo() {}, record: () => void this.#vacated.delete(`${parent}/${name}`) };
    }
    if (!current || !this.#tree.isUnaltered(directory, name, current, present)) {
      return this.#displaceDrift(inTheWay, current);
    }
    // Also where it is undone.
    if (current.kind === 'file') this.#tree.noteMoved(current);
    if (this.#isPlacedLater(current)) return this.#toLimbo(inTheWay, current);
    switch (current.kind) {
      case 'file':
        return this.#displaceFile(inTheWay, current);
      case 'directory':
        return this.#displaceDirectory(inTheWay, current);
      case 'link':
        return this.#displaceLink(inTheWay, current);
    }
  }

  /** In a replay: the recorded node is not at the name any more. */
  #isDisplacedBefore(
    { directory, name }: OpenPlace,
    current: Entry | undefined,
    present: BigIntStats | undefined,
  ): boolean {
    if (!this.#tree.options.isReplay || !current) return false;
    return !(present && this.#tree.isCurrent(directory, name, current, present));
  }

  #isPlacedLater(entry: Entry): boolean {
    const step = this.#step;
    // An older version of a file that gets new content here is wanted by nobody.
    if (step?.kind === 'file' && step.entry.id === entry.id) return false;
    return (this.#lastMove.get(nodeKey(entry)) ?? -1) > (step?.index ?? -1) && !this.waiting(entry);
  }

  #toLimbo(place: InTheWay, current: Entry): Displaced {
    const { parent, name } = place;
    const { limbo } = this.#tree.options.folders;
    // Moving a directory changes its '..', which takes write permission of its own. Steps below it
    // still reach it through the descriptor opened here.
    if (current.kind === 'directory') this.#tree.touch(current.id);
    const aside = limboName(this.#commit, current);
    if (limbo.lstat(aside)) limbo.unlink(aside);
    const undo = this.#setAside(place, limbo, aside) ?? moveAside(place, limbo, aside);
    return {
      undo,
      record: () => {
        this.#changes.deleteEntry(parent, name);
        if (current.kind === 'file') this.#leavePlace(current, { parent, name });
        this.#limbo.set(nodeKey(current), { entry: current, name: aside });
      },
    };
  }

  #displaceFile(place: InTheWay, current: Entry): Displaced {
    const { parent, name, directory, stays } = place;
    if ((this.#changes.file(current.id, current.version)?.links ?? 0) > 1) {
      // Its other names keep the content.
      if (!stays) directory.unlink(name);
      return { undo() {}, record: () => this.forget({ parent, name }, current) };
    }
    const kept = this.#keep(place, { kind: 'file', drift: false, current });
    return {
      undo: kept.undo,
      record: () => {
        kept.record();
        if (kept.name) this.#recordKept({ parent, name }, current, kept.name);
        else this.forget({ parent, name }, current);
      },
    };
  }

  #displaceDirectory(place: InTheWay, current: Entry): Displaced {
    const { parent, name } = place;
    this.#tree.touch(current.id);
    const kept = this.#keep(place, { kind: 'directory', drift: false, current });
    return {
      undo: kept.undo,
      record: () => {
        kept.record();
        if (kept.name) this.#recordKept({ parent, name }, current, kept.name);
      },
    };
  }

  /** A link is its target, which the record has: nothing of it needs keeping. */
  #displaceLink({ parent, name, directory, stays }: InTheWay, current: Entry): Displaced {
    if (!stays) directory.unlink(name);
    return {
      undo: () => {
        if (stays) return;
        directory.symlink(current.target, name);
        directory.setTimes(name, current.mtimeNs);
      },
      record: () => this.#changes.deleteEntry(parent, name),
    };
  }

  #displaceDrift(place: InTheWay, current: Entry | undefined): Displaced {
    // What a replay finds may be the rest of its own steps.
    const drift = !this.#tree.options.isReplay;
    const kept = this.#keep(place, { kind: 'foreign', drift, current: undefined });
    return {
      undo: kept.undo,
      record: () => {
        kept.record();
        if (drift) this.#reportDrift(place, current ? 'altered' : 'foreign', kept.name);
        if (current) this.forget(place, current);
      },
    };
  }

  // Drift

  /**
   * Is the name as recorded? If not, it is lost and the step over; but in a replay a later step may
   * have moved it already: then nothing is to be done here, and this is false.
   */
  isIntact(place: OpenPlace, current: Entry, present: BigIntStats | undefined): boolean {
    const { directory, name } = place;
    if (present && this.#tree.isUnaltered(directory, name, current, present)) return true;
    if (this.#tree.options.isReplay) return false;
    return this.lose(place, present);
  }

  /** The name is not as recorded: what is there is kept, the record forgotten, the step over. */
  lose(place: OpenPlace, present: BigIntStats | undefined): never {
    const path = this.#tree.path(place.parent, place.name);
    this.putAside(place, present);
    throw new Rejection('gone', `${path}: it had drifted`);
  }

  /** Keeps what is at a name that is not as recorded, or not recorded at all, and forgets it. */
  putAside(place: OpenPlace, present: BigIntStats | undefined): void {
    const { parent, name } = place;
    const current = this.#changes.entry(parent, name);
    if (present) {
      this.#tree.touch(parent);
      this.#displaceDrift({ ...place, present, stays: false }, current).record();
    } else if (current) {
      this.#recordMissing(place, current);
    }
    if (current) this.#lost.push({ parent, name, id: current.id });
  }

  /** Puts a name aside that is to be sent again. As recorded, its blocks can be used for that. */
  expel(place: OpenPlace, present: BigIntStats | undefined): void {
    const { parent, name, directory } = place;
    const current = this.#changes.entry(parent, name);
    if (!current || !present || !this.#tree.isUnaltered(directory, name, current, present)) {
      this.putAside(place, present);
      return;
    }
    this.displace(place, present, false).record();
    this.#lost.push({ parent, name, id: current.id });
  }

  /** A directory is recorded that is not there, and neither is its name. */
  forgetMissing(id: NodeId): void {
    this.#forgetDirectory(id);
  }

  #recordMissing(place: Place, current: Entry): void {
    if (!this.#tree.options.isReplay) this.#reportDrift(place, 'missing', undefined);
    this.forget(place, current);
  }

  #reportDrift(
    { parent, name }: Place,
    what: 'altered' | 'foreign' | 'missing',
    kept: Name | undefined,
  ): void {
    this.#driftCount++;
    const path = this.#tree.path(parent, name);
    const where = kept === undefined ? {} : { kept: printable(kept) };
    this.#tree.options.log.warn({ path, what, ...where }, 'drift');
  }

  // Kept content

  /** Moves, or links where the name stays, something into kept content. */
  #keep(place: InTheWay, what: Keepable): Displaced & { readonly name: Name | undefined } {
    const { kept } = this.#tree.options.folders;
    const name = this.#freeKeptName(place);
    const linked = this.#setAside(place, kept, name);
    // What came from the source can be had from there again; nothing else is given up.
    if (!linked && what.current) return { ...nothingDisplaced, name: undefined };
    const undo = linked ?? moveAside(place, kept, name);
    const { present } = place;
    return { name, undo, record: () => this.#setKept(name, what, present) };
  }

  #setKept(name: Name, { kind, drift, current }: Keepable, { blocks }: BigIntStats): void {
    this.#changes.setKept(keptParent, name, {
      kind,
      id: current?.id ?? 0,
      version: current?.version ?? 0,
      drift,
      timeMs: this.#tree.options.nowMs(),
      bytes: Number(blocks) * 512,
    });
  }

  /** In a replay the same step finds the same name, and what it put there before. */
  #freeKeptName({ name, present }: InTheWay): Name {
    const { kept } = this.#tree.options.folders;
    for (;;) {
      const free = this.#keptName(this.#keptCount++, name);
      const there = kept.lstat(free);
      if (!there) return free;
      if (this.#tree.options.isReplay && there.ino === present.ino && !there.isDirectory()) {
        kept.unlink(free);
        return free;
      }
    }
  }

  #keptName(count: number, name: Name): Name {
    // Outside of commits every name has a number of its own.
    const number = this.#step
      ? `${this.#commit}.${this.#step.index}.${count}`
      : `drift${this.#changes.nextKept()}`;
    return keptName(number, name);
  }

  /** Undo, or undefined if there can be no hard link and the name stays. */
  #setAside(place: InTheWay, to: ConfinedDirectory, name: Name): (() => void) | undefined {
    if (!place.stays) return moveAside(place, to, name);
    if (!this.tryLink(place.directory, place.name, to, name)) return undefined;
    return () => to.unlink(name);
  }

  /** False where the file system has no hard links, or no more of this file. */
  tryLink(from: ConfinedDirectory, name: Name, to: ConfinedDirectory, toName: Name): boolean {
    if (!this.#canLink) return false;
    try {
      from.link(name, to, toName);
      return true;
    } catch (error) {
      const code = systemCode(error);
      if (code === 'EMLINK') return false;
      if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP' && code !== 'ENOSYS') {
        throw error;
      }
      this.#canLink = false;
      const text = 'no hard links on the destination: replaced files are not kept';
      this.#tree.options.log.warn({}, text);
      return false;
    }
  }

  #keepFromLimbo({ entry, name }: Waiting): void {
    const { id } = entry;
    const { limbo, kept } = this.#tree.options.folders;
    const free = keptName(`${this.#commit}.limbo`, name);
    const waiting = limbo.lstat(name);
    const hasOtherName = (this.#changes.file(id, entry.version)?.links ?? 0) > 0;
    if (entry.kind === 'link' || (entry.kind === 'file' && hasOtherName)) {
      if (waiting) limbo.unlink(name);
      return;
    }
    const present = waiting ?? kept.lstat(free);
    if (!present) {
      if (entry.kind === 'directory') this.#forgetDirectory(id);
      return;
    }
    if (waiting) limbo.rename(name, kept, free);
    this.#setKept(free, { kind: entry.kind, drift: false, current: entry }, present);
    if (entry.kind === 'file') this.arrive(entry, { parent: keptParent, name: free });
    else this.#moveToKept(id, free);
  }

  // Records

  /** A replayed step displaced what was at the name before the crash: notes where it went. */
  recordDone(place: Place): void {
    const { parent, name } = place;
    const current = this.#changes.entry(parent, name);
    if (!current) return;
    if (this.#isPlacedLater(current)) {
      // In limbo, or where the later step put it; that step looks.
      this.#changes.deleteEntry(parent, name);
      if (current.kind === 'file') this.#leavePlace(current, place);
      const aside = limboName(this.#commit, current);
      this.#limbo.set(nodeKey(current), { entry: current, name: aside });
      return;
    }
    const { kept } = this.#tree.options.folders;
    const keptAs = this.#keptName(0, name);
    const there = kept.lstat(keptAs);
    if (current.kind === 'link' || !there || !this.#tree.isCurrent(kept, keptAs, current, there)) {
      this.forget(place, current);
      return;
    }
    this.#setKept(keptAs, { kind: current.kind, drift: false, current }, there);
    this.#recordKept(place, current, keptAs);
  }

  /** The node at `place` went to kept content under the name `keptAs`. */
  #recordKept(place: Place, current: Entry, keptAs: Name): void {
    this.#changes.deleteEntry(place.parent, place.name);
    if (current.kind === 'directory') this.#moveToKept(current.id, keptAs);
    else this.move(current, place, { parent: keptParent, name: keptAs });
  }

  #moveToKept(id: NodeId, name: Name): void {
    const record = this.#changes.directory(id);
    if (record) this.#changes.setDirectory(id, { ...record, parent: keptParent, name });
    this.#changes.setOrphan(id, 'kept');
    this.#tree.setStale();
  }

  /** Nothing is known of a recorded name any more. */
  forget(place: { readonly parent: ParentId; readonly name: Name }, current: Entry): void {
    this.#changes.deleteEntry(place.parent, place.name);
    if (current.kind === 'directory') {
      this.#forgetDirectory(current.id);
    } else if (current.kind === 'file') {
      removePlace(this.#changes, current, place);
      this.#tree.noteMoved(current);
    }
  }

  #forgetDirectory(id: NodeId): void {
    this.#changes.setDirectory(id, undefined);
    this.#changes.setOrphan(id, 'lost');
    this.#tree.setStale();
  }

  /** A file's name leads from one place to another. */
  move(file: FileVersion, from: Place, to: Place): void {
    replacePlace(this.#changes, file, { from, to });
    this.#tree.noteMoved(file);
  }

  /** A file got one more name. */
  arrive(file: FileVersion, place: Place): void {
    addPlace(this.#changes, file, place);
    this.#tree.noteMoved(file);
  }

  /** Into limbo: the record of a file without a name waits for its next one. */
  #leavePlace(file: FileVersion, place: Place): void {
    const { id, version } = file;
    const record = this.#changes.file(id, version);
    if (record?.links === 1)
      this.#changes.setFile(id, version, { ...record, links: 0, places: [] });
    else removePlace(this.#changes, file, place);
    this.#tree.noteMoved(file);
  }

  /** After a replay: empties limbo. What has no other name becomes kept content. */
  clearLimbo(): void {
    const { limbo, kept } = this.#tree.options.folders;
    for (const name of limbo.list()) {
      const present = limbo.lstat(name);
      if (!present) continue;
      const hasOtherName = present.isFile() && present.nlink > 1n;
      if (hasOtherName || present.isSymbolicLink()) limbo.unlink(name);
      else limbo.rename(name, kept, keptName('limbo', name));
      const [, id, version] = /^\d+\.(\d+)\.(\d+)$/.exec(name) ?? [];
      // Its ctime moved. These names are made of node ids only.
      if (id !== undefined)
        this.#tree.restamp({ id: Number(id) as NodeId, version: Number(version) });
    }
  }
}

/** Of one content version of a node. */
export function nodeKey({ id, version }: FileVersion): string {
  return `${id}.${version}`;
}

/** Where a node displaced by a commit waits for a later step of it. */
export function limboName(commit: bigint, node: FileVersion): Name {
  return toName(`${commit}.${nodeKey(node)}`);
}

function moveAside(place: InTheWay, to: ConfinedDirectory, name: Name): () => void {
  const { directory } = place;
  directory.rename(place.name, to, name);
  return () => to.rename(name, directory, place.name);
}
