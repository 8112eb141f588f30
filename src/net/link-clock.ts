// When a link is too quiet. Pure: the connection tells it what happens and when, and owns the timer.
//
// A side that has sent nothing for a while sends a Ping, whatever it hears: so each side hears the
// other even while that one is too busy to read. Silence counts only while this side reads.

export interface LinkLimits {
  /** The Hello must be through by then (absolute, from the start). */
  readonly helloMs: number;
  /** Having sent nothing for this long, a side sends a Ping: its peer hears that it lives. */
  readonly pingAfterMs: number;
  /** A side that wants to read and hears nothing for this long gives the link up. */
  readonly deadAfterMs: number;
  /** A frame that began must be complete by then (absolute; not counted while nobody reads)... */
  readonly frameMs: number;
  /** ...and this much later for each second that its bytes take at this rate. */
  readonly slowestBytesPerSecond: number;
}

/** What is to be done now, and in how many ms to ask again. */
export type LinkVerdict =
  | { readonly kind: 'quiet'; readonly againMs: number }
  | { readonly kind: 'ping'; readonly againMs: number }
  /** `why` goes on after the peer's name. */
  | { readonly kind: 'dead'; readonly why: string };

/** Between the two looks at a silent link. */
const secondLookMs = 50;

export class LinkClock {
  readonly #limits: LinkLimits;
  readonly #startedAt: number;
  #isGreeted = false;
  #isReading = false;
  #sentAt: number;
  #heardAt: number;
  #frameSince: number | undefined;
  #frameSize = 0;
  #isSuspect = false;

  constructor(limits: LinkLimits, nowMs: number) {
    this.#limits = limits;
    this.#startedAt = nowMs;
    this.#sentAt = nowMs;
    this.#heardAt = nowMs;
  }

  /** The Hello is through. */
  greet(): void {
    this.#isGreeted = true;
  }

  sent(nowMs: number): void {
    this.#sentAt = nowMs;
  }

  /** The consumer waits for a frame, which has begun if `partialSize` is not 0. */
  startReading(nowMs: number, partialSize: number): void {
    this.#isReading = true;
    this.#heardAt = nowMs;
    this.#isSuspect = false;
    this.#frameSince = partialSize > 0 ? nowMs : undefined;
    this.#frameSize = partialSize;
  }

  /** The consumer has its frame, or none will come. */
  stopReading(): void {
    this.#isReading = false;
  }

  /** Bytes came; `partialSize`: of the frame that they left incomplete, or 0. */
  heard(nowMs: number, partialSize: number): void {
    this.#heardAt = nowMs;
    this.#isSuspect = false;
    this.#frameSize = partialSize;
    if (partialSize === 0) this.#frameSince = undefined;
    else this.#frameSince ??= nowMs;
  }

  check(nowMs: number): LinkVerdict {
    const { helloMs, pingAfterMs, deadAfterMs } = this.#limits;
    const why = this.#overdue(nowMs);
    if (why !== undefined) return { kind: 'dead', why };
    const isPing = nowMs - this.#sentAt >= pingAfterMs;
    if (isPing) this.#sentAt = nowMs;
    const due = Math.min(
      this.#sentAt + pingAfterMs,
      (this.#isReading ? this.#heardAt : nowMs) + deadAfterMs,
      (this.#isReading ? (this.#frameSince ?? nowMs) : nowMs) + this.#frameMs,
      this.#isGreeted ? Number.POSITIVE_INFINITY : this.#startedAt + helloMs,
    );
    const againMs = Math.max(due - nowMs, this.#isSuspect ? secondLookMs : 1);
    return { kind: isPing && this.#isGreeted ? 'ping' : 'quiet', againMs };
  }

  /** What the frame under way may take: a slow link has time for a large one. */
  get #frameMs(): number {
    const { frameMs, slowestBytesPerSecond } = this.#limits;
    return frameMs + (this.#frameSize / slowestBytesPerSecond) * 1000;
  }

  #overdue(nowMs: number): string | undefined {
    const { helloMs, deadAfterMs } = this.#limits;
    const frameMs = this.#frameMs;
    if (!this.#isGreeted && nowMs - this.#startedAt >= helloMs) {
      return `sent no greeting within ${helloMs / 1000} s`;
    }
    if (!this.#isReading) return undefined;
    if (this.#frameSince !== undefined && nowMs - this.#frameSince >= frameMs) {
      return `did not complete a frame within ${Math.round(frameMs) / 1000} s`;
    }
    if (nowMs - this.#heardAt < deadAfterMs) return undefined;
    // After this process was held up, what came meanwhile is still to be read: look twice.
    const wasSuspect = this.#isSuspect;
    this.#isSuspect = true;
    return wasSuspect ? `gave no answer for ${deadAfterMs / 1000} s` : undefined;
  }
}
