// Records made from what is there: after the state was lost, and for --adopt. Nothing in the tree
// is changed. Entries get no stamp, so the sender reads each of its files again; blocks it offers
// are found in the index made here, so it sends little of them.
import { randomBytes } from 'node:crypto';
import fs, { type BigIntStats } from 'node:fs';
import { BlockList } from '../blocks/block-list.ts';
import { CheckHash } from '../blocks/check-hash.ts';
import { ContentMatcher } from '../blocks/content-matcher.ts';
import { Kernels } from '../blocks/kernels.ts';
import { systemCode } from '../errors.ts';
import { depthMax, linkTargetSizeMax, stagingSliceBytes } from '../limits.ts';
import type { Log } from '../log.ts';
import { type Entry, type NodeId, noStamp, rootId } from '../snapshot/entry.ts';
import { type Name, printable } from '../snapshot/name.ts';
import { Changes } from '../store/changes.ts';
import { addPlace } from '../store/file-places.ts';
import { indexBlocksPerWrite } from '../store/index-changes.ts';
import { type LocalStamp, sameLocalStamp, stampOf } from '../store/receiver-records.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';
import { Directories } from './directories.ts';
import type { Folders } from './folders.ts';
import { moveFromLimbo } from './kept.ts';
import { fatalMessage } from './rejection.ts';
import { turn } from './turn.ts';

export interface RebuildOptions {
  /** Empty and not complete. */
  readonly store: ReplicaStore;
  readonly folders: Folders;
  readonly log: Log;
}

/** Records of one transaction: entries, and blocks put into the index. */
const entriesPerWrite = 1024;
const openDirectoriesMax = 256;
/** Looks at a file that changes while it is read. */
const readsMax = 3;
const firstVersion = 1;

/** Fills the store. Throws what concerns the whole destination. */
export async function rebuild(options: RebuildOptions): Promise<void> {
  clearLimbo(options.folders);
  const scan = new Scan(options);
  try {
    await scan.run();
  } finally {
    scan.close();
  }
}

/** What waited there for the rest of a commit that nothing is known of any more. */
function clearLimbo(folders: Folders): void {
  const { limbo } = folders;
  for (const name of limbo.list()) {
    const present = limbo.lstat(name);
    if (!present) continue;
    const hasOtherName = present.isFile() && present.nlink > 1n;
    if (hasOtherName || present.isSymbolicLink()) {
      limbo.unlink(name);
      continue;
    }
    moveFromLimbo(folders, name);
  }
}

/** A directory whose names are still to be read. */
interface Found {
  readonly id: NodeId;
  readonly path: string;
  readonly depth: number;
}

class Scan {
  readonly #options: RebuildOptions;
  /** Made for the first file. */
  #matcher: ContentMatcher | undefined;
  readonly #directories: Directories;
  #changes: Changes;
  #entryCount = 0;
  #blockCount = 0;
  #sliceBytes = 0;
  #nextId = rootId + 1;
  /** Nodes of files with names still to be found. */
  readonly #linked = new Map<bigint, { readonly id: NodeId; left: bigint }>();
  readonly #counts = { entries: 0, unreadable: 0, skipped: 0, bytes: 0 };

  constructor(options: RebuildOptions) {
    this.#options = options;
    this.#changes = new Changes(options.store);
    this.#directories = new Directories({
      folders: options.folders,
      lookUp: id => this.#changes.directory(id),
    });
  }

  async run(): Promise<void> {
    const stack: Found[] = [{ id: rootId, path: '', depth: 0 }];
    for (let found = stack.pop(); found; found = stack.pop()) {
      stack.push(...(await this.#scan(found)));
      this.#directories.trim(openDirectoriesMax);
    }
    await this.#write();
    if (this.#counts.entries > 0) {
      this.#options.log.info({ ...this.#counts }, 'recorded what is in the destination');
    }
  }

  close(): void {
    this.#directories.close();
  }

  /** Records the names of one directory; returns the directories in it. */
  async #scan(found: Found): Promise<Found[]> {
    const names = this.#list(found);
    if (!names) return [];
    const below: Found[] = [];
    for (const name of names) {
      if (found.id === rootId && this.#options.folders.isReserved(name)) continue;
      const path = found.path === '' ? name : `${found.path}/${name}`;
      try {
        const id = await this.#record(found, name, path);
        if (id !== undefined) below.push({ id, path, depth: found.depth + 1 });
      } catch (error) {
        this.#report(path, error);
      }
      if (this.#entryCount >= entriesPerWrite || this.#blockCount >= indexBlocksPerWrite) {
        await this.#write();
      }
    }
    return below;
  }

  #list(found: Found): Name[] | undefined {
    try {
      return this.#open(found.id)?.list();
    } catch (error) {
      this.#report(found.path, error);
      return undefined;
    }
  }

  #open(id: NodeId): ConfinedDirectory | undefined {
    const resolution = this.#directories.open(id);
    return resolution.kind === 'open' ? resolution.directory : undefined;
  }

  /** The id, if it is a directory. */
  async #record(parent: Found, name: Name, path: string): Promise<NodeId | undefined> {
    const directory = this.#open(parent.id);
    const present = directory?.lstat(name);
    if (!directory || !present) return undefined;
    if (present.isDirectory()) return this.#directory(parent, name, path, directory);
    if (present.isSymbolicLink()) this.#link(parent.id, name, present, directory);
    else if (present.isFile()) await this.#file(parent.id, name, path, present);
    else this.#skip(path, 'a socket, pipe or device is left alone');
    return undefined;
  }

  #directory(
    parent: Found,
    name: Name,
    path: string,
    directory: ConfinedDirectory,
  ): NodeId | undefined {
    if (parent.depth + 1 >= depthMax) {
      this.#skip(path, `deeper than ${depthMax} levels`);
      return undefined;
    }
    // Refuses mount points.
    const sub = directory.sub(name);
    try {
      const stats = sub.stat();
      const id = this.#newId();
      this.#changes.setDirectory(id, { parent: parent.id, name, ino: stats.ino });
      this.#add(parent.id, name, entryOf('directory', id, stats));
      return id;
    } finally {
      sub.release();
    }
  }

  #link(parent: NodeId, name: Name, present: BigIntStats, directory: ConfinedDirectory): void {
    const target = directory.readlink(name);
    if (target.length > linkTargetSizeMax) return;
    const entry = entryOf('link', this.#newId(), present);
    this.#add(parent, name, { ...entry, mode: 0o777, size: target.length, target });
  }

  async #file(parent: NodeId, name: Name, path: string, present: BigIntStats): Promise<void> {
    const group = present.nlink > 1n ? this.#linked.get(present.ino) : undefined;
    if (group) {
      const { id } = group;
      group.left--;
      if (group.left === 0n) this.#linked.delete(present.ino);
      addPlace(this.#changes, { id, version: firstVersion }, { parent, name });
      this.#add(parent, name, entryOf('file', id, present));
      return;
    }
    const { list, stamp, stats } = await this.#content(parent, name, path, present);
    const id = this.#newId();
    if (stats.nlink > 1n) this.#linked.set(stats.ino, { id, left: stats.nlink - 1n });
    const places = [{ parent, name }];
    this.#changes.setFile(id, firstVersion, { links: 1, places, stamp, list });
    this.#add(parent, name, entryOf('file', id, stats));
    this.#changes.addHints(id, list, { from: 0, count: list.count });
    this.#blockCount += list.count;
  }

  /** Of a file that cannot be read the list is empty: nothing of it is reused. */
  async #content(
    parent: NodeId,
    name: Name,
    path: string,
    present: BigIntStats,
  ): Promise<{ list: BlockList; stamp: LocalStamp; stats: BigIntStats }> {
    let stats = present;
    try {
      for (let attempt = 0; attempt < readsMax; attempt++) {
        const fd = this.#open(parent)?.openRead(name);
        if (fd === undefined) break;
        try {
          const before = stampOf(fs.fstatSync(fd, { bigint: true }));
          const list = await this.#cut(fd);
          stats = fs.fstatSync(fd, { bigint: true });
          const stamp = stampOf(stats);
          const isStill = sameLocalStamp(before, stamp) && list.byteCount === Number(stamp.size);
          if (isStill) return { list, stamp, stats };
        } finally {
          fs.closeSync(fd);
        }
      }
      this.#report(path, 'it changes while it is read');
    } catch (error) {
      this.#report(path, error);
    }
    return { list: BlockList.empty, stamp: stampOf(stats), stats };
  }

  async #cut(fd: number): Promise<BlockList> {
    this.#matcher ??= newMatcher(this.#options.store.secret);
    const matcher = this.#matcher;
    matcher.begin();
    for (;;) {
      const buffer = matcher.buffer();
      const count = fs.readSync(fd, buffer, 0, buffer.length, null);
      if (count === 0) return matcher.finish().list;
      matcher.advance(count);
      this.#counts.bytes += count;
      this.#sliceBytes += count;
      if (this.#sliceBytes < stagingSliceBytes) continue;
      this.#sliceBytes = 0;
      await turn();
    }
  }

  #newId(): NodeId {
    // Nobody else numbers nodes until there is a sender.
    return this.#nextId++ as NodeId;
  }

  #add(parent: NodeId, name: Name, entry: Entry): void {
    this.#changes.setEntry(parent, name, entry);
    this.#entryCount++;
    this.#counts.entries++;
  }

  async #write(): Promise<void> {
    const { store } = this.#options;
    await this.#changes.write();
    this.#changes = new Changes(store);
    this.#entryCount = 0;
    this.#blockCount = 0;
  }

  #skip(path: string, reason: string): void {
    this.#counts.skipped++;
    this.#options.log.warn({ path: printable(path), reason }, 'not recorded');
  }

  /** Rethrows what concerns more than this path. */
  #report(path: string, error: unknown): void {
    const code = systemCode(error);
    if (typeof error !== 'string' && (code === undefined || fatalMessage(error))) throw error;
    this.#counts.unreadable++;
    const reason = typeof error === 'string' ? error : code;
    this.#options.log.warn({ path: printable(path), reason }, 'cannot be read');
  }
}

function newMatcher(secret: Buffer): ContentMatcher {
  // Checks are of use to a sender only.
  const checkHash = new CheckHash(randomBytes(32));
  return new ContentMatcher({ kernels: Kernels.load(), secret, checkHash });
}

function entryOf(kind: Entry['kind'], id: NodeId, stats: BigIntStats): Entry {
  return {
    kind,
    id,
    mode: Number(stats.mode & 0o7777n),
    size: kind === 'file' ? Number(stats.size) : 0,
    mtimeNs: stats.mtimeNs,
    stamp: noStamp,
    version: kind === 'file' ? firstVersion : 0,
    target: '',
  };
}
