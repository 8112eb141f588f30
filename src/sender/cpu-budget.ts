// How much of the next tick may go into scanning, so that the whole process, threads and children
// included, stays at its share of one core on average. What other work used is taken off; what a
// tick used beyond its budget comes off the next ones.

export interface CpuBudgetOptions {
  /** Of one core; 0.1 is 10%. */
  readonly share: number;
  readonly intervalMs: number;
  /** CPU time the process has used so far. */
  readonly cpuMs: () => number;
  /** Monotonic. */
  readonly nowMs: () => number;
}

/** Saved up while little was to be done, in ticks' worth. */
const creditTicksMax = 3;
/** Owed after a burst of work; the rest is forgiven, or looking would stop for minutes. */
const debtMsMax = 2000;
/** What a tick gets even then, of its nominal budget: changes are found while others are sent. */
const budgetShareMin = 0.2;
/** Two threads work on a scan at times: what it takes by the clock is less than it costs. */
const caution = 0.8;

export class CpuBudget {
  readonly #options: CpuBudgetOptions;
  readonly #nominalMs: number;
  #creditMs: number;
  #cpuMs: number;
  #atMs: number;

  constructor(options: CpuBudgetOptions) {
    this.#options = options;
    this.#nominalMs = options.share * options.intervalMs;
    this.#creditMs = this.#nominalMs;
    this.#cpuMs = options.cpuMs();
    this.#atMs = options.nowMs();
  }

  /** Milliseconds of scanning for the tick that begins now. */
  nextMs(): number {
    const cpuMs = this.#options.cpuMs();
    const atMs = this.#options.nowMs();
    const earned = (atMs - this.#atMs) * this.#options.share;
    const credit = this.#creditMs + earned - (cpuMs - this.#cpuMs);
    this.#creditMs = Math.max(-debtMsMax, Math.min(credit, this.#nominalMs * creditTicksMax));
    this.#cpuMs = cpuMs;
    this.#atMs = atMs;
    return Math.max(this.#creditMs * caution, this.#nominalMs * budgetShareMin);
  }
}
