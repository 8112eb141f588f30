// What a process and its children cost, read from /proc: CPU seconds, anonymous memory, bytes written.
import fs from 'node:fs';

const ticksPerSecond = 100;

export interface Cost {
  readonly cpuSeconds: number;
  /** The largest RssAnon seen, in MiB: VmHWM would count mapped database pages. */
  readonly anonymousMib: number;
  /** Bytes given to write calls and in-kernel copies (wchar of proc(5)), sockets included. */
  readonly bytesWritten: number;
  /** Bytes that have to go to a disk (write_bytes): 0 on tmpfs. */
  readonly diskBytes: number;
}

/** Samples a process until `stop`. */
export class ProcessMeter {
  readonly #pid: number;
  readonly #timer: NodeJS.Timeout;
  readonly #startSeconds: number;
  #anonymousKib = 0;
  #cpuSeconds = 0;
  readonly #startIo: Io;
  #io: Io;

  constructor(pid: number) {
    this.#pid = pid;
    this.#startSeconds = cpuSecondsOf(pid);
    this.#startIo = ioOf(pid);
    this.#io = this.#startIo;
    this.#timer = setInterval(() => this.#sample(), 50);
    this.#sample();
  }

  #sample(): void {
    try {
      this.#cpuSeconds = cpuSecondsOf(this.#pid) - this.#startSeconds;
      this.#anonymousKib = Math.max(this.#anonymousKib, anonymousKibOf(this.#pid));
      this.#io = ioOf(this.#pid);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
    }
  }

  stop(): Cost {
    this.#sample();
    clearInterval(this.#timer);
    return {
      cpuSeconds: this.#cpuSeconds,
      anonymousMib: this.#anonymousKib / 1024,
      bytesWritten: this.#io.called - this.#startIo.called,
      diskBytes: this.#io.disk - this.#startIo.disk,
    };
  }
}

/** User and system time of a process, its ended children included. */
export function cpuSecondsOf(pid: number): number {
  // utime, stime, cutime, cstime.
  return secondsInStat(pid, 14, 17);
}

/** CPU of the ended children of this process. */
export function endedChildrenSeconds(): number {
  // cutime, cstime.
  return secondsInStat(process.pid, 16, 17);
}

/** The sum of fields of /proc/PID/stat, as proc(5) numbers them. */
function secondsInStat(pid: number, first: number, last: number): number {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
  // From 'state', field 3.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(first - 3, last - 2).reduce((sum, text) => sum + Number(text), 0);
  return ticks / ticksPerSecond;
}

/**
 * What all processes of a tool cost together, sampled until `stop`: those that `pidsOf` names, what
 * runs below them, and children of this process that ended meanwhile (no others may).
 */
export class ToolMeter {
  readonly #pidsOf: () => readonly number[];
  readonly #timer: NodeJS.Timeout;
  readonly #startSeconds: number;
  #anonymousKib = 0;

  constructor(pidsOf: () => readonly number[]) {
    this.#pidsOf = pidsOf;
    this.#startSeconds = this.#cpuSeconds();
    this.#timer = setInterval(() => this.#sample(), 100);
    this.#sample();
  }

  #cpuSeconds(): number {
    const living = familyOf(this.#pidsOf()).reduce(
      (sum, pid) => sum + orZero(pid, cpuSecondsOf),
      0,
    );
    return living + endedChildrenSeconds();
  }

  #sample(): void {
    const pids = familyOf(this.#pidsOf());
    const kib = pids.reduce((sum, pid) => sum + orZero(pid, anonymousKibOf), 0);
    this.#anonymousKib = Math.max(this.#anonymousKib, kib);
  }

  stop(): { readonly cpuSeconds: number; readonly anonymousMib: number } {
    this.#sample();
    clearInterval(this.#timer);
    const cpuSeconds = Math.max(0, this.#cpuSeconds() - this.#startSeconds);
    return { cpuSeconds, anonymousMib: this.#anonymousKib / 1024 };
  }
}

/** The processes and all their descendants. */
function familyOf(pids: readonly number[]): number[] {
  const childrenOf = (pid: number): number[] => {
    // Each thread has children of its own.
    const threads = fs.readdirSync(`/proc/${pid}/task`);
    const texts = threads.map(id => fs.readFileSync(`/proc/${pid}/task/${id}/children`, 'latin1'));
    return texts.flatMap(text => text.split(' ').filter(Boolean).map(Number));
  };
  const found = [...pids];
  for (const pid of found) found.push(...orEmpty(pid, childrenOf));
  return found;
}

function anonymousKibOf(pid: number): number {
  const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/RssAnon:\s+(\d+)/.exec(status)?.[1] ?? 0);
}

/** Processes end while they are looked at. */
function orZero(pid: number, read: (pid: number) => number): number {
  return orEmpty(pid, pid => [read(pid)])[0] ?? 0;
}

function orEmpty(pid: number, read: (pid: number) => number[]): number[] {
  try {
    return read(pid);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    return [];
  }
}

interface Io {
  readonly called: number;
  readonly disk: number;
}

/** Ended children that were waited for are included. */
function ioOf(pid: number): Io {
  const text = fs.readFileSync(`/proc/${pid}/io`, 'latin1');
  const field = (name: string) => Number(new RegExp(`^${name}: (\\d+)`, 'm').exec(text)?.[1] ?? 0);
  return { called: field('wchar'), disk: field('write_bytes') };
}
