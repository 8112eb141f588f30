// One clock for all threads of the process: performance.now() counts from each thread's own start.
import { performance } from 'node:perf_hooks';

/** Milliseconds, monotonic, comparable between threads; says nothing about the time of day. */
export function clockMs(): number {
  return performance.timeOrigin + performance.now();
}
