// The programs behind the commands, passed in so that tests can put doubles in their place. Each is
// loaded when it is first needed: half of a short run's time went into modules it did not use.
import type { Connection } from '../net/connection.ts';
import type { dial } from '../net/dial.ts';
import type { Listener } from '../net/listener.ts';
import type { Receiver } from '../receiver/receiver.ts';
import type { SenderEvent } from '../sender/events.ts';
import type { SenderOptions } from '../sender/sender.ts';
import type { Verifier, VerifierOptions } from '../sender/verifier.ts';
import type { StartCommand } from './child-command.ts';

export type DialOptions = Parameters<typeof dial>[0];
export type ListenOptions = Parameters<typeof Listener.open>[0];
export type ReceiveOptions = Parameters<typeof Receiver.open>[0];

export type RunningReceiver = Pick<Receiver, 'serve' | 'close'> &
  Partial<Pick<Receiver, 'figures'>>;
export type RunningListener = Pick<Listener, 'address' | 'connections' | 'endRevoked' | 'close'>;
export interface RunningSender {
  run(): AsyncGenerator<SenderEvent>;
  /** False when a thread hangs in the file system. */
  close(): Promise<boolean>;
}

export type RunningVerifier = Pick<Verifier, 'pass' | 'again' | 'mend' | 'close'>;

export interface Programs {
  readonly dial: (options: DialOptions) => Promise<Connection>;
  readonly memoryPair: () => Promise<[Connection, Connection]>;
  readonly listen: (options: ListenOptions) => Promise<RunningListener>;
  readonly openReceiver: (options: ReceiveOptions) => Promise<RunningReceiver>;
  readonly openSender: (options: SenderOptions) => Promise<RunningSender>;
  readonly openVerifier: (options: VerifierOptions) => Promise<RunningVerifier>;
  /** Default: a process of its own. */
  readonly startCommand?: StartCommand;
}

export const realPrograms: Programs = {
  dial: async options => (await import('../net/dial.ts')).dial(options),
  memoryPair: async () => (await import('../net/memory-pair.ts')).memoryPair(),
  listen: async options => (await import('../net/listener.ts')).Listener.open(options),
  openReceiver: async options => (await import('../receiver/receiver.ts')).Receiver.open(options),
  openSender: async options => (await import('../sender/sender.ts')).Sender.open(options),
  openVerifier: async options => (await import('../sender/verifier.ts')).Verifier.open(options),
};
