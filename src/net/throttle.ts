// Keeps what is written at a rate: a leaky bucket (ITU-T I.371) that lets a tenth of a second through
// at once. One for all connections that follow each other; the rate may change at any time.

/** What is let through at once, in seconds of the rate. */
const burstSeconds = 0.1;
/** Pieces that a write is cut into: small ones keep an even pace, large ones cost no time. */
const pieceMin = 4 * 1024;
const pieceMax = 320 * 1024;

export class Throttle {
  readonly #nowMs: () => number;
  #bytesPerSecond: number;
  /** When everything let through so far would have gone at the rate. */
  #dueMs: number;
  /** Ends the wait under way, so that it is reckoned anew. */
  #wake: () => void = () => {};

  /** Bytes a second; Infinity: no limit. `nowMs` is monotonic. */
  constructor(bytesPerSecond: number, nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
    this.#bytesPerSecond = bytesPerSecond;
    this.#dueMs = nowMs();
  }

  get bytesPerSecond(): number {
    return this.#bytesPerSecond;
  }

  /** Counts from now on, also for who waits. */
  set bytesPerSecond(rate: number) {
    if (rate === this.#bytesPerSecond) return;
    const nowMs = this.#nowMs();
    // What is owed in bytes stays owed, at the new rate.
    const isLimited = Number.isFinite(rate) && Number.isFinite(this.#bytesPerSecond);
    const owedMs = Math.max(0, this.#dueMs - nowMs);
    this.#dueMs = nowMs + (isLimited ? (owedMs * this.#bytesPerSecond) / rate : 0);
    this.#bytesPerSecond = rate;
    this.#wake();
  }

  /** How much of a write is to be passed at a time. */
  get pieceSize(): number {
    const size = Math.round(this.#bytesPerSecond * burstSeconds);
    return Math.min(pieceMax, Math.max(pieceMin, size));
  }

  /** Milliseconds until as much again may go; 0: now. */
  get waitMs(): number {
    const burstMs = Math.max(burstSeconds, pieceMin / this.#bytesPerSecond) * 1000;
    return Math.max(0, this.#dueMs - this.#nowMs() - burstMs);
  }

  /** Counts bytes that go now. */
  pass(bytes: number): void {
    if (!Number.isFinite(this.#bytesPerSecond)) return;
    const ms = (bytes / this.#bytesPerSecond) * 1000;
    this.#dueMs = Math.max(this.#dueMs, this.#nowMs()) + ms;
  }

  /** Resolves when the next piece may go. One waits at a time. */
  async ready(): Promise<void> {
    for (let ms = this.waitMs; ms > 0; ms = this.waitMs) {
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, ms);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}
