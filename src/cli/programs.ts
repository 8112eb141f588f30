// The programs behind the commands, passed in so that tests can put doubles in their place.
import { type Connection, memoryPair } from '../net/connection.ts';
import { dial } from '../net/dial.ts';
import { Listener } from '../net/listener.ts';
import { Receiver } from '../receiver/receiver.ts';
import type { SenderEvent } from '../sender/events.ts';
import { Sender, type SenderOptions } from '../sender/sender.ts';

export type DialOptions = Parameters<typeof dial>[0];
export type ListenOptions = Parameters<typeof Listener.open>[0];
export type ReceiveOptions = Parameters<typeof Receiver.open>[0];

export type RunningReceiver = Pick<Receiver, 'serve' | 'close'>;
export type RunningListener = Pick<Listener, 'address' | 'connections' | 'endRevoked' | 'close'>;
export interface RunningSender {
  run(): AsyncGenerator<SenderEvent>;
  /** False when a thread hangs in the file system. */
  close(): Promise<boolean>;
}

export interface Programs {
  readonly dial: (options: DialOptions) => Promise<Connection>;
  readonly memoryPair: () => [Connection, Connection];
  readonly listen: (options: ListenOptions) => Promise<RunningListener>;
  readonly openReceiver: (options: ReceiveOptions) => Promise<RunningReceiver>;
  readonly openSender: (options: SenderOptions) => Promise<RunningSender>;
}

export const realPrograms: Programs = {
  dial,
  memoryPair,
  listen: options => Listener.open(options),
  openReceiver: options => Receiver.open(options),
  openSender: options => Sender.open(options),
};
