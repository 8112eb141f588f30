// What the process takes, under the names that Prometheus clients agree on.

import { processCpuMs } from './cpu-time.ts';
import { type Family, single } from './exposition.ts';
import { readVersion } from './version.ts';

/** When the process began, in seconds since 1970. */
const startSeconds = Math.round(performance.timeOrigin) / 1000;

export function processFamilies(): readonly Family[] {
  return [
    {
      name: 'replica_build_info',
      type: 'gauge',
      help: 'Always 1; what is running.',
      samples: [{ labels: { version: readVersion(), node: process.version }, value: 1 }],
    },
    single(
      'counter',
      'process_cpu_seconds_total',
      'CPU time of the process, its threads and its ended children.',
      processCpuMs() / 1000,
    ),
    single(
      'gauge',
      'process_resident_memory_bytes',
      'Resident memory; mapped pages of the state count.',
      process.memoryUsage.rss(),
    ),
    single(
      'gauge',
      'process_start_time_seconds',
      'Start of the process, in seconds since 1970.',
      startSeconds,
    ),
  ];
}
