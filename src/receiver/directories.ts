// From a directory's id to an open descriptor, by walking the recorded names from the root. What
// is found on the way must be the recorded directories, by inode: a link, another directory or
// nothing in their place is drift.
import { systemCode } from '../errors.ts';
import { depthMax } from '../limits.ts';
import { type NodeId, rootId } from '../snapshot/entry.ts';
import type { Name } from '../snapshot/name.ts';
import {
  type DirectoryRecord,
  keptParent,
  type ParentId,
  type Place,
} from '../store/receiver-records.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';
import type { Folders } from './folders.ts';

export interface Opened {
  readonly kind: 'open';
  readonly directory: ConfinedDirectory;
  /** Levels below the root. */
  readonly depth: number;
  /** It lies in kept content, not in the tree. */
  readonly isKept: boolean;
}

export type Resolution =
  | Opened
  /** Nothing is recorded under that id. */
  | { readonly kind: 'gone' }
  /** Directory `id` is recorded here, but something else, or nothing, is there. */
  | {
      readonly kind: 'drift';
      readonly id: NodeId;
      readonly parent: ParentId;
      readonly name: Name;
      readonly opened: Opened;
    };

/** A name in a directory that is known by its id, or that is open. */
export type Alternative = Place | { readonly within: ConfinedDirectory; readonly name: Name };

export interface DirectoriesOptions {
  readonly folders: Folders;
  readonly lookUp: (id: NodeId) => DirectoryRecord | undefined;
  /** Makes a directory searchable that its owner may not search; absent: that is an error. */
  readonly unlock?: ((id: ParentId, opened: Opened) => void) | undefined;
  /** Other places to look for a directory that is not where it is recorded. */
  readonly alternatives?: ((id: NodeId, ino: bigint) => readonly Alternative[]) | undefined;
}

/** The destination's root and the kept folder are always open. */
const rootCount = 2;

/** Valid as long as nothing else changes the tree: within one commit, or one message. */
export class Directories {
  readonly #options: DirectoriesOptions;
  readonly #opened = new Map<ParentId, Opened>();
  /** Ids being looked for elsewhere: places may refer to each other. */
  readonly #seeking = new Set<NodeId>();

  constructor(options: DirectoriesOptions) {
    this.#options = options;
    this.#addRoots();
  }

  open(id: ParentId): Resolution {
    const known = this.#opened.get(id);
    if (known) return known;
    const chain: { id: NodeId; record: DirectoryRecord }[] = [];
    let at: ParentId = id;
    let opened: Opened | undefined;
    while (!opened) {
      // 0 and the root are always open.
      const node = at as NodeId;
      const record = this.#options.lookUp(node);
      if (!record || chain.length > depthMax) return { kind: 'gone' };
      chain.push({ id: node, record });
      at = record.parent;
      opened = this.#opened.get(at);
    }
    for (const { id: child, record } of chain.reverse()) {
      const next: Opened | undefined =
        this.#enter(opened, record) ?? this.#enterElsewhere(child, record.ino);
      if (!next) return { kind: 'drift', id: child, ...record, opened };
      this.#opened.set(child, next);
      opened = next;
    }
    return opened;
  }

  /** Closes the least recently opened ones beyond `max`. */
  trim(max: number): void {
    for (const [id, opened] of this.#opened) {
      if (this.#opened.size <= max) return;
      if (id === rootId || id === keptParent) continue;
      this.#opened.delete(id);
      opened.directory.release();
    }
  }

  /** Forgets every descriptor: names may lead elsewhere now. */
  clear(): void {
    if (this.#opened.size === rootCount) return;
    for (const { directory } of this.#opened.values()) directory.release();
    this.#opened.clear();
    this.#addRoots();
  }

  close(): void {
    for (const { directory } of this.#opened.values()) directory.release();
    this.#opened.clear();
  }

  #addRoots(): void {
    const { root, kept } = this.#options.folders;
    const base = { kind: 'open', depth: 0 } as const;
    this.#opened.set(rootId, { ...base, directory: root.retain(), isKept: false });
    this.#opened.set(keptParent, { ...base, directory: kept.retain(), isKept: true });
  }

  #enter(parent: Opened, record: DirectoryRecord): Opened | undefined {
    const directory = this.#sub(parent, record);
    if (!directory) return undefined;
    if (directory.stat().ino !== record.ino) {
      directory.release();
      return undefined;
    }
    return { kind: 'open', directory, depth: parent.depth + 1, isKept: parent.isKept };
  }

  #enterElsewhere(id: NodeId, ino: bigint): Opened | undefined {
    if (!this.#options.alternatives || this.#seeking.has(id)) return undefined;
    this.#seeking.add(id);
    try {
      for (const alternative of this.#options.alternatives(id, ino)) {
        const parent = this.#openParent(alternative);
        const found = parent && this.#enter(parent, { parent: rootId, ...alternative, ino });
        if (found) return found;
      }
      return undefined;
    } finally {
      this.#seeking.delete(id);
    }
  }

  #openParent(place: Alternative): Opened | undefined {
    if ('within' in place) {
      return { kind: 'open', directory: place.within, depth: 0, isKept: false };
    }
    const resolution = this.open(place.parent);
    return resolution.kind === 'open' ? resolution : undefined;
  }

  #sub(parent: Opened, record: DirectoryRecord): ConfinedDirectory | undefined {
    try {
      return parent.directory.sub(record.name);
    } catch (error) {
      if (isAbsence(error)) return undefined;
      const { unlock } = this.#options;
      if (systemCode(error) !== 'EACCES' || !unlock) throw error;
      unlock(record.parent, parent);
      return parent.directory.sub(record.name);
    }
  }
}

function isAbsence(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP';
}
