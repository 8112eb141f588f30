// What a receiver says first.
import {
  type Hello,
  MessageType,
  protocolMagic,
  protocolMajor,
  protocolMinor,
} from '../wire/messages.ts';

/** `instanceId`: 16 bytes. */
export function receiverHello(features: bigint, instanceId: Buffer): Hello {
  return {
    type: MessageType.Hello,
    magic: protocolMagic,
    major: protocolMajor,
    minor: protocolMinor,
    features,
    role: 'receiver',
    sourceId: Buffer.alloc(16),
    instanceId,
    label: '',
    takeOver: false,
  };
}
