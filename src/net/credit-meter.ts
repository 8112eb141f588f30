// What is on its way to the peer, and how fast the peer works it off. No clock of its own.
import { ReplicaError } from '../errors.ts';
import { MessageType } from '../wire/messages.ts';

/** A rate is taken over at least this much time in which something was in flight. */
const sampleMs = 50;
/** Weight of a new sample. */
const sampleWeight = 0.25;
/** The shortest round trip is forgotten after this long: routes change. */
const roundTripMemoryMs = 10_000;

export class CreditMeter {
  #sentBytes = 0;
  #creditedBytes = 0;
  /** Start and bytes of the sample under way; time without bytes in flight does not count. */
  #sinceMs = 0;
  #sampleBytes = 0;
  #sampleMs = 0;
  #bytesPerSecond = 0;
  /** A byte count on its way, and when it left. */
  #mark: { readonly bytes: number; readonly atMs: number } | undefined;
  #roundTripMs = 0;
  #roundTripAtMs = 0;

  get inFlightBytes(): number {
    return this.#sentBytes - this.#creditedBytes;
  }

  /** 0 while unknown. */
  get bytesPerSecond(): number {
    return this.#bytesPerSecond;
  }

  /** The shortest time lately from sending a byte to its credit; 0 while unknown. */
  get roundTripMs(): number {
    return this.#roundTripMs;
  }

  sent(bytes: number, nowMs: number): void {
    if (this.inFlightBytes === 0) this.#sinceMs = nowMs;
    this.#sentBytes += bytes;
    this.#mark ??= { bytes: this.#sentBytes, atMs: nowMs };
  }

  /** The peer has handled `total` bytes since the beginning. Throws ERR_PROTOCOL if it cannot. */
  credited(total: bigint, nowMs: number): void {
    if (total < BigInt(this.#creditedBytes) || total > BigInt(this.#sentBytes)) {
      throw new ReplicaError('ERR_PROTOCOL', 'field handled bytes is not within what was sent');
    }
    const bytes = Number(total) - this.#creditedBytes;
    this.#creditedBytes += bytes;
    this.#timeMark(nowMs);
    this.#sampleBytes += bytes;
    this.#sampleMs += nowMs - this.#sinceMs;
    this.#sinceMs = nowMs;
    if (this.#sampleMs < sampleMs) return;
    const rate = (this.#sampleBytes / this.#sampleMs) * 1000;
    const isFirst = this.#bytesPerSecond === 0;
    this.#bytesPerSecond += (rate - this.#bytesPerSecond) * (isFirst ? 1 : sampleWeight);
    this.#sampleBytes = 0;
    this.#sampleMs = 0;
  }

  #timeMark(nowMs: number): void {
    if (this.#mark === undefined || this.#creditedBytes < this.#mark.bytes) return;
    const tookMs = nowMs - this.#mark.atMs;
    const isOld = nowMs - this.#roundTripAtMs > roundTripMemoryMs;
    if (this.#roundTripMs === 0 || isOld || tookMs <= this.#roundTripMs) {
      this.#roundTripMs = tookMs;
      this.#roundTripAtMs = nowMs;
    }
    this.#mark = undefined;
  }
}

/** Whether messages of this type are credited. */
export function isCounted(type: MessageType): boolean {
  const { Ping, Pong, Credit, Failure } = MessageType;
  return type !== Ping && type !== Pong && type !== Credit && type !== Failure;
}
