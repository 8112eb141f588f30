// Lines that say again what was just said: a disk stays full for a night.

/** The same line is worth saying that often. */
export const sameLineMs = 60_000;
/** Different lines that are remembered. */
const linesMax = 100;

export class RepeatedLines {
  readonly #saidAtMs = new Map<string, number>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Was it not said in the last minute? */
  isNews(line: string): boolean {
    const nowMs = this.#nowMs();
    const saidAtMs = this.#saidAtMs.get(line);
    if (saidAtMs !== undefined && nowMs - saidAtMs < sameLineMs) return false;
    if (this.#saidAtMs.size >= linesMax) this.#saidAtMs.clear();
    this.#saidAtMs.set(line, nowMs);
    return true;
  }
}
