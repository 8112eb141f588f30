// What a receiver did and holds, for --metrics.
import type { Connection } from '../net/connection.ts';
import type { ReceiverFigures } from '../receiver/figures.ts';
import { type Family, single } from './exposition.ts';
import type { Health, Metrics } from './metrics-server.ts';

type Counted = Pick<Connection, 'bytesReceived' | 'bytesSent'>;

export interface ReceiveMetricsOptions {
  readonly destination: string;
  readonly figures: () => ReceiverFigures | undefined;
}

export class ReceiveMetrics implements Metrics {
  readonly #options: ReceiveMetricsOptions;
  readonly #live = new Set<Counted>();
  #connections = 0;
  #bytesReceived = 0;
  #bytesSent = 0;

  constructor(options: ReceiveMetricsOptions) {
    this.#options = options;
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
    const figures = this.#options.figures();
    if (figures?.failure !== undefined) {
      return { isHealthy: false, reason: `commits fail: ${figures.failure}` };
    }
    if (figures?.hasSender === false) {
      return { isHealthy: false, reason: 'no sender is connected' };
    }
    return { isHealthy: true, state: 'a sender is connected' };
  }

  families(): readonly Family[] {
    const figures = this.#options.figures();
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
        samples: [{ labels: { destination: this.#options.destination }, value: 1 }],
      },
      gauge('connected', '1 while a sender has a session.', figures && +figures.hasSender),
      gauge('connections', 'Open connections, verifiers included.', this.#live.size),
      counter('connections_total', 'Connections that passed the handshake.', this.#connections),
      counter('failed_sessions_total', 'Sessions ended by a failure.', figures?.failedSessions),
      counter('received_bytes_total', 'Bytes received, as on the wire.', received),
      counter('answered_bytes_total', 'Bytes sent back, as on the wire.', sent),
      counter('commits_total', 'Durable commits.', figures?.commits),
      counter('operations_total', 'Operations of durable commits.', figures?.operations),
      {
        name: 'replica_commit_seconds',
        type: 'summary',
        help: 'Making groups of commits durable and applying them.',
        samples: figures
          ? [
              { suffix: '_sum', value: figures.ms / 1000 },
              { suffix: '_count', value: figures.groups },
            ]
          : [],
      },
      gauge('watermark', 'Number of the newest durable commit.', figures?.watermark),
      gauge('entries', 'Entries of the replica.', figures?.entries),
      counter('drift_total', 'Entries found other than recorded, and kept.', figures?.drift),
      counter('sweeps_total', 'Complete looks at the replica.', figures?.sweeps),
    ];
  }
}

function gauge(name: string, help: string, value: number | undefined): Family {
  return single('gauge', `replica_${name}`, help, value);
}

function counter(name: string, help: string, value: number | undefined): Family {
  return single('counter', `replica_${name}`, help, value);
}
