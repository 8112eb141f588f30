/** An error of our own in the shape of a system error, for callers that look at `code` only. */
export class SystemError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(`${code}: ${message}`);
    this.name = 'SystemError';
    this.code = code;
  }
}
