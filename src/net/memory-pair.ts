// Both ends of a connection in one process: a local destination, and tests.
import { Connection } from './connection.ts';
import { memoryDuplexPair } from './memory-duplex.ts';
import type { Throttle } from './throttle.ts';

/**
 * Two connections within this process, with the same frames and checks as over a network. What the
 * first one writes keeps to `throttle`.
 */
export function memoryPair(throttle?: Throttle): [Connection, Connection] {
  const [left, right] = memoryDuplexPair();
  // No key wears out here.
  const limits = { tlsRecordsMax: Number.POSITIVE_INFINITY };
  const options = { checksum: false, peer: 'this process', limits };
  return [Connection.over(left, { ...options, throttle }), Connection.over(right, options)];
}
