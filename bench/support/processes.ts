// What a process and its children cost: CPU seconds and anonymous memory, read from /proc.
import fs from 'node:fs';

const ticksPerSecond = 100;

export interface Cost {
  readonly cpuSeconds: number;
  /** The largest RssAnon seen, in MiB: VmHWM would count mapped database pages. */
  readonly anonymousMib: number;
}

/** Samples a process until `stop`. */
export class ProcessMeter {
  readonly #pid: number;
  readonly #timer: NodeJS.Timeout;
  readonly #startSeconds: number;
  #anonymousKib = 0;
  #cpuSeconds = 0;

  constructor(pid: number) {
    this.#pid = pid;
    this.#startSeconds = cpuSecondsOf(pid);
    this.#timer = setInterval(() => this.#sample(), 50);
    this.#sample();
  }

  #sample(): void {
    try {
      this.#cpuSeconds = cpuSecondsOf(this.#pid) - this.#startSeconds;
      const status = fs.readFileSync(`/proc/${this.#pid}/status`, 'utf8');
      const anonymous = Number(/RssAnon:\s+(\d+)/.exec(status)?.[1] ?? 0);
      this.#anonymousKib = Math.max(this.#anonymousKib, anonymous);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
    }
  }

  stop(): Cost {
    this.#sample();
    clearInterval(this.#timer);
    return { cpuSeconds: this.#cpuSeconds, anonymousMib: this.#anonymousKib / 1024 };
  }
}

/** User and system time of a process, its ended children included. */
function cpuSecondsOf(pid: number): number {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // utime, stime, cutime, cstime: fields 14 to 17 of proc(5), counted from 'state', field 3.
  return fields.slice(11, 15).reduce((sum, text) => sum + Number(text), 0) / ticksPerSecond;
}
