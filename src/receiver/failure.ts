// What the peer is told of an error that ends its session.
import { ReplicaError } from '../errors.ts';
import type { Failure } from '../wire/messages.ts';
import { fatalMessage } from './rejection.ts';

/** System errors of the whole destination, as one of ours; anything else as it is. */
export function sessionError(error: unknown): unknown {
  const message = fatalMessage(error);
  return message === undefined ? error : new ReplicaError('ERR_IO', message, { cause: error });
}

/** A full disk, or one that fails. */
export function isInputOutput(error: unknown): boolean {
  const cause = sessionError(error);
  return cause instanceof ReplicaError && cause.code === 'ERR_IO';
}

/** Undefined: the connection is broken, there is nobody to tell. */
export function failureOf(error: unknown): Omit<Failure, 'type'> | undefined {
  if (!(error instanceof ReplicaError)) return { code: 'bug', message: 'internal error' };
  const { message } = error;
  switch (error.code) {
    case 'ERR_PROTOCOL':
      return { code: 'protocol', message };
    case 'ERR_FENCED':
      return { code: 'fenced', message };
    case 'ERR_FOREIGN':
      return { code: 'foreign', message };
    case 'ERR_USAGE':
      return { code: 'unable', message };
    case 'ERR_SOCKET':
      return undefined;
    default:
      return { code: 'io', message };
  }
}

/** For the log of the receiver. */
export function fencedText(peer: string): string {
  return `a newer push of the same source took over from ${peer}`;
}

export function fenced(): ReplicaError {
  return new ReplicaError('ERR_FENCED', 'a newer sender of the same source took over');
}

export function foreign(owner: string, label: string): ReplicaError {
  return new ReplicaError('ERR_FOREIGN', `this replica belongs to ${owner} ${label}`);
}
