// The receivers of `replica receive`: one, or several behind one listener.
import type { Connection } from '../net/connection.ts';
import type { ReceiverFigures } from '../receiver/figures.ts';
import { Switchboard } from '../receiver/switchboard.ts';
import type { Destination } from './destinations.ts';
import type { Programs, ReceiveOptions, RunningReceiver } from './programs.ts';

export interface Replica extends Destination {
  readonly figures: () => ReceiverFigures | undefined;
}

export interface Replicas {
  readonly replicas: readonly Replica[];
  serve(connection: Connection): Promise<void>;
  close(): Promise<void>;
}

interface OpenOptions {
  readonly openReceiver: Programs['openReceiver'];
  readonly options: Omit<ReceiveOptions, 'root'>;
}

/** All of them, or none: throws what the first that cannot be opened fails with. */
export async function openReplicas(
  destinations: readonly Destination[],
  { openReceiver, options }: OpenOptions,
): Promise<Replicas> {
  const opened: { readonly destination: Destination; readonly receiver: RunningReceiver }[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(opened.map(({ receiver }) => receiver.close()));
  };
  try {
    for (const destination of destinations) {
      const receiver = await openReceiver({ ...options, root: destination.root });
      opened.push({ destination, receiver });
    }
  } catch (error) {
    await close();
    throw error;
  }
  const replicas = opened.map(({ destination, receiver }) => ({
    ...destination,
    figures: () => receiver.figures,
  }));
  const [only] = opened;
  if (opened.length === 1 && only?.destination.name === '') {
    return { replicas, close, serve: connection => only.receiver.serve(connection) };
  }
  const byName = new Map(opened.map(one => [one.destination.name, one.receiver]));
  const switchboard = new Switchboard(byName, options.log);
  return { replicas, close, serve: connection => switchboard.serve(connection) };
}
