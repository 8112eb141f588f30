// What a sender tells its caller while it runs.
import type { Problem, ReplicaError } from '../errors.ts';
import type { PollFigures } from './change.ts';

export type SenderEvent =
  | { readonly kind: 'connected'; readonly peer: string }
  | { readonly kind: 'disconnected'; readonly error: ReplicaError; readonly retryInMs: number }
  | { readonly kind: 'reconciling'; readonly entries: number }
  | {
      readonly kind: 'commit';
      readonly commit: bigint;
      readonly operations: number;
      /** Bytes of content that crossed the wire, and that the receiver had already. */
      readonly bytesSent: number;
      readonly bytesReused: number;
      /** Files that the receiver could not put together: their bytes follow. */
      readonly resent: number;
      readonly ms: number;
    }
  | { readonly kind: 'problem'; readonly problem: Problem }
  | { readonly kind: 'held'; readonly reason: string; readonly count: number }
  | { readonly kind: 'released' }
  | { readonly kind: 'source'; readonly state: 'gone' | 'slow' | 'back'; readonly reason: string }
  | { readonly kind: 'state'; readonly message: string }
  | { readonly kind: 'operation'; readonly text: string }
  | ({ readonly kind: 'poll' } & PollFigures)
  | { readonly kind: 'lost'; readonly count: number }
  | {
      readonly kind: 'synced';
      readonly entries: number;
      readonly special: number;
      /** Files beyond --max-size. */
      readonly tooLarge?: number;
    }
  | { readonly kind: 'end'; readonly outcome: SenderOutcome };

export interface SenderOutcome {
  readonly inSync: boolean;
  /** Entries that could not be transferred. */
  readonly problems: number;
  /** Files that vanished before they could be read, in the last sweep. */
  readonly vanished: number;
  /** Deletes held back. */
  readonly held: number;
  readonly interrupted: boolean;
  readonly error: ReplicaError | undefined;
}

/** Of a sender that has nothing to tell yet. */
export const noOutcome: SenderOutcome = {
  inSync: false,
  problems: 0,
  vanished: 0,
  held: 0,
  interrupted: false,
  error: undefined,
};

/** Values put in by several tasks, taken out by one. Unread values are few: commits and problems. */
export class Mailbox<T> {
  #values: T[] = [];
  #wake: (() => void) | undefined;
  #isClosed = false;

  put(value: T): void {
    if (this.#isClosed) return;
    this.#values.push(value);
    this.#wake?.();
  }

  close(): void {
    this.#isClosed = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      const values = this.#values;
      this.#values = [];
      yield* values;
      if (this.#values.length > 0) continue;
      if (this.#isClosed) return;
      await new Promise<void>(resolve => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }
}
