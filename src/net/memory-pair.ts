// Both ends of a connection in one process: a local destination, and tests.
import { Connection } from './connection.ts';
import { memoryDuplexPair } from './memory-duplex.ts';

/** Two connections within this process, with the same frames and checks as over a network. */
export function memoryPair(): [Connection, Connection] {
  const [left, right] = memoryDuplexPair();
  const options = { checksum: false, peer: 'this process' };
  return [Connection.over(left, options), Connection.over(right, options)];
}
