const errorCodes = [
  'ERR_USAGE', // the command line or configuration is wrong
  'ERR_PATH', // source or destination path is missing, of the wrong type, or unsuitable
  'ERR_AUTH', // no key, a wrong key, a revoked key
  'ERR_SOCKET', // cannot listen, connect, or the connection broke
  'ERR_IO', // local file I/O of the whole session (disk full, read-only)
  'ERR_PROTOCOL', // the peer broke the protocol, or speaks another version
  'ERR_FENCED', // a newer sender of the same source took over
  'ERR_FOREIGN', // the replica belongs to another source
  'ERR_STATE', // a state file is unusable and could not be rebuilt
  'ERR_TIMEOUT', // gave up after --timeout
] as const;

/** Every way a session, a command or the process can fail. A closed union: exit codes map from it. */
export type ErrorCode = (typeof errorCodes)[number];

export function isErrorCode(code: unknown): code is ErrorCode {
  return errorCodes.some(one => one === code);
}

/** A failure that ends a session or a command. Failures of one path are `Problem` values instead. */
export class ReplicaError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ReplicaError';
    this.code = code;
  }
}

/** A failure of one path: reported and counted, never read as "deleted", never ends the session. */
export interface Problem {
  /** Path below the root, latin1 (one char, one byte); print with `printable()`. */
  readonly path: string;
  /** A system error code such as EACCES, or one of ours such as EUNSTABLE. */
  readonly code: string;
  readonly message: string;
}

/** The system's error code (ENOENT, EIO ...) of anything thrown; undefined for any other error. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  const { code } = error;
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : undefined;
}
