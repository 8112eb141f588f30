// What a thread of SourceThreads is asked, and what it answers.
import type { Problem } from '../errors.ts';
import type { AttributeRules } from '../snapshot/attribute-rules.ts';
import type { Name } from '../snapshot/name.ts';
import type { ExpectedFile } from './source-file.ts';
import type { SourceStats } from './source-listing.ts';
import type { SeenInode } from './source-xattrs.ts';

/** Paths are below the root, latin1. A task that has items takes them one call at a time, in order. */
export type SourceTask =
  | { readonly kind: 'names'; readonly path: string }
  | {
      readonly kind: 'entries';
      readonly path: string;
      readonly device: bigint;
      readonly items: readonly Name[];
    }
  | { readonly kind: 'stats'; readonly items: readonly string[] }
  | { readonly kind: 'contents'; readonly items: readonly FilePlace[] }
  | { readonly kind: 'link'; readonly path: string }
  | { readonly kind: 'text'; readonly path: string }
  | { readonly kind: 'xattrs'; readonly path: string; readonly seen: SeenInode };

/** A file that the scan saw, small enough to be read whole. */
export interface FilePlace {
  readonly path: string;
  readonly expected: ExpectedFile;
}

/** What was read of it. */
export interface Content {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** It still was the file that was scanned when all was read. */
  readonly isAsExpected: boolean;
}

export interface EntriesResult {
  readonly bytes: Uint8Array;
  readonly linkCounts: readonly number[];
  readonly unreadable: ReadonlyMap<Name, Problem>;
  readonly special: readonly Name[];
  readonly hasRules: boolean;
  readonly largestSize: bigint;
}

/** A code of the system in place of an answer. */
export interface Refusal {
  readonly code: string;
}

export interface TaskResults {
  readonly names: readonly Name[];
  readonly entries: EntriesResult;
  readonly stats: readonly (SourceStats | undefined | Refusal)[];
  readonly contents: readonly (Content | Refusal)[];
  readonly link: string;
  readonly text: string;
  readonly xattrs: string | undefined;
}

export type TaskResult = TaskResults[SourceTask['kind']];

export type Answer =
  | { readonly result: TaskResult }
  | { readonly refusal: Refusal }
  | { readonly bug: string };

/** Cells of a thread in shared memory, u32 each. */
export const threadCells = 2;
/** Counts its calls: one that stands still hangs. */
export const callCell = 0;
/** The item that its call is about. */
export const itemCell = 1;

export interface ThreadData {
  readonly root: string;
  readonly attributes: AttributeRules;
  /** Its cells. */
  readonly cells: Int32Array<SharedArrayBuffer>;
  /** One number for all threads: it moves, and is notified, with every answer. */
  readonly signal: Int32Array<SharedArrayBuffer>;
}
