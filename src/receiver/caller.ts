// Who is calling: a connection from its first message on.
import { ReplicaError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Connection } from '../net/connection.ts';
import { canSetOwners } from '../tree/capabilities.ts';
import {
  givesGrains,
  type Hello,
  knowsXattrs,
  type Message,
  MessageType,
  setsOwners,
} from '../wire/messages.ts';
import { receiverHello } from './hello.ts';

export interface Caller {
  readonly hello: Hello;
  /** What comes after it. */
  readonly messages: AsyncGenerator<Message>;
}

/** For the log: who it is, by the name that it has for its source. */
export function noteCaller(log: Log, { peer }: Connection, { role, label }: Hello): void {
  log.info({ peer, source: label }, `${role} connected: ${label}`);
}

/** Says hello and hears one; undefined when the caller left. Throws what ends the connection. */
export async function hear(
  connection: Connection,
  instanceId: Buffer,
): Promise<Caller | undefined> {
  const owners = canSetOwners() ? setsOwners : 0n;
  const features = connection.features | owners | givesGrains | knowsXattrs;
  await connection.send(receiverHello(features, instanceId));
  const messages = connection.messages();
  const first = await messages.next();
  if (first.done) return undefined;
  const hello = first.value;
  if (hello.type !== MessageType.Hello) {
    throw new ReplicaError('ERR_PROTOCOL', 'the first message is no hello');
  }
  return { hello, messages };
}
