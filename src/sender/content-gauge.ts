// How much content the changes under way have, and how much of it has gone by: for people who watch
// a first copy, and want to know whether a large file moves.
import type { Change } from './change.ts';
import { clockMs } from './clock.ts';

/** Rates are of about this long, in whole seconds. */
const rateSeconds = 5;

/** What has to be sent since everything was last durable. Sizes are those of files, in bytes. */
export interface ContentFigures {
  /** Gone by: sent, or found at the receiver. */
  readonly bytesDone: number;
  readonly bytesLeft: number;
  /** Of the last seconds; 0 while that is not known. */
  readonly bytesPerSecond: number;
  /** The source is being looked at still: more may be found. */
  readonly isPartial: boolean;
  /** The large file that is being sent, its path made fit to print. */
  readonly file:
    | { readonly path: string; readonly size: number; readonly bytesDone: number }
    | undefined;
}

export class ContentGauge {
  /** By token: the size of each file under way, and what is left of it. */
  readonly #files = new Map<number, { readonly size: number; left: number }>();
  #done = 0;
  #left = 0;
  /** Bytes that went by in each of the last seconds, oldest first. */
  readonly #seconds: { readonly second: number; bytes: number }[] = [];
  #firstMs: number | undefined;
  readonly #nowMs: () => number;

  constructor(nowMs: () => number = clockMs) {
    this.#nowMs = nowMs;
  }

  get bytesDone(): number {
    return this.#done;
  }

  get bytesLeft(): number {
    return this.#left;
  }

  /** What has gone by of the last seconds; 0 before there is one. */
  get bytesPerSecond(): number {
    const nowMs = this.#nowMs();
    if (this.#firstMs === undefined) return 0;
    // The second that is under way is not over.
    const beginMs = Math.max(this.#firstMs, (Math.floor(nowMs / 1000) - rateSeconds) * 1000);
    const ms = nowMs - beginMs;
    if (ms < 1000) return 0;
    const recent = this.#seconds.filter(({ second }) => (second + 1) * 1000 > beginMs);
    return Math.round((recent.reduce((sum, { bytes }) => sum + bytes, 0) * 1000) / ms);
  }

  /** A change was taken from the scanner. */
  take(change: Change): void {
    if (change.kind !== 'file' || change.entry.size === 0) return;
    const { size } = change.entry;
    this.#firstMs ??= this.#nowMs();
    this.#files.set(change.token, { size, left: size });
    this.#left += size;
  }

  /** So much of the file's content is on its way, or need not be sent. */
  pass({ token }: Change, bytes: number): void {
    const file = this.#files.get(token);
    if (file !== undefined) this.#pass(file, Math.min(bytes, file.left));
  }

  /** All of it. */
  passWhole(change: Change): void {
    this.pass(change, Number.POSITIVE_INFINITY);
  }

  /** How much of the file went by. */
  doneOf({ token }: Change): number {
    const file = this.#files.get(token);
    return file === undefined ? 0 : file.size - file.left;
  }

  /** It is durable, or (`isDone`: false) was taken back: what went by of it will do so again. */
  settle(token: number, isDone: boolean): void {
    const file = this.#files.get(token);
    if (file === undefined) return;
    this.#files.delete(token);
    if (isDone) {
      this.#pass(file, file.left);
      return;
    }
    this.#done -= file.size - file.left;
    this.#left -= file.left;
  }

  /** Everything found is durable: what comes now is counted from 0. */
  rest(): void {
    if (this.#files.size > 0) return;
    this.#done = 0;
    this.#seconds.length = 0;
    this.#firstMs = undefined;
  }

  #pass(file: { left: number }, bytes: number): void {
    file.left -= bytes;
    this.#left -= bytes;
    this.#done += bytes;
    const second = Math.floor(this.#nowMs() / 1000);
    const last = this.#seconds.at(-1);
    if (last?.second === second) last.bytes += bytes;
    else this.#seconds.push({ second, bytes });
    if (this.#seconds.length > rateSeconds + 1) this.#seconds.shift();
  }
}
