// What a receiver did and holds, as numbers for whoever watches it.
import { sessionError } from './failure.ts';

/** Since the receiver was opened. */
export interface Totals {
  commits: number;
  operations: number;
  /** Commits are made durable in groups; this many took that long in all. */
  groups: number;
  ms: number;
  /** Sessions ended by a mistake of the peer or a failure here, not by the network. */
  failedSessions: number;
}

export function noTotals(): Totals {
  return { commits: 0, operations: 0, groups: 0, ms: 0, failedSessions: 0 };
}

/** Counts since the receiver was opened, and what it holds now. */
export interface ReceiverFigures extends Readonly<Totals> {
  readonly watermark: number;
  readonly entries: number;
  /** Entries found other than recorded. */
  readonly drift: number;
  /** Complete looks at the tree. */
  readonly sweeps: number;
  readonly hasSender: boolean;
  /** Why commits fail, until a sender connects anew. */
  readonly failure: string | undefined;
}

/** The message of what `error` is for a session; undefined for none. */
export function failureText(error: unknown): string | undefined {
  if (error === undefined) return undefined;
  const reason = sessionError(error);
  return reason instanceof Error ? reason.message : String(reason);
}
