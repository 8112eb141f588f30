// The source beside what a receiver has of it: listings beside records, file contents beside the
// recorded blocks. Reads everything and changes nothing; keeps no state of the sender's, and shares
// no code with the way a change takes, so that it finds what that gets wrong.
import { blockId } from '../blocks/block-id.ts';
import { systemCode } from '../errors.ts';
import { blockSizeMax } from '../limits.ts';
import type { AttributeRules } from '../snapshot/attribute-rules.ts';
import { type Entry, type NodeId, type PlacedEntry, rootId } from '../snapshot/entry.ts';
import { IgnoreRules, ignoreFileName } from '../snapshot/ignore.ts';
import { type Seen, SeenWriter } from '../snapshot/listing.ts';
import type { Name } from '../snapshot/name.ts';
import { noId, type OwnerIds } from '../snapshot/owner.ts';
import { SourceFile } from '../tree/source-file.ts';
import {
  below,
  kindOf,
  listSource,
  readSourceLink,
  readSourceText,
  SourceListing,
  seenOfStats,
  statSource,
} from '../tree/source-listing.ts';
import type { UserXattrs } from '../tree/user-xattrs.ts';
import { type CheckedEntry, isAttribute } from '../wire/messages.ts';
import { compareXattrs } from './compare-xattrs.ts';
import { type Difference, type DifferenceReason, rootName } from './difference.ts';
import { LinkGroups } from './link-groups.ts';
import { isInScope } from './scan-options.ts';

export interface ComparisonOptions {
  /** Latin1. */
  readonly root: string;
  readonly exclude: readonly string[];
  readonly deleteExcluded: boolean;
  readonly scope: readonly string[];
  readonly maxSize?: number | undefined;
  readonly oneFileSystem?: boolean | undefined;
  readonly attributes?: AttributeRules | undefined;
  /** If they are to be compared. */
  readonly xattrs?: UserXattrs | undefined;
  readonly secret: Buffer;
}

export interface ComparisonCounts {
  readonly entries: number;
  readonly bytes: number;
  readonly unreadable: number;
}

/** As it came, but for the name of the root, which is `rootName`. */
export type ComparedEntry = PlacedEntry & Pick<CheckedEntry, 'finding' | 'from' | 'blocks'>;

interface Folder {
  readonly id: NodeId;
  readonly path: string;
  readonly depth: number;
  readonly rules: IgnoreRules;
  readonly device: bigint;
}

/** A directory whose records are coming in. */
interface Open {
  readonly folder: Folder;
  readonly rules: IgnoreRules;
  /** Names without a record so far. */
  readonly seen: Map<Name, Seen>;
  /** Left out, or not to be looked at: not compared. */
  readonly hidden: ReadonlySet<Name>;
  /** It could not be listed: nothing is missing in it, and nothing too much. */
  readonly isUnreadable: boolean;
}

type What = Pick<Difference, 'kind' | 'reason' | 'isTheirs'>;

interface Twin {
  readonly folder: Folder;
  readonly name: Name;
}

interface OpenFile {
  readonly parent: NodeId;
  readonly name: Name;
  readonly file: SourceFile;
  /** What differs if the content does not. */
  readonly otherwise: What | undefined;
  offset: number;
}

const reservedName = '.replica';
/** What could not be listed is a directory itself: its own name is not at hand. */
const selfName = '.' as Name;
const listedBlockSize = 18;

export class Comparison {
  readonly #options: ComparisonOptions;
  readonly #buffer = Buffer.allocUnsafeSlow(blockSizeMax);
  readonly #writer = new SeenWriter();
  #stack: Folder[] = [];
  readonly #open = new Map<NodeId, Open>();
  /** Directories in which something differs. */
  readonly #doubted = new Map<NodeId, Folder>();
  /** In a second look: the names to be looked at. */
  #only: ReadonlyMap<NodeId, ReadonlySet<Name>> | undefined;
  #file: OpenFile | undefined;
  #found: Difference[] = [];
  readonly #groups = new LinkGroups<Twin>();
  /** In a second look: directories that could not be gone into by the first, by parent and name. */
  #unentered: ReadonlySet<string> = new Set();
  #counts = { entries: 0, bytes: 0, unreadable: 0 };

  constructor(options: ComparisonOptions) {
    this.#options = options;
  }

  get counts(): ComparisonCounts {
    return this.#counts;
  }

  /** From the root on. Throws the system's error when there is none. */
  begin(): void {
    const { root, attributes } = this.#options;
    const stats = statSource(root, '', attributes);
    if (!stats || kindOf(stats) !== 'directory')
      throw Object.assign(new Error('no directory'), { code: 'ENOENT' });
    const { exclude } = this.#options;
    const rules = exclude.length > 0 ? IgnoreRules.none.with('', exclude) : IgnoreRules.none;
    this.#stack = [{ id: rootId, path: '', depth: 0, rules, device: stats.dev }];
    this.#open.clear();
    this.#doubted.clear();
    this.#only = undefined;
    this.#groups.clear();
    this.#counts = { entries: 0, bytes: 0, unreadable: 0 };
  }

  /** Looks again at what differed: a change may have been on its way. */
  beginAgain(differences: readonly Difference[]): void {
    const only = new Map<NodeId, Set<Name>>();
    const add = (parent: NodeId, name: Name): void => {
      const names = only.get(parent);
      if (names) names.add(name);
      else only.set(parent, new Set([name]));
    };
    for (const { parent, name } of differences) add(parent, name);
    // A name alone does not tell whether it is one of a group.
    for (const { folder, name } of this.#groups.takeTwins()) {
      this.#doubted.set(folder.id, folder);
      add(folder.id, name);
    }
    const unentered = differences.filter(({ kind, reason }) =>
      kind === undefined ? reason === 'unreadable' : kind === 'directory' && isGone(reason),
    );
    this.#unentered = new Set(unentered.map(({ parent, name }) => `${parent}/${name}`));
    this.#stack = [...only.keys()].flatMap(id => this.#doubted.get(id) ?? []);
    // Those that could not be listed are looked at as a whole.
    for (const [id, names] of only) if (names.has(selfName)) only.delete(id);
    this.#only = only;
    this.#groups.clear();
  }

  /** Lists the next directories, which the receiver is to be asked about; none: all done. */
  take(max: number): { readonly ids: readonly NodeId[]; readonly found: readonly Difference[] } {
    const folders = this.#stack.splice(Math.max(this.#stack.length - max, 0));
    for (const folder of folders) this.#open.set(folder.id, this.#list(folder));
    return { ids: folders.map(one => one.id), found: this.#take() };
  }

  /** Records of the directories taken, as they come. */
  checked(page: {
    readonly entries: readonly ComparedEntry[];
    readonly extras: readonly { readonly parent: NodeId; readonly name: Name }[];
  }): readonly Difference[] {
    for (const entry of page.entries) this.#compare(entry);
    for (const { parent, name } of page.extras) {
      const folder = this.#open.get(parent)?.folder;
      if (!folder || !isInScope(below(folder.path, name), this.#options.scope)) continue;
      if (!this.#isWanted(parent, name)) continue;
      this.#differ(folder, name, undefined, { kind: undefined, reason: 'extra', isTheirs: true });
    }
    return this.#take();
  }

  /** All records of the directories taken came. */
  finish(): readonly Difference[] {
    this.#closeFile();
    for (const { folder, seen } of this.#open.values()) {
      for (const { name, kind } of seen.values()) {
        this.#differ(folder, name, undefined, { kind, reason: 'missing', isTheirs: false });
      }
    }
    this.#open.clear();
    return this.#take();
  }

  close(): void {
    this.#closeFile();
  }

  /** In a second look some names of some directories are, and all that these lead to. */
  #isWanted(parent: NodeId, name: Name): boolean {
    return this.#only?.get(parent)?.has(name) ?? true;
  }

  #take(): readonly Difference[] {
    const found = this.#found;
    this.#found = [];
    return found;
  }

  #list(folder: Folder): Open {
    const { root, scope, attributes, maxSize = Number.POSITIVE_INFINITY } = this.#options;
    try {
      this.#writer.reset();
      const { device } = folder;
      const parts = listSource(root, folder.path, { device, attributes, writer: this.#writer });
      const listing = new SourceListing(parts);
      for (const name of listing.unreadable.keys()) this.#unreadable(folder, name);
      const rules = this.#rulesIn(folder, listing);
      const hidden = new Set<Name>([...listing.unreadable.keys(), ...listing.special]);
      const seen = new Map<Name, Seen>();
      for (const one of listing.seen) {
        const path = below(folder.path, one.name);
        const isReserved = folder.depth === 0 && one.name === reservedName;
        const isIgnored = isReserved || rules.ignores(path, one.kind === 'directory');
        if (!this.#isWanted(folder.id, one.name)) continue;
        const isTooLarge = one.kind === 'file' && one.size > maxSize;
        if (!isIgnored && isTooLarge) hidden.add(one.name);
        else if (!isIgnored && isInScope(path, scope)) seen.set(one.name, one);
        else if (!isIgnored || !this.#options.deleteExcluded) hidden.add(one.name);
      }
      if (!this.#only?.has(folder.id)) this.#counts.entries += seen.size;
      return { folder, rules, seen, hidden, isUnreadable: false };
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      this.#unreadable(folder, undefined);
      const { rules } = folder;
      return { folder, rules, seen: new Map(), hidden: new Set(), isUnreadable: true };
    }
  }

  #rulesIn(folder: Folder, { hasRules }: SourceListing): IgnoreRules {
    if (!hasRules) return folder.rules;
    const text = readSourceText(this.#options.root, below(folder.path, ignoreFileName));
    return folder.rules.with(folder.path, text);
  }

  #compare(checked: ComparedEntry): void {
    const { parent, name, entry, finding, from } = checked;
    const open = this.#open.get(parent);
    if (!open || open.isUnreadable) return;
    if (!this.#isWanted(parent, name)) return;
    if (name === rootName) {
      this.#compareRoot(open, checked);
      return;
    }
    if (from > 0) {
      this.#goOn(open, checked);
      return;
    }
    this.#closeFile();
    const { folder, seen, hidden } = open;
    const one = seen.get(name);
    seen.delete(name);
    if (!one) {
      if (hidden.has(name) || finding === 'missing') return;
      if (!isInScope(below(folder.path, name), this.#options.scope)) return;
      this.#differ(folder, name, entry, { kind: entry.kind, reason: 'extra', isTheirs: false });
      return;
    }
    const isFolder = one.kind === 'directory' && entry.kind === 'directory';
    if (isFolder && !isGone(finding)) this.#descend(open, one, entry.id);
    const { kind } = one;
    const isTheirs = finding !== 'same';
    const reason = finding === 'same' ? this.#reason(folder, one, entry) : finding;
    const what = reason && { kind, reason, isTheirs };
    // Where only attributes differ so far, the content counts for more.
    const isRead = one.kind === 'file' && entry.kind === 'file' && one.size === entry.size;
    const isMinor = reason === undefined || isAttribute(reason);
    if (isRead && isMinor) this.#beginFile(open, one, checked, what);
    else if (what) this.#differ(folder, name, entry, what);
  }

  #compareRoot({ folder }: Open, { entry, finding }: ComparedEntry): void {
    const { root, attributes } = this.#options;
    const stats = statSource(root, '', attributes);
    const seen = stats && seenOfStats(rootName, stats);
    if (seen === undefined) return;
    const isTheirs = finding !== 'same';
    const reason = isTheirs ? finding : this.#reason(folder, seen, entry);
    if (reason) this.#differ(folder, rootName, entry, { kind: seen.kind, reason, isTheirs });
  }

  /** What differs but for the content of a file. */
  #reason(folder: Folder, seen: Seen, entry: Entry): DifferenceReason | undefined {
    if (seen.kind !== entry.kind) return 'type';
    if (seen.kind === 'link') {
      try {
        const target = readSourceLink(this.#options.root, below(folder.path, seen.name));
        if (target !== entry.target) return 'target';
      } catch (error) {
        if (systemCode(error) === undefined) throw error;
        return 'changing';
      }
    }
    if (seen.kind === 'file' && seen.size !== entry.size) return 'content';
    if (seen.mode !== entry.mode) return 'mode';
    if (isOtherOwner(seen.owner, entry.owner)) return 'owner';
    const path = below(folder.path, seen.name);
    const attributed = compareXattrs(this.#options, { path, seen, entry });
    if (attributed !== 'same') return attributed;
    if (seen.mtimeNs !== entry.mtimeNs) return 'time';
    return seen.kind === 'file' &&
      !this.#groups.isGrouped({ folder, name: seen.name }, seen, entry.id)
      ? 'hard link'
      : undefined;
  }

  #descend({ folder, rules }: Open, seen: Seen, id: NodeId): void {
    const isEntered = !this.#unentered.has(`${folder.id}/${seen.name}`);
    if (this.#only?.has(folder.id) && isEntered) return;
    const path = below(folder.path, seen.name);
    // A mount point is on a device of its own.
    const device = seen.nlink === 2 ? statSource(this.#options.root, path)?.dev : folder.device;
    if (device === undefined) return;
    if (this.#options.oneFileSystem === true && device !== folder.device) return;
    this.#stack.push({ id, path, depth: folder.depth + 1, rules, device });
  }

  // -- contents ---------------------------------------------------------------------------------

  #beginFile(open: Open, seen: Seen, checked: ComparedEntry, otherwise: What | undefined): void {
    const { folder } = open;
    const { parent, name, entry } = checked;
    try {
      const path = below(folder.path, name);
      const file = SourceFile.openIfAsExpected(this.#options.root, path, seen);
      const isTheirs = false;
      if (!file) {
        this.#differ(folder, name, entry, { kind: 'file', reason: 'changing', isTheirs });
        return;
      }
      this.#file = { parent, name, file, otherwise, offset: 0 };
      this.#compareBlocks(open, checked);
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      this.#closeFile();
      this.#unreadable(folder, name);
    }
  }

  #goOn(open: Open, checked: ComparedEntry): void {
    const at = this.#file;
    // Found to differ by its first blocks.
    if (at?.parent !== checked.parent || at.name !== checked.name) return;
    try {
      this.#compareBlocks(open, checked);
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      this.#closeFile();
      this.#unreadable(open.folder, checked.name);
    }
  }

  #compareBlocks({ folder }: Open, { name, entry, blocks }: ComparedEntry): void {
    const at = this.#file;
    if (!at) return;
    let isSame = true;
    for (let i = 0; i < blocks.length && isSame; i += listedBlockSize) {
      const size = blocks.readUInt16BE(i) + 1;
      const bytes = this.#buffer.subarray(0, size);
      const id = blocks.subarray(i + 2, i + listedBlockSize);
      isSame = at.file.read(bytes) === size && blockId(this.#options.secret, bytes).equals(id);
      at.offset += size;
      this.#counts.bytes += size;
    }
    const isWhole = at.offset === entry.size;
    if (isSame && !isWhole) return;
    const reason = at.file.isAsExpected() ? 'content' : 'changing';
    if (!isSame || reason === 'changing') {
      this.#differ(folder, name, entry, { kind: 'file', reason, isTheirs: false });
    } else if (at.otherwise) this.#differ(folder, name, entry, at.otherwise);
    this.#closeFile();
  }

  #closeFile(): void {
    this.#file?.file.close();
    this.#file = undefined;
  }

  // -- what was found ---------------------------------------------------------------------------

  #differ(folder: Folder, name: Name, entry: Entry | undefined, what: What): void {
    const { id: parent, path } = folder;
    const { id = 0, version = 0 } = entry ?? {};
    this.#doubted.set(parent, folder);
    this.#found.push({ path: below(path, name), parent, name, id, version, ...what });
  }

  #unreadable(folder: Folder, name: Name | undefined): void {
    this.#counts.unreadable++;
    this.#doubted.set(folder.id, folder);
    const path = name === undefined ? folder.path : below(folder.path, name);
    const place = { path, parent: folder.id, name: name ?? selfName };
    const what = { kind: undefined, reason: 'unreadable', isTheirs: false } as const;
    this.#found.push({ ...place, id: 0, version: 0, ...what });
  }
}

/** Then nothing in it was compared either. */
function isGone(reason: string): boolean {
  return reason === 'missing' || reason === 'type';
}

/** Only what this side keeps is compared. */
function isOtherOwner(seen: OwnerIds | undefined, recorded: OwnerIds | undefined): boolean {
  if (seen === undefined) return false;
  const { uid, gid } = seen;
  return (uid !== noId && uid !== recorded?.uid) || (gid !== noId && gid !== recorded?.gid);
}
