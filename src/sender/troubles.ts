// Entries that could not be transferred: each is reported, and the others go on.
import type { Problem } from '../errors.ts';
import type { FileChange, Reversal } from './change.ts';
import type { FileHead } from './content.ts';
import type { Mailbox, SenderEvent } from './events.ts';

export class Troubles {
  readonly #events: Mailbox<SenderEvent>;
  #vanished = 0;
  /** By path. */
  readonly #failed = new Map<string, Problem>();

  constructor(events: Mailbox<SenderEvent>) {
    this.#events = events;
  }

  report(problem: Problem): void {
    this.#failed.set(problem.path, problem);
    this.#events.put({ kind: 'problem', problem });
  }

  /** A later try went through. */
  mended(path: string): void {
    this.#failed.delete(path);
  }

  /** Why the file cannot be sent as it was found, or undefined: it was read. */
  reversalOf({ token, path }: FileChange, head: FileHead): Reversal | undefined {
    switch (head.status) {
      case 'read':
        return undefined;
      case 'unstable':
        return { token, reason: 'unstable' };
      case 'vanished':
        this.#vanished++;
        return { token, reason: 'superseded' };
      case 'unreadable':
        this.report({
          path,
          code: head.code,
          message: 'cannot be read; the copy keeps what it had',
        });
        return { token, reason: 'unreadable' };
    }
  }

  /** Counts since the last call. */
  take(): { vanished: number; failed: number } {
    const counts = { vanished: this.#vanished, failed: this.#failed.size };
    this.#vanished = 0;
    this.#failed.clear();
    return counts;
  }
}
