// What a command may know of the process. main.ts fills it in; tests pass their own.
import type { BaseContext } from 'clipanion';

export interface CliContext extends BaseContext {
  readonly env: Record<string, string | undefined>;
  readonly cwd: string;
  readonly home: string;
  readonly hostname: string;
  /** Undefined where the system has no user ids. */
  readonly uid: number | undefined;
  /** Aborted by SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
  /** Calls `handler` at each SIGHUP, until the returned function is called. */
  readonly onHangup: (handler: () => void) => () => void;
}
