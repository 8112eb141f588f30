// Memory of a thread that was busy and is at rest now. The engine tidies up as it needs room: a
// thread that needs none keeps what a first copy left, for as long as nothing is to be done.
import { performance } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';

/** How often a thread is asked whether it is at rest: a look at a large tree takes less. */
const checkMs = 15_000;
/** Share of the time since the last check, of which a thread at rest works less. */
const restShare = 0.2;
/** Heap beyond what was left when it was last tidied up. */
const growthMin = 4 * 1024 * 1024;

export interface HeapRestOptions {
  /** Lets go of all that is not in use: some 20 ms of work. */
  readonly collect: () => void;
  /** The heap, in bytes, and the share of the time since the last call that was work; for tests. */
  readonly heapSize?: () => number;
  readonly workShare?: () => number;
}

/** Of one thread. */
export class HeapRest {
  readonly #collect: () => void;
  readonly #heapSize: () => number;
  readonly #workShare: () => number;
  readonly #timer: NodeJS.Timeout;
  #keptSize = 0;

  constructor({ collect, heapSize = sizeOfHeap, workShare = newWorkShare() }: HeapRestOptions) {
    this.#collect = collect;
    this.#heapSize = heapSize;
    this.#workShare = workShare;
    this.#timer = setInterval(() => this.check(), checkMs).unref();
  }

  check(): void {
    if (this.#workShare() > restShare || this.#heapSize() < this.#keptSize + growthMin) return;
    this.#collect();
    this.#keptSize = this.#heapSize();
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

function sizeOfHeap(): number {
  return getHeapStatistics().total_heap_size;
}

function newWorkShare(): () => number {
  let before = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    return utilization;
  };
}
