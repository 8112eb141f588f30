import { ReplicaError } from '../errors.ts';
import type { Failure } from '../wire/messages.ts';

/** What a peer's Failure means to this side. */
export function failureError(failure: Failure, peer: string): ReplicaError {
  const text = `${peer}: ${failure.message}`;
  switch (failure.code) {
    case 'version':
    case 'protocol':
    case 'bug':
      return new ReplicaError('ERR_PROTOCOL', text);
    case 'foreign':
      return new ReplicaError('ERR_FOREIGN', text);
    case 'fenced':
      return new ReplicaError('ERR_FENCED', text);
    case 'io':
      return new ReplicaError('ERR_IO', text);
    case 'busy':
    case 'shutdown':
      return new ReplicaError('ERR_SOCKET', text);
  }
}
