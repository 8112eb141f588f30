// The directories of the source that are known, each in a slot, with the times it had before it was
// last listed. A directory whose times moved since is to be listed again; the others only when
// their turn comes. In memory only: a sweep of the whole tree fills it.
import { trustAfterMs } from '../limits.ts';
import type { NodeId } from '../snapshot/entry.ts';
import type { IgnoreRules } from '../snapshot/ignore.ts';
import type { Name } from '../snapshot/name.ts';
import type { Folder } from './scan-state.ts';

/** What tells two states of a directory apart, as lstat has it. */
export interface FolderMark {
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly ino: bigint;
  readonly dev: bigint;
}

/** A directory found in a listing. */
export interface FoundFolder extends Folder {
  readonly name: Name;
  readonly mark: FolderMark;
}

export class KnownFolder implements Folder {
  readonly id: NodeId;
  readonly parent: KnownFolder | undefined;
  readonly name: Name | '';
  readonly path: string;
  readonly rules: IgnoreRules;
  readonly depth: number;
  readonly device: bigint;
  children: Map<Name, KnownFolder> | undefined;
  /** -1: not in the table any more. */
  slot = -1;
  /** Number of the sweep that listed it last. */
  sweep = 0;
  /** Number of the tick that listed it last. */
  tick = 0;
  entryCount = 0;
  specialCount = 0;
  tooLargeCount = 0;
  /** Of all names in the last listing, hidden ones included. */
  namesHash = 0;
  listedMs = 0;
  /** When its mark was last set to another one. */
  markedMs = 0;
  /** What the last listing and its comparison took. */
  costMs: number | undefined;

  constructor(found: Folder & { name: Name | '' }, parent: KnownFolder | undefined) {
    this.id = found.id;
    this.parent = parent;
    this.name = found.name;
    this.path = found.path;
    this.rules = found.rules;
    this.depth = found.depth;
    this.device = found.device;
  }

  /** Listed long enough after its times last moved: another change must move them again. */
  get isSettled(): boolean {
    return this.listedMs - this.markedMs >= trustAfterMs;
  }
}

const fieldCount = 4;

type FolderCount = 'entryCount' | 'specialCount' | 'tooLargeCount';

export class FolderTable {
  #slots: (KnownFolder | undefined)[] = [];
  #free: number[] = [];
  readonly #byId = new Map<NodeId, KnownFolder>();
  #marks = new BigUint64Array(fieldCount * 256);
  #entryCount = 0;
  #specialCount = 0;
  #tooLargeCount = 0;

  get size(): number {
    return this.#byId.size;
  }

  /** One more than the last slot in use; slots between may be free. */
  get slotCount(): number {
    return this.#slots.length;
  }

  /** Entries in all directories, as they were last listed. */
  get entryCount(): number {
    return this.#entryCount;
  }

  get specialCount(): number {
    return this.#specialCount;
  }

  get tooLargeCount(): number {
    return this.#tooLargeCount;
  }

  at(slot: number): KnownFolder | undefined {
    return this.#slots[slot];
  }

  get(id: NodeId): KnownFolder | undefined {
    return this.#byId.get(id);
  }

  clear(): void {
    for (const folder of this.#byId.values()) folder.slot = -1;
    this.#byId.clear();
    this.#slots = [];
    this.#free = [];
    this.#entryCount = 0;
    this.#specialCount = 0;
    this.#tooLargeCount = 0;
  }

  addRoot(root: Folder): KnownFolder {
    return this.#add(new KnownFolder({ ...root, name: '' }, undefined));
  }

  /**
   * Makes `found` the children of `folder`, and returns those to be listed next: with `isWhole` all,
   * otherwise those that are not what they were. A new one, another node, another path or other
   * rules: it begins anew, without anything below it.
   */
  setChildren(
    folder: KnownFolder,
    found: readonly FoundFolder[],
    { nowMs, isWhole }: { nowMs: number; isWhole: boolean },
  ): KnownFolder[] {
    const next: KnownFolder[] = [];
    const before = folder.children;
    if (before === undefined && found.length === 0) return next;
    const children = new Map<Name, KnownFolder>();
    for (const one of found) {
      const known = before?.get(one.name);
      if (known !== undefined && isSameFolder(known, one)) {
        children.set(one.name, known);
        if (!isWhole) continue;
        this.mark(known, one.mark, nowMs);
        next.push(known);
        continue;
      }
      if (known !== undefined) this.#drop(known);
      const elsewhere = this.#byId.get(one.id);
      if (elsewhere !== undefined) this.remove(elsewhere);
      const child = this.#add(new KnownFolder(one, folder));
      this.mark(child, one.mark, nowMs);
      children.set(one.name, child);
      next.push(child);
    }
    for (const [name, known] of before ?? []) if (!children.has(name)) this.#drop(known);
    folder.children = children.size === 0 ? undefined : children;
    return next;
  }

  /** Removes a directory and everything below. */
  remove(folder: KnownFolder): void {
    if (folder.parent?.children?.get(folder.name as Name) === folder) {
      folder.parent.children.delete(folder.name as Name); // Only the root has no name.
    }
    this.#drop(folder);
  }

  /** Removes what no listing of this sweep led to. */
  dropBefore(sweep: number): void {
    for (const folder of [...this.#byId.values()]) {
      if (folder.slot >= 0 && folder.sweep !== sweep) this.remove(folder);
    }
  }

  /** Notes what a directory is like before it is listed, and says how that differs from before. */
  mark(folder: KnownFolder, mark: FolderMark, nowMs: number): 'same' | 'moved' | 'another' {
    const at = folder.slot * fieldCount;
    const m = this.#marks;
    const mtimeNs = BigInt.asUintN(64, mark.mtimeNs);
    const ctimeNs = BigInt.asUintN(64, mark.ctimeNs);
    const isSameNode = m[at + 2] === mark.ino && m[at + 3] === mark.dev;
    if (isSameNode && m[at] === mtimeNs && m[at + 1] === ctimeNs) return 'same';
    m[at] = mtimeNs;
    m[at + 1] = ctimeNs;
    m[at + 2] = mark.ino;
    m[at + 3] = mark.dev;
    folder.markedMs = nowMs;
    return isSameNode ? 'moved' : 'another';
  }

  /** Notes how many entries a listing of the directory had. */
  count(
    folder: KnownFolder,
    { entryCount, specialCount, tooLargeCount }: Record<FolderCount, number>,
  ): void {
    this.#entryCount += entryCount - folder.entryCount;
    this.#specialCount += specialCount - folder.specialCount;
    this.#tooLargeCount += tooLargeCount - folder.tooLargeCount;
    folder.entryCount = entryCount;
    folder.specialCount = specialCount;
    folder.tooLargeCount = tooLargeCount;
  }

  #add(folder: KnownFolder): KnownFolder {
    folder.slot = this.#free.pop() ?? this.#slots.length;
    this.#slots[folder.slot] = folder;
    this.#byId.set(folder.id, folder);
    const needed = (folder.slot + 1) * fieldCount;
    if (needed > this.#marks.length) {
      const grown = new BigUint64Array(Math.max(needed, this.#marks.length * 2));
      grown.set(this.#marks);
      this.#marks = grown;
    }
    this.#marks.fill(0n, folder.slot * fieldCount, needed);
    return folder;
  }

  #drop(top: KnownFolder): void {
    const stack = [top];
    for (let folder = stack.pop(); folder !== undefined; folder = stack.pop()) {
      if (folder.slot < 0) continue;
      this.count(folder, { entryCount: 0, specialCount: 0, tooLargeCount: 0 });
      this.#slots[folder.slot] = undefined;
      this.#free.push(folder.slot);
      if (this.#byId.get(folder.id) === folder) this.#byId.delete(folder.id);
      folder.slot = -1;
      if (folder.children !== undefined) stack.push(...folder.children.values());
      folder.children = undefined;
    }
  }
}

function isSameFolder(known: KnownFolder, found: FoundFolder): boolean {
  return (
    known.id === found.id &&
    known.rules === found.rules &&
    known.device === found.device &&
    known.path === found.path
  );
}
