// What is wrong with the peer, in the words of this side.
import { ReplicaError } from '../errors.ts';
import { decodeMessage } from '../wire/codec.ts';
import type { Frame } from '../wire/frame-decoder.ts';
import {
  type Failure,
  type Hello,
  MessageType,
  protocolMajor,
  protocolMinor,
} from '../wire/messages.ts';

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
    case 'unable':
      return new ReplicaError('ERR_USAGE', text);
    case 'io':
      return new ReplicaError('ERR_IO', text);
    case 'busy':
    case 'shutdown':
      return new ReplicaError('ERR_SOCKET', text);
  }
}

/** Why the peer closed, if it said so in a frame that nobody has read yet. */
export function lastFailure(frames: readonly Frame[], peer: string): ReplicaError | undefined {
  const frame = frames.find(one => one.type === MessageType.Failure);
  if (!frame) return undefined;
  try {
    const message = decodeMessage(frame.type, frame.payload);
    return message.type === MessageType.Failure ? failureError(message, peer) : undefined;
  } catch (error) {
    // Damaged: whoever reads it will say so.
    if (error instanceof ReplicaError) return undefined;
    throw error;
  }
}

/** For a Hello of another major version. */
export function otherVersion(hello: Hello): ReplicaError {
  const text =
    `protocol version ${hello.major}.${hello.minor} at one end, ` +
    `${protocolMajor}.${protocolMinor} at the other: install the same release of replica on both`;
  return new ReplicaError('ERR_PROTOCOL', text);
}
