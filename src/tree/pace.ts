// Is a file system slow? A call of a local one takes 5 to 50 µs, one over a network 200 and more.

const slowCallMs = 0.2;
/** Calls that a verdict is made from. */
const callsMin = 256;
/** What one look counts at most, per call: a hiccup says nothing. */
const callMsMax = 2;

export class Pace {
  #calls = 0;
  #tookMs = 0;

  /** True when the calls so far were slow ones. A verdict begins the count anew. */
  note(calls: number, tookMs: number): boolean {
    this.#calls += calls;
    this.#tookMs += Math.min(tookMs, calls * callMsMax);
    if (this.#calls < callsMin) return false;
    const isSlow = this.#tookMs >= this.#calls * slowCallMs;
    this.#calls = 0;
    this.#tookMs = 0;
    return isSlow;
  }
}
