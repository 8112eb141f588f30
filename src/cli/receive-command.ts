// `replica receive`: holds a replica and lets senders that have a key write to it.
import { resolve } from 'node:path';
import { Command, Option } from 'clipanion';
import type { Log } from '../log.ts';
import { formatAddress } from '../net/address.ts';
import type { Connection } from '../net/connection.ts';
import type { OnRead } from '../net/connection-options.ts';
import { pipeDuplex } from '../net/pipe-duplex.ts';
import { formatPairing, type Key } from '../store/key-file.ts';
import { readDestinationSettings } from './destination-settings.ts';
import { readDestinations } from './destinations.ts';
import { ExitCode, exitCodeOf } from './exit-code.ts';
import { KeyRing } from './keys.ts';
import { metricsDescription, metricsNote, openMetrics } from './metrics-server.ts';
import { openReplicas, type Replicas } from './open-replicas.ts';
import type { RunningListener } from './programs.ts';
import { ReceiveMetrics } from './receive-metrics.ts';
import { ReplicaCommand, type Surroundings } from './replica-command.ts';
import { usage } from './settings.ts';
import { readSize } from './size.ts';
import { stdioBanner } from './ssh-command.ts';
import { defaultPort, isLoopbackHost } from './target.ts';

/** `key revoke` ends open connections within this time. */
const revokeCheckMs = 2000;
/** Half of the CPU time of a large first copy went into looking through memory, every 26 MiB. */
const sweptBytes = 4 * 1024 * 1024;

export class ReceiveCommand extends ReplicaCommand {
  static override paths = [['receive']];
  static override usage = Command.Usage({
    description: "Hold a replica in <dst> and accept 'replica push' from senders that have a key",
    examples: [
      ['On the machine that holds the copy', '$0 receive /srv/copy'],
      ['Several, for replica://host/docs and …/www', '$0 receive docs=/srv/docs www=/srv/www'],
    ],
  });
  static override notes = [
    "The first start makes a key. 'replica key show' prints its pairing string, for 'replica pair' on the machine that holds the source. 'listening on HOST:PORT' is printed once connections are accepted.",
    "Folders with names, as in docs=/srv/docs, are several replicas behind one port: 'replica push <src> replica://host:port/docs'. One may be without a name. The flags hold for all of them.",
    metricsNote,
  ];

  destinations = Option.Rest({ name: 'dst', required: 1 });
  port = Option.String('--port', { description: '<N> Port, 0 for a free one (default 7375)' });
  host = Option.String('--host', {
    description: '<ADDRESS> Address to listen on (default ::, all of them)',
  });
  state = Option.String('--state', {
    description: '<DIR> State folder; needed when <dst> is on a network file system',
  });
  adopt = Option.Boolean('--adopt', {
    description: 'Take over a folder that is not empty; what the source lacks is kept for --keep',
  });
  takeOver = Option.Boolean('--take-over', {
    description: 'Accept another source than the one this replica belongs to',
  });
  fsync = Option.String('--fsync', {
    description: '<batch|off> off: acknowledged commits may be lost at power loss (default batch)',
  });
  keep = Option.String('--keep', {
    description: '<TIME> Keep replaced and deleted content this long (default 24h)',
  });
  quota = Option.String('--quota', {
    description:
      '<SIZE> Hold at most this much, 500M or 2T; refuse files for which there is no room',
  });
  specialBits = Option.Boolean('--special-bits', {
    description: 'Replicate setuid, setgid and sticky bits',
  });
  logFile = Option.String('--log-file', { description: '<F> Append JSON lines to F' });
  stdio = Option.Boolean('--stdio', {
    description: "Serve one sender over stdin and stdout, as 'push ssh://host/path' starts it",
  });
  metrics = Option.String('--metrics', { description: metricsDescription });
  insecure = Option.Boolean('--insecure', {
    description: 'No encryption, no key; loopback addresses only, for measurements',
  });

  protected override logFileFlag(): string | undefined {
    return this.logFile;
  }

  /** The push that started it over ssh takes its lines apart. */
  protected override fixedLogFormat(): 'json' | undefined {
    return this.stdio ? 'json' : undefined;
  }

  protected override async perform({ settings, log }: Surroundings): Promise<ExitCode> {
    const { signal, stdout, cwd, uid } = this.context;
    const insecure = settings.switch('insecure', this.insecure);
    const givenHost = settings.text('host', this.host);
    if (insecure && givenHost !== undefined && !isLoopbackHost(givenHost.value)) {
      throw usage(givenHost.origin, `--insecure needs a loopback address, such as 127.0.0.1`);
    }
    const stdio = settings.switch('stdio', this.stdio);
    if (stdio && (this.host ?? this.port ?? this.insecure) !== undefined) {
      throw usage('--stdio', 'listens nowhere: leave out --host, --port and --insecure');
    }
    const port = settings.port('port', this.port, defaultPort);
    const stateFolder = settings.text('state', this.state)?.value;
    const destinations = readDestinations(this.destinations, cwd);
    if (stdio && (destinations.length > 1 || destinations[0]?.name !== '')) {
      throw usage('--stdio', 'serves one folder without a name');
    }
    const quota = settings.text('quota', this.quota);
    const options = {
      ...readDestinationSettings(settings, this),
      ...(stateFolder === undefined ? {} : { stateFolder: resolve(cwd, stateFolder) }),
      quota: quota && readSize(quota),
      log,
    };
    if (uid === 0) log.warn({}, 'running as root: a user of its own would be safer');

    const { openReceiver } = this.programs;
    const receiver = await openReplicas(destinations, { openReceiver, options });
    try {
      const metrics = new ReceiveMetrics(receiver.replicas);
      // The config's address is that of a receiver that listens; there may be several of these.
      const isMeasured = !stdio || this.metrics !== undefined;
      await using _server = isMeasured
        ? await openMetrics(settings, this.metrics, { metrics, log })
        : undefined;
      if (stdio) {
        await this.#serveStdio({ receiver, log, metrics });
        return ExitCode.Done;
      }
      const ring = new KeyRing(this.context);
      const created = insecure ? undefined : ring.makeOwnOnFirstUse();
      const keys = insecure ? () => [] : ring.followOwn(log);
      const host = givenHost?.value ?? (insecure ? '127.0.0.1' : '::');
      const onRead = this.#sweepMemory();
      const listener = await this.programs.listen({ host, keys, port, insecure, log, onRead });
      const { address } = listener;
      stdout.write(`listening on ${formatAddress(address.host, address.port)}\n`);
      if (created !== undefined) this.#showKey(created, address.port, ring.ownFile);
      await serveUntil(signal, { receiver, listener, log, metrics });
    } finally {
      await receiver.close();
    }
    return ExitCode.Done;
  }

  /** ssh has proved who is at the other end. */
  async #serveStdio(service: Omit<Service, 'listener'>): Promise<void> {
    const { stdin, stdout, signal } = this.context;
    const onRead = this.#sweepMemory();
    const stream = pipeDuplex(stdin, stdout);
    const connection = await this.programs.connectionOver(stream, 'stdin', { signal, onRead });
    // Only now is there somebody to hear that nobody reads it.
    stdout.write(stdioBanner);
    await serve(connection, service);
  }

  /**
   * Streams take new memory for each chunk, of which the engine hears only how much it is: at 64 MiB
   * it looks through all it has, old and new. To sweep out what is new before costs next to nothing.
   */
  #sweepMemory(): OnRead {
    let bytes = 0;
    return byteCount => {
      bytes += byteCount;
      if (bytes < sweptBytes) return;
      bytes = 0;
      this.context.sweepYoung();
    };
  }

  /** Only a person at a terminal sees the secret: elsewhere stderr ends up in log archives. */
  #showKey(key: Key, port: number, file: string): void {
    const { stderr, hostname } = this.context;
    const place = formatAddress(hostname, port);
    const isTerminal = 'isTTY' in stderr && stderr.isTTY === true;
    const lines = [
      `made a key, ${file}. On the machine that holds the source, run`,
      `    replica pair ${place}`,
      isTerminal
        ? 'and paste this line when it asks:'
        : "and paste what 'replica key show' prints.",
      ...(isTerminal ? [`    ${formatPairing(key)}`] : []),
    ];
    stderr.write(`${lines.join('\n')}\n`);
  }
}

interface Service {
  readonly receiver: Replicas;
  readonly listener: RunningListener;
  readonly log: Log;
  readonly metrics: ReceiveMetrics;
}

/** Serves every connection until the signal aborts; then every session finishes its commit. */
async function serveUntil(signal: AbortSignal, service: Service): Promise<void> {
  const { receiver, listener } = service;
  const stop = (): void => void listener.close();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  const revoking = setInterval(() => listener.endRevoked(), revokeCheckMs);
  const sessions = new Set<Promise<void>>();
  try {
    for await (const connection of listener.connections()) {
      const session = serve(connection, service).finally(() => sessions.delete(session));
      sessions.add(session);
    }
  } finally {
    clearInterval(revoking);
    signal.removeEventListener('abort', stop);
    await listener.close();
    await receiver.close();
    await Promise.all(sessions);
  }
}

async function serve(
  connection: Connection,
  { receiver, log, metrics }: Omit<Service, 'listener'>,
): Promise<void> {
  const { peer } = connection;
  metrics.began(connection);
  log.debug({ peer, key: connection.peerKeyId }, `${peer} connected`);
  try {
    await receiver.serve(connection);
    log.info({ peer }, `${peer} disconnected`);
  } catch (error) {
    if (exitCodeOf(error) === ExitCode.Bug) {
      log.error({ peer, error }, `a bug ended the connection of ${peer}`);
    } else {
      const message = error instanceof Error ? error.message : String(error);
      log.warn({ peer, error }, `${peer} disconnected: ${message}`);
    }
    await connection.close().catch(() => {});
  } finally {
    metrics.ended(connection);
  }
}
