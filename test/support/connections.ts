// Connections over memory, with their greetings behind them or a bare stream as the other end.
import type { Duplex } from 'node:stream';
import { payloadSizeMax } from '../../src/limits.ts';
import { Connection } from '../../src/net/connection.ts';
import type { ConnectionLimits } from '../../src/net/connection-options.ts';
import { memoryDuplexPair } from '../../src/net/memory-duplex.ts';
import type { Compression } from '../../src/net/packing.ts';
import { encodeFrame } from '../../src/wire/frame.ts';
import type { Message } from '../../src/wire/messages.ts';
import { helloOf, welcome } from './messages.ts';

export interface Side {
  readonly connection: Connection;
  readonly messages: AsyncGenerator<Message, void, void>;
}

/** A sender and a receiver, open. */
export async function openPair(
  limits?: Partial<ConnectionLimits>,
  streams: [Duplex, Duplex] = memoryDuplexPair(),
  compression: readonly (Compression | undefined)[] = [],
): Promise<{ readonly sender: Side; readonly receiver: Side }> {
  const [left, right] = streams;
  const options = { checksum: false, limits };
  const [near, far] = compression;
  const sender = side(Connection.over(left, { ...options, peer: 'receiver', compression: near }));
  const receiver = side(Connection.over(right, { ...options, peer: 'sender', compression: far }));
  const { features } = sender.connection;
  await sender.connection.send(helloOf('sender', { features }));
  await receiver.connection.send(helloOf('receiver', { features: receiver.connection.features }));
  await receiver.messages.next();
  await sender.messages.next();
  sender.connection.setPayloadLimit(payloadSizeMax);
  receiver.connection.setPayloadLimit(payloadSizeMax);
  await receiver.connection.send(welcome);
  await sender.messages.next();
  return { sender, receiver };
}

export function side(connection: Connection): Side {
  return { connection, messages: connection.messages() };
}

/** A connection whose peer is a bare stream, to which anything can be written. */
export function bareEnd(
  limits?: Partial<ConnectionLimits>,
  compression?: Compression,
): Side & { readonly stream: Duplex } {
  const [left, stream] = memoryDuplexPair();
  stream.on('error', () => {});
  const connection = Connection.over(left, {
    checksum: false,
    peer: 'the peer',
    limits,
    compression,
  });
  return { ...side(connection), stream };
}

export function write(stream: Duplex, ...messages: readonly Message[]): void {
  for (const message of messages) stream.write(encodeFrame(message));
}

/** Takes what comes until there is no more; returns it with the error that ended it. */
export async function drain(
  messages: AsyncGenerator<Message, void, void>,
): Promise<{ readonly received: Message[]; readonly error: unknown }> {
  const received: Message[] = [];
  try {
    for await (const message of messages) received.push(message);
    return { received, error: undefined };
  } catch (error) {
    return { received, error };
  }
}
