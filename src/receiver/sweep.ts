// Compares the tree with its records, a little at a time and only between commits. What was
// altered, removed or added by anybody else is kept and forgotten, and the sender told, so that it
// sends what belongs there again.
import fs, { type BigIntStats } from 'node:fs';
import { blockId } from '../blocks/block-id.ts';
import { systemCode } from '../errors.ts';
import type { Log } from '../log.ts';
import { type Entry, type NodeId, rootId } from '../snapshot/entry.ts';
import { decodeEntry } from '../snapshot/entry-codec.ts';
import type { Name } from '../snapshot/name.ts';
import { Changes } from '../store/changes.ts';
import { sameContentStamp, stampOf } from '../store/receiver-records.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import { readBytes } from '../tree/staged-file.ts';
import type { Lost } from '../wire/messages.ts';
import { Aside } from './aside.ts';
import { flushTree } from './commit.ts';
import type { Resolution } from './directories.ts';
import type { Flush } from './flush.ts';
import type { Folders } from './folders.ts';
import { forgetOrphans } from './orphans.ts';
import { fatalMessage } from './rejection.ts';
import { type OpenPlace, TreeView } from './tree-view.ts';

export interface SweepOptions {
  readonly folders: Folders;
  readonly store: ReplicaStore;
  readonly flush: Flush;
  readonly log: Log;
  readonly specialBits: boolean;
  readonly nowMs: () => number;
}

export interface Swept {
  readonly lost: Lost['entries'];
  readonly driftCount: number;
  /** The last directory was done: the next slice begins anew. */
  readonly isComplete: boolean;
}

/** Work of one slice: other work waits that long at most. */
const sliceMs = 5;
/** Rows read at a time. */
const rowsMax = 128;
/** Differences dealt with in one slice, each a handful of system calls. */
const findingsMax = 64;
/** A file of which only the ctime moved is read to see whether its content is the same. */
const readBytesMax = 8 * 1024 * 1024;

/** The directory that is being compared. */
interface Position {
  readonly id: NodeId;
  /** Names found in it and not yet met in the records. */
  readonly names: Set<Name>;
  after: Name | undefined;
}

/** What one slice works with. */
interface Slice {
  readonly changes: Changes;
  readonly tree: TreeView;
  readonly aside: Aside;
}

export class Sweep {
  readonly #options: SweepOptions;
  #lastId = 0;
  #position: Position | undefined;

  constructor(options: SweepOptions) {
    this.#options = options;
  }

  /** One slice of work. Nothing else may change tree or records meanwhile. */
  async slice(): Promise<Swept> {
    const { store, flush } = this.#options;
    const changes = new Changes(store);
    const tree = new TreeView({ ...this.#options, changes, isReplay: false });
    const aside = new Aside(tree);
    aside.begin(0n, []);
    try {
      const isComplete = this.#compare({ changes, tree, aside });
      aside.end();
      const { lost, driftCount } = aside;
      if (tree.isTouched) await flushTree(tree, flush);
      if (!changes.isEmpty) {
        await store.write(changes.rows(), changes.head);
        await forgetOrphans(store);
      }
      return { lost, driftCount, isComplete };
    } finally {
      tree.close();
    }
  }

  /** True when the last directory was done. */
  #compare(slice: Slice): boolean {
    const end = performance.now() + sliceMs;
    do {
      this.#position ??= this.#next(slice);
      if (!this.#position) {
        this.#lastId = 0;
        return true;
      }
      if (this.#comparePage(this.#position, slice)) this.#position = undefined;
      slice.tree.refresh();
    } while (performance.now() < end && slice.aside.driftCount < findingsMax);
    return false;
  }

  /** The next directory of the records; undefined after the last. */
  #next(slice: Slice): Position | undefined {
    const id = this.#lastId === 0 ? rootId : this.#options.store.nextDirectory(this.#lastId);
    if (id === undefined) return undefined;
    this.#lastId = id;
    const names = this.#list(id, slice);
    return { id, names: new Set(names), after: undefined };
  }

  /** Empty for a directory that is not in the tree, or that its owner may not list. */
  #list(id: NodeId, slice: Slice): Name[] {
    const { aside, changes } = slice;
    const resolution = this.#resolve(id, slice);
    if (resolution.kind === 'drift' && !resolution.opened.isKept) {
      const { name, opened } = resolution;
      const { directory } = opened;
      // Outside of kept content every parent is a node.
      const parent = resolution.parent as NodeId;
      if (changes.entry(parent, name)?.id !== id) aside.forgetMissing(id);
      else aside.putAside({ parent, name, directory }, directory.lstat(name));
      return [];
    }
    if (resolution.kind !== 'open' || resolution.isKept) return [];
    try {
      return resolution.directory.list();
    } catch (error) {
      const code = systemCode(error);
      if (code !== 'EACCES' && code !== 'ENOENT' && code !== 'EBADF') throw error;
      return [];
    }
  }

  /** A directory that cannot be opened (a file system is mounted on it) is left alone. */
  #resolve(id: NodeId, { tree }: Slice): Resolution {
    try {
      return tree.resolve(id);
    } catch (error) {
      const code = systemCode(error);
      if (code === undefined || fatalMessage(error)) throw error;
      this.#options.log.warn({ id, code }, 'directory that cannot be opened');
      return { kind: 'gone' };
    }
  }

  /** Compares some names; true when the directory is done. */
  #comparePage(position: Position, slice: Slice): boolean {
    const { id, names } = position;
    const { aside, changes } = slice;
    const resolution = this.#resolve(id, slice);
    if (resolution.kind !== 'open' || resolution.isKept) return true;
    const { directory } = resolution;
    const rows = this.#options.store.names(id, { after: position.after, limit: rowsMax });
    for (const { name, bytes } of rows) {
      position.after = name;
      names.delete(name);
      this.#guard({ parent: id, name, directory }, slice, place => {
        this.#compareName(place, decodeEntry(bytes).entry, slice);
      });
    }
    if (rows.length === rowsMax) return false;
    for (const name of names) {
      if (aside.driftCount >= findingsMax) return false;
      names.delete(name);
      if (id === rootId && this.#options.folders.isReserved(name)) continue;
      // A commit may have put it there since the directory was listed.
      const present = changes.entry(id, name) ? undefined : directory.lstat(name);
      if (!present) continue;
      this.#guard({ parent: id, name, directory }, slice, place => aside.putAside(place, present));
    }
    return true;
  }

  /** One name that cannot be dealt with does not stop the sweep. */
  #guard(place: OpenPlace, { tree }: Slice, act: (place: OpenPlace) => void): void {
    try {
      act(place);
    } catch (error) {
      const code = systemCode(error);
      if (code === undefined || fatalMessage(error)) throw error;
      const path = tree.path(place.parent, place.name);
      this.#options.log.warn({ path, code }, 'drift that cannot be put aside');
    }
  }

  #compareName(place: OpenPlace, entry: Entry, slice: Slice): void {
    const { name, directory } = place;
    const { tree, aside } = slice;
    const present = directory.lstat(name);
    if (present && tree.isAsRecorded(directory, name, entry, present)) {
      const isMode = Number(present.mode & 0o7777n) === tree.modeOf(entry);
      if (entry.kind === 'directory' && !isMode) tree.touch(entry.id);
      return;
    }
    if (present && entry.kind === 'file' && this.#isSameContent(place, entry, present, slice)) {
      tree.setAttributes(place, undefined, entry);
      return;
    }
    aside.putAside(place, present);
  }

  /** Only links, owner or mode changed: its ctime moved, the bytes are the same. */
  #isSameContent(
    { name, directory }: OpenPlace,
    { id, version }: Entry,
    present: BigIntStats,
    { changes }: Slice,
  ): boolean {
    const record = changes.file(id, version);
    if (!record || !present.isFile() || present.size > readBytesMax) return false;
    if (!sameContentStamp(record.stamp, stampOf(present))) return false;
    const { list } = record;
    const { secret } = this.#options.store;
    const fd = directory.openRead(name);
    try {
      for (let i = 0; i < list.count; i++) {
        const bytes = readBytes(fd, list.offsetAt(i), list.sizeAt(i));
        if (!list.isAt(i, blockId(secret, bytes))) return false;
      }
    } finally {
      fs.closeSync(fd);
    }
    changes.setFile(id, version, { ...record, stamp: stampOf(present) });
    return true;
  }
}
