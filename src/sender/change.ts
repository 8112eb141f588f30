// What the scanner hands to the transfer: an operation to come, with what is needed to carry it out.
import type { Basis } from '../blocks/content-matcher.ts';
import type { Problem } from '../errors.ts';
import type { Entry, NodeId } from '../snapshot/entry.ts';
import type { Name } from '../snapshot/name.ts';

interface ChangeBase {
  /** Names the change when it is confirmed or taken back. */
  readonly token: number;
  /** Below the root, latin1. */
  readonly path: string;
}

export interface FileChange extends ChangeBase {
  readonly kind: 'file';
  readonly parent: NodeId;
  readonly name: Name;
  readonly entry: Entry;
  /** Blocks of the version before, when they are known. */
  readonly basis: Basis | undefined;
  readonly baseVersion: number;
  /** Of that version. */
  readonly baseSize: number;
  /** content: the file may differ. trust: second look at content already sent. */
  readonly purpose: 'content' | 'trust';
  /** Monotonic time at which the scan saw the file like this. */
  readonly seenMs: number;
  /** What a reader calls it: new for the receiver, or not. */
  readonly isNew: boolean;
}

export type Change =
  | FileChange
  | (ChangeBase & {
      readonly kind: 'directory' | 'link' | 'hardlink';
      readonly parent: NodeId;
      readonly name: Name;
      readonly entry: Entry;
      readonly isNew: boolean;
    })
  | (ChangeBase & {
      readonly kind: 'rename';
      readonly fromParent: NodeId;
      readonly fromName: Name;
      readonly fromPath: string;
      readonly parent: NodeId;
      readonly name: Name;
      readonly entry: Entry;
    })
  | (ChangeBase & {
      readonly kind: 'remove';
      readonly parent: NodeId;
      readonly name: Name;
      readonly id: NodeId;
      readonly isDirectory: boolean;
    })
  | (ChangeBase & {
      readonly kind: 'attributes';
      readonly parent: NodeId | 0;
      readonly name: Name | '';
      readonly entry: Entry;
    });

/** A change that became durable. */
export interface Confirmation {
  readonly token: number;
  /** Of a file change: the version that was sent, or the one before when its content is the same. */
  readonly version?: number | undefined;
  readonly basis?: Basis | undefined;
  /** The content was read at least `trustAfterMs` after the file was first seen like this. */
  readonly trusted?: boolean;
}

/** A change that was not carried out; the scan will find it again. */
export interface Reversal {
  readonly token: number;
  /**
   * unstable: it changed while it was read. unreadable: it cannot be read. refused: the receiver
   * cannot do that. superseded: at once.
   * gone: the receiver does not hold what the change builds on; the two are about to agree anew.
   * base: the receiver lacks the version the change copies from: forget the basis.
   * xattrs: the receiver cannot set the extended attributes: it goes without.
   */
  readonly reason:
    | 'unstable'
    | 'unreadable'
    | 'refused'
    | 'superseded'
    | 'gone'
    | 'base'
    | 'xattrs';
}

/** Said of a root that is another directory than before: only a verdict of the user goes on from there. */
export const replacedRoot = 'another directory is in its place (not mounted, or replaced?)';

export type RootState =
  | { readonly kind: 'ok' }
  /** Nothing can be said about the tree: no change is taken. */
  | { readonly kind: 'gone'; readonly reason: string };

/** What one tick found: a sweep of the whole tree, or a look at parts of it. */
export interface SweepSummary {
  readonly root: RootState;
  /** Every directory was listed in this tick. */
  readonly isWhole: boolean;
  /** Directories listed in this tick. */
  readonly directories: number;
  /** Entries of the tree, as far as it was looked at by now; likewise `special`. */
  readonly entries: number;
  readonly special: number;
  /** Files beyond --max-size. */
  readonly tooLarge: number;
  /** Names that are gone at the source and stay at the replica, as their delete was rejected. */
  readonly rejected: number;
  /** Changes handed out. */
  readonly changes: number;
  /** Changes seen but put off: no room in the queue, or a pause after a failed read. */
  readonly deferred: number;
  /** Those of them that wait for --settle. */
  readonly settling: number;
  /** Those that could not be read, or not be done by the receiver, when they were tried last. */
  readonly paused: number;
  readonly problems: number;
  readonly held: { readonly count: number; readonly reason: string } | undefined;
  /** Time spent scanning, waiting between slices not counted. */
  readonly ms: number;
  readonly poll: PollFigures;
}

/** How the poller is doing. */
export interface PollFigures {
  readonly directories: number;
  readonly hotDirectories: number;
  /** From one look at a file that nobody touches to the next: the last full round. */
  readonly sweepPeriodMs: number;
  /** What listing every directory once takes, however many ticks that is spread over. */
  readonly sweepCostMs: number;
  /** From one look at the times of a directory to the next, which tell of names that come and go. */
  readonly passPeriodMs: number;
  /** Directories here change without their times moving: only the sweep is believed. */
  readonly timesLie: boolean;
}

export interface Slice {
  readonly changes: readonly Change[];
  readonly problems: readonly Problem[];
  /** Set on the slice that ends the sweep. */
  readonly summary: SweepSummary | undefined;
}
