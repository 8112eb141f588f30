/** How long a `--once` tries to reach its receiver. */
export class Patience {
  readonly #timeoutMs: number;
  readonly #nowMs: () => number;
  #endMs: number;
  #reachedMs: number | undefined;

  /** `nowMs` is monotonic. */
  constructor(timeoutMs: number, nowMs: () => number = () => performance.now()) {
    this.#timeoutMs = timeoutMs;
    this.#nowMs = nowMs;
    this.#endMs = nowMs() + timeoutMs;
  }

  /** There is a connection: until it ends, time does not count. */
  reached(): void {
    this.#reachedMs ??= this.#nowMs();
  }

  /** It ended, or there was none; is the next try too late? After progress there is all the time again. */
  isOver(hasProgress: boolean, retryInMs: number): boolean {
    const nowMs = this.#nowMs();
    this.#endMs += nowMs - (this.#reachedMs ?? nowMs);
    this.#reachedMs = undefined;
    if (hasProgress) this.#endMs = nowMs + this.#timeoutMs;
    return nowMs + retryInMs > this.#endMs;
  }
}
