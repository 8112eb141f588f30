// What a command may know of the process. main.ts fills it in; tests pass their own.
import type { BaseContext } from 'clipanion';

export interface CliContext extends BaseContext {
  readonly env: Record<string, string | undefined>;
  readonly cwd: string;
  readonly home: string;
  readonly hostname: string;
  /** The effective user; undefined where the system has no user ids. */
  readonly uid: number | undefined;
  /** Aborted by SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
  /** Lets go of what was used lately and no longer is. */
  readonly sweepYoung: () => void;
  /** A thread hangs in a system call and could not be ended: the process must not wait for it. */
  readonly onHungThread: () => void;
  /** Calls `handler` at each SIGHUP, until the returned function is called. */
  readonly onHangup: (handler: () => void) => () => void;
}
