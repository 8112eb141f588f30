// The programs behind the commands, passed in so that tests can put doubles in their place. Each is
// loaded when it is first needed: half of a short run's time went into modules it did not use.
import type { Duplex } from 'node:stream';
import type { Connection } from '../net/connection.ts';
import type { ConnectionOptions } from '../net/connection-options.ts';
import type { dial } from '../net/dial.ts';
import type { Listener } from '../net/listener.ts';
import type { Throttle } from '../net/throttle.ts';
import type { Receiver } from '../receiver/receiver.ts';
import type { Sender } from '../sender/sender.ts';
import type { SenderOptions } from '../sender/sender-options.ts';
import type { Verifier, VerifierOptions } from '../sender/verifier.ts';
import type { StartCommand } from './child-command.ts';
import type { SshOptions } from './ssh.ts';

export type DialOptions = Parameters<typeof dial>[0];
export type ListenOptions = Parameters<typeof Listener.open>[0];
export type ReceiveOptions = Parameters<typeof Receiver.open>[0];

export type RunningReceiver = Pick<Receiver, 'serve' | 'close'> &
  Partial<Pick<Receiver, 'figures'>>;
export type RunningListener = Pick<Listener, 'address' | 'connections' | 'endRevoked' | 'close'>;
export type RunningSender = Pick<
  Sender,
  'run' | 'close' | 'status' | 'pending' | 'explain' | 'flush' | 'pause' | 'resume' | 'decide'
>;

export type RunningVerifier = Pick<Verifier, 'pass' | 'again' | 'mend' | 'close'>;

export interface Programs {
  readonly dial: (options: DialOptions) => Promise<Connection>;
  readonly dialSsh: (options: SshOptions) => Promise<Connection>;
  /** A pipe that something else protects. */
  readonly connectionOver: (
    stream: Duplex,
    peer: string,
    options: Pick<ConnectionOptions, 'signal' | 'onRead'>,
  ) => Promise<Connection>;
  readonly memoryPair: (throttle?: Throttle) => Promise<[Connection, Connection]>;
  readonly listen: (options: ListenOptions) => Promise<RunningListener>;
  readonly openReceiver: (options: ReceiveOptions) => Promise<RunningReceiver>;
  readonly openSender: (options: SenderOptions) => Promise<RunningSender>;
  readonly openVerifier: (options: VerifierOptions) => Promise<RunningVerifier>;
  /** Default: a process of its own. */
  readonly startCommand?: StartCommand;
}

export const realPrograms: Programs = {
  dial: async options => (await import('../net/dial.ts')).dial(options),
  dialSsh: async options => (await import('./ssh.ts')).dialSsh(options),
  connectionOver: async (stream, peer, options) => {
    const { Connection } = await import('../net/connection.ts');
    return Connection.over(stream, { checksum: true, peer, ...options });
  },
  memoryPair: async throttle => (await import('../net/memory-pair.ts')).memoryPair(throttle),
  listen: async options => (await import('../net/listener.ts')).Listener.open(options),
  openReceiver: async options => (await import('../receiver/receiver.ts')).Receiver.open(options),
  openSender: async options => (await import('../sender/sender.ts')).Sender.open(options),
  openVerifier: async options => (await import('../sender/verifier.ts')).Verifier.open(options),
};
