// What a verifier finds.
import type { EntryKind, NodeId } from '../snapshot/entry.ts';
import type { Name } from '../snapshot/name.ts';
import type { Finding } from '../wire/messages.ts';

/** The root is compared as a name in itself. */
export const rootName = '' as Name;

export type DifferenceReason =
  | Exclude<Finding, 'same'>
  | 'extra'
  | 'target'
  /** It changed while it was read. */
  | 'changing';

/** One path at which source and destination are not equal. */
export interface Difference {
  /** Below the root, latin1. */
  readonly path: string;
  readonly kind: EntryKind | undefined;
  readonly reason: DifferenceReason;
  readonly parent: NodeId;
  readonly name: Name;
  /** What is recorded there; 0: nothing. */
  readonly id: NodeId | 0;
  readonly version: number;
  /** The receiver is not as its records say; otherwise the source is not. */
  readonly isTheirs: boolean;
}
