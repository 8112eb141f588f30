// Time spent working, pauses not counted.
import { clockMs } from './clock.ts';

export class Stopwatch {
  #before = 0;
  #begunMs: number | undefined;

  get ms(): number {
    return this.#before + (this.#begunMs === undefined ? 0 : clockMs() - this.#begunMs);
  }

  reset(): void {
    this.#before = 0;
    if (this.#begunMs !== undefined) this.#begunMs = clockMs();
  }

  go(): void {
    this.#begunMs = clockMs();
  }

  stop(): void {
    this.#before = this.ms;
    this.#begunMs = undefined;
  }
}
