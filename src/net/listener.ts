// Accepts connections. Until its Hello is through a caller is a stranger: strangers are few, in all
// and from one address, and each has an absolute deadline, so that they cannot keep others out.
import { constants, randomBytes } from 'node:crypto';
import net from 'node:net';
import tls from 'node:tls';
import { ReplicaError, systemCode } from '../errors.ts';
import * as limits from '../limits.ts';
import type { Log } from '../log.ts';
import { callerOf, formatAddress, isLoopbackAddress } from './address.ts';
import { Connection } from './connection.ts';
import type { ConnectionLimits, OnRead } from './connection-options.ts';
import { type Compression, compressionFor } from './packing.ts';
import { idOf, type Psk, pskOf, pskTlsOptions, wearsOut } from './psk.ts';

export interface ListenerLimits extends ConnectionLimits {
  /** Accept to TLS done; absolute. */
  readonly handshakeMs: number;
  readonly strangersMax: number;
  readonly strangersPerAddressMax: number;
  readonly connectionsPerKeyMax: number;
}

const defaultLimits: Omit<ListenerLimits, keyof ConnectionLimits> = {
  handshakeMs: limits.handshakeMs,
  strangersMax: limits.strangersMax,
  strangersPerAddressMax: limits.strangersPerAddressMax,
  connectionsPerKeyMax: limits.connectionsPerKeyMax,
};

export interface ListenerOptions {
  /** Address to listen at; '::' means all, and is '0.0.0.0' where there is no IPv6. */
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Asked at each handshake: a key that is gone from it lets nobody in any more. */
  readonly keys: () => readonly Psk[];
  /** No TLS; loopback only. */
  readonly insecure: boolean;
  readonly log: Log;
  readonly limits?: Partial<ListenerLimits> | undefined;
  readonly compression?: Compression | undefined;
  /** Of all connections. */
  readonly onRead?: OnRead | undefined;
}

interface Stranger {
  readonly socket: net.Socket;
  readonly caller: string;
  /** The deadline of the handshake. */
  readonly timer: NodeJS.Timeout;
  /** The handshake is done: its connection looks after it. */
  isConnected: boolean;
}

export class Listener {
  readonly #options: ListenerOptions;
  readonly #limits: typeof defaultLimits;
  readonly #tcp: net.Server;
  readonly #tls: tls.Server | undefined;
  /** Keys by the socket whose handshake named them. */
  readonly #claims = new WeakMap<tls.TLSSocket, Psk>();
  /** By endpoints(). */
  readonly #strangers = new Map<string, Stranger>();
  readonly #live = new Set<Connection>();
  #accepted: Connection[] = [];
  #wake: (() => void) | undefined;
  #isClosed = false;
  #reportedAt = Number.NEGATIVE_INFINITY;
  #unreported = 0;
  #keysReportedAt = Number.NEGATIVE_INFINITY;

  /** Throws ERR_SOCKET when it cannot listen, ERR_USAGE for `insecure` beyond this machine. */
  static async open(options: ListenerOptions): Promise<Listener> {
    if (options.insecure && options.host !== 'localhost' && !isLoopbackAddress(options.host)) {
      const text = `--insecure works within this machine only: use --host 127.0.0.1, not ${options.host}`;
      throw new ReplicaError('ERR_USAGE', text);
    }
    const listener = new Listener(options);
    await listener.#listen();
    return listener;
  }

  private constructor(options: ListenerOptions) {
    this.#options = options;
    this.#limits = { ...defaultLimits, ...options.limits };
    this.#tcp = net.createServer({ noDelay: true, keepAlive: true }, socket => this.#admit(socket));
    this.#tls = options.insecure ? undefined : this.#createTls();
  }

  async #listen(): Promise<void> {
    const { host, port } = this.#options;
    try {
      await listening(this.#tcp, host, port);
    } catch (error) {
      const code = systemCode(error);
      if (host === '::' && (code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL')) {
        await listening(this.#tcp, '0.0.0.0', port).catch(again => {
          throw cannotListen(again, '0.0.0.0', port);
        });
      } else {
        throw cannotListen(error, host, port);
      }
    }
    this.#tcp.on('error', error => {
      this.#options.log.warn({ code: systemCode(error) }, 'a connection could not be accepted');
    });
  }

  get address(): { readonly host: string; readonly port: number } {
    const address = this.#tcp.address();
    if (!address || typeof address === 'string') {
      throw new ReplicaError('ERR_SOCKET', 'the listener is closed');
    }
    return { host: address.address, port: address.port };
  }

  /** Connections as they come, until close(). One consumer; what it does not take is closed. */
  async *connections(): AsyncGenerator<Connection, void, void> {
    while (!this.#isClosed) {
      const connection = this.#accepted.shift();
      if (connection) {
        yield connection;
        continue;
      }
      await new Promise<void>(resolve => {
        this.#wake = resolve;
      });
    }
  }

  /** Ends the connections whose key is gone from keys(); none while the keys cannot be read. */
  endRevoked(): void {
    const keys = this.#keys();
    if (!keys) return;
    const ids = new Set(keys.map(key => key.id));
    for (const connection of this.#live) {
      if (connection.peerKeyId === undefined || ids.has(connection.peerKeyId)) continue;
      void connection.close({ code: 'shutdown', message: 'the key was revoked' });
    }
  }

  /** Stops listening and sends strangers away; connections that were handed out go on. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const { socket, isConnected } of this.#strangers.values()) {
      if (!isConnected) socket.destroy();
    }
    const accepted = this.#accepted;
    this.#accepted = [];
    this.#wake?.();
    for (const connection of accepted) void connection.close();
    // Its callback comes when the last connection is gone: those are not ours to end.
    this.#tcp.close();
  }

  #admit(socket: net.Socket): void {
    socket.on('error', () => {});
    const address = socket.remoteAddress;
    if (address === undefined || this.#isClosed) {
      socket.destroy();
      return;
    }
    const caller = callerOf(address);
    if (!this.#hasRoomFor(caller)) {
      this.#report(address, 'too many connections have not said who they are');
      socket.destroy();
      return;
    }
    const timer = setTimeout(() => {
      this.#report(address, 'no handshake in time');
      socket.destroy();
    }, this.#limits.handshakeMs);
    const id = endpoints(socket);
    this.#strangers.set(id, { socket, caller, timer, isConnected: false });
    socket.once('close', () => this.#forget(id));
    if (this.#tls) this.#tls.emit('connection', socket);
    else this.#accept(socket, undefined);
  }

  #hasRoomFor(caller: string): boolean {
    if (this.#strangers.size >= this.#limits.strangersMax) return false;
    let count = 0;
    for (const stranger of this.#strangers.values()) if (stranger.caller === caller) count++;
    return count < this.#limits.strangersPerAddressMax;
  }

  /** It is no stranger any more, or gone. */
  #forget(id: string): void {
    clearTimeout(this.#strangers.get(id)?.timer);
    this.#strangers.delete(id);
  }

  #createTls(): tls.Server {
    const server = tls.createServer({
      ...pskTlsOptions,
      // A ticket would let a revoked key in again.
      secureOptions: constants.SSL_OP_NO_TICKET,
      handshakeTimeout: this.#limits.handshakeMs,
      pskCallback: (socket, identity) => this.#findPsk(socket, identity),
    });
    // Node reports a failed or late handshake here and leaves the socket open.
    server.on('tlsClientError', (error, socket) => {
      this.#report(socket.remoteAddress, 'code' in error ? String(error.code) : error.message);
      socket.destroy();
    });
    server.on('secureConnection', socket => {
      const key = this.#claims.get(socket);
      // Server-side `authorized` says nothing of a pre-shared key: the claim does.
      const isPsk = socket.isSessionReused() && socket.getProtocol() === 'TLSv1.3';
      if (key && isPsk) this.#accept(socket, key);
      else socket.destroy();
    });
    return server;
  }

  /** An unknown id gets a random key, so that it fails like a known id with a wrong one. */
  #findPsk(socket: tls.TLSSocket, identity: string): Buffer {
    const id = idOf(identity);
    const key = this.#keys()?.find(one => one.id === id);
    if (!key) return randomBytes(32);
    this.#claims.set(socket, key);
    return pskOf(key);
  }

  /** The keys now; undefined, with a line in the log now and then, if they cannot be read. */
  #keys(): readonly Psk[] | undefined {
    try {
      return this.#options.keys();
    } catch (error) {
      const now = performance.now();
      if (now - this.#keysReportedAt < limits.strangerReportMs) return undefined;
      this.#keysReportedAt = now;
      const message = error instanceof Error ? error.message : String(error);
      this.#options.log.error({ error: message }, 'the keys cannot be read: nobody is let in');
      return undefined;
    }
  }

  /** Hands the connection out. It stays a stranger until setPayloadLimit is called. */
  #accept(socket: net.Socket, key: Psk | undefined): void {
    const id = endpoints(socket);
    const stranger = this.#strangers.get(id);
    if (!stranger || this.#isClosed) {
      socket.destroy();
      return;
    }
    clearTimeout(stranger.timer);
    stranger.isConnected = true;
    const address = socket.remoteAddress ?? '';
    const connection = Connection.over(socket, {
      checksum: !this.#tls,
      wearsOut: wearsOut(socket),
      peer: formatAddress(address, socket.remotePort ?? 0),
      peerKeyId: key?.id,
      limits: this.#options.limits,
      compression: compressionFor(this.#options.compression, isLoopbackAddress(address)),
      onRead: this.#options.onRead,
    });
    void connection.greeted.then(() => this.#forget(id));
    if (key && this.#countOf(key) >= this.#limits.connectionsPerKeyMax) {
      void connection.close({ code: 'busy', message: 'too many connections with this key' });
      return;
    }
    this.#live.add(connection);
    void connection.closed.then(() => this.#drop(connection));
    this.#accepted.push(connection);
    this.#wake?.();
  }

  #countOf(key: Psk): number {
    let count = 0;
    for (const connection of this.#live) if (connection.peerKeyId === key.id) count++;
    return count;
  }

  #drop(connection: Connection): void {
    this.#live.delete(connection);
    this.#accepted = this.#accepted.filter(one => one !== connection);
  }

  /** One line now and then, with how many were not reported. */
  #report(address: string | undefined, reason: string): void {
    const now = performance.now();
    if (now - this.#reportedAt < limits.strangerReportMs) {
      this.#unreported++;
      return;
    }
    const fields = { address, reason, others: this.#unreported };
    this.#options.log.warn(fields, 'refused a connection');
    this.#reportedAt = now;
    this.#unreported = 0;
  }
}

/** Both ends of a connection: unique while it lives, and the same below and above TLS. */
function endpoints(socket: net.Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort} ${socket.localAddress}`;
}

function listening(server: net.Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function cannotListen(error: unknown, host: string, port: number): ReplicaError {
  const text = `cannot listen at ${formatAddress(host, port)}: ${whyNot(error, port)}`;
  return new ReplicaError('ERR_SOCKET', text, { cause: error });
}

function whyNot(error: unknown, port: number): string {
  const code = systemCode(error);
  switch (code) {
    case 'EADDRINUSE':
      return `port ${port} is in use: stop the other program or choose --port`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return 'this machine does not have that address: choose --host';
    case 'EACCES':
      return `port ${port} is reserved for the system: choose --port`;
    default:
      return code ?? String(error);
  }
}
