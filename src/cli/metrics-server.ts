// `--metrics`: a small web server that answers /metrics and /healthz, and nothing else.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, isIPv6 } from 'node:net';
import { ReplicaError, systemCode } from '../errors.ts';
import type { Log } from '../log.ts';
import { formatAddress } from '../net/address.ts';
import { contentType, type Family, formatFamilies } from './exposition.ts';
import { plainLine } from './plain-line.ts';
import { processFamilies } from './process-metrics.ts';
import { type Setting, type Settings, usage } from './settings.ts';
import { parsePort } from './target.ts';

/** What a program says of itself when it is asked. */
export interface Metrics {
  families(): readonly Family[];
  health(): Health;
}

export type Health =
  | { readonly isHealthy: true; readonly state: string }
  | { readonly isHealthy: false; readonly reason: string };

/** Scrapers come one or two at a time; more are not served. */
const connectionsMax = 16;
/** A request is one line and a few headers; who takes longer has something else in mind. */
const requestMsMax = 5000;

export interface MetricsAddress {
  readonly host: string;
  readonly port: number;
}

/** `port`, `host:port` or `[::1]:port`; without a host, loopback. Throws ERR_USAGE. */
export function parseMetricsAddress({ value, origin }: Setting<string>): MetricsAddress {
  const match = /^(?:(?:\[([^\]]+)\]|([^:[\]\s/]+)):)?(\d{1,5})$/.exec(value.trim());
  const port = parsePort(match?.[3] ?? '');
  const bracketed = match?.[1];
  if (port === undefined || (bracketed !== undefined && !isIPv6(bracketed))) {
    throw usage(origin, `'${value}' is no address such as 127.0.0.1:9464 or [::1]:9464`);
  }
  return { host: bracketed ?? match?.[2] ?? '127.0.0.1', port };
}

export const metricsDescription =
  '<[HOST:]PORT> Answer /metrics (Prometheus) and /healthz there (default host: 127.0.0.1)';
export const metricsNote =
  '--metrics answers anybody who can reach that address: choose one that only your monitoring ' +
  'reaches. /healthz is 200 while all is well, else 503 and the reason.';

/** The server that --metrics asks for, if it does. */
export async function openMetrics(
  settings: Settings,
  given: string | undefined,
  options: { readonly metrics: Metrics; readonly log: Log },
): Promise<MetricsServer | undefined> {
  const setting = settings.text('metrics', given);
  if (setting === undefined) return undefined;
  return await MetricsServer.open(parseMetricsAddress(setting), options);
}

/** Serves `metrics` until it is closed. */
export class MetricsServer {
  readonly #server: Server;

  /** Throws ERR_SOCKET with the remedy when it cannot listen. */
  static async open(
    { host, port }: MetricsAddress,
    options: { readonly metrics: Metrics; readonly log: Log },
  ): Promise<MetricsServer> {
    const server = createServer(
      {
        headersTimeout: requestMsMax,
        requestTimeout: requestMsMax,
        keepAliveTimeout: requestMsMax,
        // Only then does it look who took longer; every 30 s unless it is told.
        connectionsCheckingInterval: requestMsMax / 5,
      },
      (request, response) => answer(request, response, options.metrics),
    );
    server.maxConnections = connectionsMax;
    await new Promise<void>((resolve, reject) => {
      server.once('error', error => reject(cannotListen(error, host, port)));
      server.listen({ host, port }, resolve);
    });
    // Of a connection that could not be accepted; the next one may be.
    server.on('error', error => options.log.warn({ error }, `--metrics: ${error.message}`));
    // Object of a TCP server; text is for pipes.
    const bound = server.address() as AddressInfo;
    const url = `http://${formatAddress(bound.address, bound.port)}/metrics`;
    options.log.info({ url }, `metrics at ${url}`);
    return new MetricsServer(server);
  }

  private constructor(server: Server) {
    this.#server = server;
  }

  async close(): Promise<void> {
    const closed = new Promise(resolve => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function answer(request: IncomingMessage, response: ServerResponse, metrics: Metrics): void {
  const path = (request.url ?? '').split('?')[0];
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { allow: 'GET, HEAD' }).end();
    return;
  }
  if (path === '/metrics') {
    response.setHeader('content-type', contentType);
    response.end(formatFamilies([...metrics.families(), ...processFamilies()]));
    return;
  }
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  if (path === '/healthz') {
    const health = metrics.health();
    response.statusCode = health.isHealthy ? 200 : 503;
    response.end(`${plainLine(health.isHealthy ? health.state : health.reason)}\n`);
    return;
  }
  response.statusCode = 404;
  response.end('there are /metrics and /healthz\n');
}

function cannotListen(error: Error, host: string, port: number): ReplicaError {
  const code = systemCode(error) ?? 'unknown error';
  const why = reasons.get(code) ?? code;
  const place = formatAddress(host, port);
  return new ReplicaError('ERR_SOCKET', `--metrics: cannot listen at ${place}: ${why}`, {
    cause: error,
  });
}

const reasons: ReadonlyMap<string, string> = new Map([
  ['EADDRINUSE', 'the port is in use: stop the other program or choose another'],
  ['EADDRNOTAVAIL', 'this machine does not have that address'],
  ['ENOTFOUND', 'there is no such host'],
  ['EACCES', 'the port is reserved for the system: choose one from 1024'],
]);
