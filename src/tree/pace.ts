// Is a file system slow? A call of a local one takes 5 to 50 µs, one over a network 200 and more.
// Most calls must have taken that long, not all of them on average: on a busy machine, or in a
// container that used up its share of CPU, a thread is not run for 100 ms now and then, which is
// the time of 20,000 calls.

const slowCallMs = 0.2;
/** Calls that a verdict is made from. */
const callsMin = 256;
/** Calls that are timed together, at most: reading the clock for each would cost as much as some. */
export const timedCallsMax = 16;

export class Pace {
  #calls = 0;
  #slowCalls = 0;

  /** True when most calls so far were slow ones. A verdict begins the count anew. */
  note(calls: number, tookMs: number): boolean {
    this.#calls += calls;
    if (tookMs >= calls * slowCallMs) this.#slowCalls += calls;
    if (this.#calls < callsMin) return false;
    const isSlow = this.#slowCalls * 2 > this.#calls;
    this.#calls = 0;
    this.#slowCalls = 0;
    return isSlow;
  }
}
