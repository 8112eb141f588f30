// The one table of exit codes: every command returns one of these and --help prints it.
import { type ErrorCode, ReplicaError, systemCode } from '../errors.ts';

export const ExitCode = {
  Done: 0,
  Usage: 1,
  Path: 3,
  Auth: 5,
  Socket: 10,
  Io: 11,
  Protocol: 12,
  Interrupted: 20,
  Partial: 23,
  Vanished: 24,
  Held: 25,
  Timeout: 30,
  Bug: 70,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** Numbers are rsync's where it has one. In the order in which --help prints them. */
export const exitCodeMeanings: readonly (readonly [ExitCode, string])[] = [
  [ExitCode.Done, 'done; with --once: source and replica are equal'],
  [ExitCode.Usage, 'wrong flag, value or setting'],
  [ExitCode.Path, 'unsuitable path, or a destination that refuses (another source, not empty)'],
  [ExitCode.Auth, 'no key, or a wrong or revoked one'],
  [ExitCode.Socket, 'cannot listen or connect; status, flush and the like: no push is running'],
  [ExitCode.Io, 'file I/O failed (disk full, read-only, damaged state)'],
  [ExitCode.Protocol, 'protocol error, or a newer sender of the same source took over'],
  [ExitCode.Interrupted, '--once was interrupted before the trees were equal'],
  [ExitCode.Partial, 'some entries were not transferred; verify: some entries differ'],
  [ExitCode.Vanished, 'some entries vanished before they were read'],
  [ExitCode.Held, 'deletes are held back; see --max-delete and --accept-deletes'],
  [ExitCode.Timeout, 'gave up after --timeout'],
  [ExitCode.Bug, 'a bug in replica'],
];

const byErrorCode: Record<ErrorCode, ExitCode> = {
  ERR_USAGE: ExitCode.Usage,
  ERR_PATH: ExitCode.Path,
  ERR_AUTH: ExitCode.Auth,
  ERR_SOCKET: ExitCode.Socket,
  ERR_IO: ExitCode.Io,
  ERR_PROTOCOL: ExitCode.Protocol,
  ERR_FENCED: ExitCode.Protocol,
  ERR_FOREIGN: ExitCode.Path,
  ERR_STATE: ExitCode.Io,
  ERR_TIMEOUT: ExitCode.Timeout,
};

/** The exit code for anything thrown. A system error nobody named is file I/O; the rest are bugs. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof ReplicaError) return byErrorCode[error.code];
  return isSystemError(error) ? ExitCode.Io : ExitCode.Bug;
}

/** True for what node:fs and node:net throw: a code such as EACCES and the system call's name. */
function isSystemError(error: unknown): boolean {
  return (
    systemCode(error)?.startsWith('E') === true && error instanceof Error && 'syscall' in error
  );
}
