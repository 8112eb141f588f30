// What a receiver did and holds, for --metrics.
import type { Connection } from '../net/connection.ts';
import type { ReceiverFigures } from '../receiver/figures.ts';
import { type Family, type Sample, single } from './exposition.ts';
import type { Health, Metrics } from './metrics-server.ts';
import type { Replica } from './open-replicas.ts';

type Counted = Pick<Connection, 'bytesReceived' | 'bytesSent'>;

export class ReceiveMetrics implements Metrics {
  readonly #replicas: readonly Replica[];
  readonly #live = new Set<Counted>();
  #connections = 0;
  #bytesReceived = 0;
  #bytesSent = 0;

  constructor(replicas: readonly Replica[]) {
    this.#replicas = replicas;
  }

  began(connection: Counted): void {
    this.#connections++;
    this.#live.add(connection);
  }

  ended(connection: Counted): void {
    if (!this.#live.delete(connection)) return;
    this.#bytesReceived += connection.bytesReceived;
    this.#bytesSent += connection.bytesSent;
  }

  health(): Health {
    for (const { name, figures } of this.#replicas) {
      const reason = troubleOf(figures());
      if (reason === undefined) continue;
      return { isHealthy: false, reason: name === '' ? reason : `${name}: ${reason}` };
    }
    return { isHealthy: true, state: 'a sender is connected' };
  }

  families(): readonly Family[] {
    let received = this.#bytesReceived;
    let sent = this.#bytesSent;
    for (const one of this.#live) {
      received += one.bytesReceived;
      sent += one.bytesSent;
    }
    return [
      {
        name: 'replica_receive_info',
        type: 'gauge',
        help: 'Always 1; where the replica is.',
        samples: this.#replicas.map(({ name, root }) => ({
          labels: { destination: root, ...(name === '' ? {} : { replica: name }) },
          value: 1,
        })),
      },
      this.#each('gauge', 'connected', '1 while a sender has a session.', one => +one.hasSender),
      gauge('connections', 'Open connections, verifiers included.', this.#live.size),
      counter('connections_total', 'Connections that passed the handshake.', this.#connections),
      this.#each(
        'counter',
        'failed_sessions_total',
        'Sessions ended by a failure.',
        one => one.failedSessions,
      ),
      counter('received_bytes_total', 'Bytes received, as on the wire.', received),
      counter('answered_bytes_total', 'Bytes sent back, as on the wire.', sent),
      this.#each('counter', 'commits_total', 'Durable commits.', one => one.commits),
      this.#each(
        'counter',
        'operations_total',
        'Operations of durable commits.',
        one => one.operations,
      ),
      {
        name: 'replica_commit_seconds',
        type: 'summary',
        help: 'Making groups of commits durable and applying them.',
        samples: this.#samples(figures => [
          { suffix: '_sum', value: figures.ms / 1000 },
          { suffix: '_count', value: figures.groups },
        ]),
      },
      this.#each(
        'gauge',
        'watermark',
        'Number of the newest durable commit.',
        one => one.watermark,
      ),
      this.#each('gauge', 'entries', 'Entries of the replica.', one => one.entries),
      this.#each(
        'counter',
        'drift_total',
        'Entries found other than recorded, and kept.',
        one => one.drift,
      ),
      this.#each('counter', 'sweeps_total', 'Complete looks at the replica.', one => one.sweeps),
    ];
  }

  #each(
    type: 'counter' | 'gauge',
    name: string,
    help: string,
    pick: (figures: ReceiverFigures) => number,
  ): Family {
    const samples = this.#samples(figures => [{ value: pick(figures) }]);
    return { name: `replica_${name}`, type, help, samples };
  }

  /** Of every replica, with its name if it has one. */
  #samples(pick: (figures: ReceiverFigures) => readonly Sample[]): Sample[] {
    return this.#replicas.flatMap(({ name, figures }) => {
      const found = figures();
      const labels = name === '' ? {} : { labels: { replica: name } };
      return found === undefined ? [] : pick(found).map(sample => ({ ...sample, ...labels }));
    });
  }
}

/** Why it does no good at the moment. */
function troubleOf(figures: ReceiverFigures | undefined): string | undefined {
  if (figures?.failure !== undefined) return `commits fail: ${figures.failure}`;
  return figures?.hasSender === false ? 'no sender is connected' : undefined;
}

function gauge(name: string, help: string, value: number | undefined): Family {
  return single('gauge', `replica_${name}`, help, value);
}

function counter(name: string, help: string, value: number | undefined): Family {
  return single('counter', `replica_${name}`, help, value);
}
