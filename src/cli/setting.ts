// One value and where it came from, so that an error can name it.
import { ReplicaError } from '../errors.ts';

/** What the user gave, and the words an error names it by: '--interval', 'REPLICA_INTERVAL'. */
export interface Setting<T> {
  readonly value: T;
  readonly origin: string;
}

/** An ERR_USAGE that names where the value came from. */
export function usage(origin: string, message: string): ReplicaError {
  return new ReplicaError('ERR_USAGE', `${origin}: ${message}`);
}
