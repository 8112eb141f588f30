// What is wrong with the peer, in the words of this side.
import { ReplicaError } from '../errors.ts';
import { type Failure, type Hello, protocolMajor, protocolMinor } from '../wire/messages.ts';

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

/** For a Hello of another major version. */
export function otherVersion(hello: Hello): ReplicaError {
  const text =
    `protocol version ${hello.major}.${hello.minor} at one end, ` +
    `${protocolMajor}.${protocolMinor} at the other: install the same release of replica on both`;
  return new ReplicaError('ERR_PROTOCOL', text);
}
