// What the parts of the scanner work on.
import { systemCode } from '../errors.ts';
import type { Entry, NodeId } from '../snapshot/entry.ts';
import type { IgnoreRules } from '../snapshot/ignore.ts';
import type { Seen } from '../snapshot/listing.ts';
import type { SnapshotStore } from '../store/snapshot-store.ts';
import type { Source } from '../tree/source.ts';
import type { SourceListing, SourceStats } from '../tree/source-listing.ts';
import type { ConfirmedLayer } from './confirmed.ts';
import type { Findings } from './findings.ts';
import type { Observed } from './observed.ts';
import type { Owners } from './owners.ts';
import type { ScanOptions } from './scan-options.ts';
import type { Settling } from './settling.ts';
import type { SourceXattrs } from './source-xattrs.ts';

export interface ScanState {
  readonly options: ScanOptions;
  readonly source: Source;
  readonly store: SnapshotStore;
  readonly confirmed: ConfirmedLayer;
  readonly observed: Observed;
  readonly findings: Findings;
  readonly settling: Settling;
  readonly owners: Owners;
  readonly xattrs: SourceXattrs;
  /** --accept-deletes, or a new source approved: until the next sweep of everything. */
  accepted: boolean;
}

/** A directory of the source. */
export interface FolderPlace {
  readonly id: NodeId;
  readonly path: string;
}

export interface Folder extends FolderPlace {
  readonly rules: IgnoreRules;
  readonly depth: number;
  readonly device: bigint;
}

/** undefined when it cannot be listed, which is reported or put off. */
export function listFolder(state: ScanState, folder: Folder): SourceListing | undefined {
  try {
    return state.source.list(folder);
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    // Gone, or no directory any more, since its parent was listed: the next sweep sees it there.
    if (code === 'ENOENT' || code === 'ENOTDIR') state.findings.defer();
    else state.findings.problem(folder.path, code, 'cannot be listed; nothing in it is deleted');
    return undefined;
  }
}

/** lstat; undefined also when it fails: the sweep reports that where it lists the directory. */
export function statQuietly(source: Source, path: string): SourceStats | undefined {
  try {
    return source.stat(path);
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return undefined;
  }
}

export function isSameInode({ stamp }: Entry, seen: Seen): boolean {
  return stamp.ino === seen.ino && stamp.birthtimeNs === seen.birthtimeNs;
}
