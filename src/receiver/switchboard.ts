// Several replicas behind one listener: the name in a Hello says which one is meant.
import { randomBytes } from 'node:crypto';
import { ReplicaError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Connection } from '../net/connection.ts';
import { fromUserPath, printable } from '../snapshot/name.ts';
import type { Hello } from '../wire/messages.ts';
import { hear } from './caller.ts';
import { failureOf, sessionError } from './failure.ts';
import type { Receiver } from './receiver.ts';

export class Switchboard {
  /** By name; '' is the one without. */
  readonly #receivers: ReadonlyMap<string, Pick<Receiver, 'serve'>>;
  readonly #log: Log;
  readonly #instanceId = randomBytes(16);

  constructor(receivers: ReadonlyMap<string, Pick<Receiver, 'serve'>>, log: Log) {
    this.#receivers = receivers;
    this.#log = log;
  }

  /** One connection until it ends; never rejects. */
  async serve(connection: Connection): Promise<void> {
    try {
      const caller = await hear(connection, this.#instanceId);
      if (caller === undefined) return await connection.close();
      await this.#receiverFor(caller.hello).serve(connection, caller);
    } catch (error) {
      const reason = sessionError(error);
      const { peer } = connection;
      if (!(reason instanceof ReplicaError))
        this.#log.error({ peer, err: error }, 'internal error');
      else if (reason.code === 'ERR_SOCKET') this.#log.info({ peer }, reason.message);
      else this.#log.warn({ peer, code: reason.code }, reason.message);
      await connection.close(failureOf(error));
    }
  }

  #receiverFor({ replica = '' }: Hello): Pick<Receiver, 'serve'> {
    const receiver = this.#receivers.get(replica);
    if (receiver !== undefined) return receiver;
    const names = [...this.#receivers.keys()].filter(name => name !== '').join(', ');
    const text = replica === '' ? 'which replica?' : `there is no replica ${quoted(replica)};`;
    throw new ReplicaError('ERR_FOREIGN', `${text} this receiver holds ${names}: ${remedy}`);
  }
}

const remedy = 'give replica://host/name';

/** Throws ERR_FOREIGN: a receiver of one replica has no name for it. */
export function refuseName({ replica }: Hello): void {
  if (replica === undefined) return;
  const text = `there is no replica ${quoted(replica)}: this receiver holds one, without a name`;
  throw new ReplicaError('ERR_FOREIGN', text);
}

function quoted(name: string): string {
  return `'${printable(fromUserPath(name))}'`;
}
