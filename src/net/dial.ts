// Opens a connection to a receiver: TCP, then TLS with the key, or plain on this machine only.
import { lookup } from 'node:dns/promises';
import net from 'node:net';
import tls from 'node:tls';
import { ReplicaError, systemCode } from '../errors.ts';
import { formatAddress, isLoopbackAddress } from './address.ts';
import { Connection } from './connection.ts';
import type { ConnectionLimits } from './connection-options.ts';
import { type Compression, compressionFor } from './packing.ts';
import {
  assertPsk,
  endlessTlsOptions,
  identityOf,
  type Psk,
  pskOf,
  pskTlsOptions,
  wearsOut,
} from './psk.ts';
import type { Throttle } from './throttle.ts';

export interface DialOptions {
  /** Name or address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** Needed unless `insecure`. */
  readonly key?: Psk | undefined;
  /** No TLS; loopback only. */
  readonly insecure: boolean;
  /** For name, TCP and TLS together. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly limits?: Partial<ConnectionLimits> | undefined;
  readonly compression?: Compression | undefined;
  readonly throttle?: Throttle | undefined;
  /** With a key that does not wear out: the last one did, and what is sent begins anew. */
  readonly isEndless?: boolean | undefined;
}

/**
 * A connection over which only the key's other holder can be heard. Throws ERR_SOCKET when there
 * is no way there, ERR_AUTH when the key is not the receiver's, ERR_TIMEOUT after timeoutMs,
 * ERR_PROTOCOL when something else than a receiver answers, ERR_USAGE for `insecure` to elsewhere.
 * `signal` also closes the connection later.
 */
export async function dial(options: DialOptions): Promise<Connection> {
  const { host, port, key, insecure, signal } = options;
  const peer = formatAddress(host, port);
  if (!insecure && !key) throw new ReplicaError('ERR_AUTH', `there is no key for ${peer}`);
  const deadline = deadlineOf(options, peer);
  let socket: net.Socket | undefined;
  try {
    if (insecure) await deadline.race(assertLoopback(host));
    socket = net.connect({ host, port, noDelay: true, keepAlive: true });
    // Each step listens for errors itself; this one hears those that come in between.
    socket.on('error', () => {});
    await deadline.race(tcpConnected(socket, peer));
    const address = socket.remoteAddress ?? '';
    // The name may mean something else by now.
    if (insecure) assertLoopbackAddress(address, host);
    if (key && !insecure) socket = await deadline.race(secured(socket, key, options));
    return Connection.over(socket, {
      checksum: insecure,
      wearsOut: wearsOut(socket),
      peer,
      peerKeyId: insecure ? undefined : key?.id,
      signal,
      limits: options.limits,
      throttle: options.throttle,
      compression: compressionFor(options.compression, isLoopbackAddress(address)),
    });
  } catch (error) {
    socket?.destroy();
    throw error;
  } finally {
    deadline.clear();
  }
}

/** Rejects what it races when the time is over or the caller cancels. */
function deadlineOf({ timeoutMs, signal }: DialOptions, peer: string) {
  let fail: (error: ReplicaError) => void = () => {};
  const over = new Promise<never>((_resolve, reject) => {
    fail = reject;
  });
  over.catch(() => {});
  const timer = setTimeout(() => {
    fail(new ReplicaError('ERR_TIMEOUT', `no answer from ${peer} within ${timeoutMs / 1000} s`));
  }, timeoutMs);
  const cancel = () => fail(new ReplicaError('ERR_SOCKET', `connecting to ${peer} was cancelled`));
  if (signal?.aborted) cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  return {
    race: <T>(step: Promise<T>): Promise<T> => Promise.race([step, over]),
    clear(): void {
      clearTimeout(timer);
      signal?.removeEventListener('abort', cancel);
    },
  };
}

/** Throws ERR_USAGE, before a byte is sent, unless `host` means this machine and nothing else. */
async function assertLoopback(host: string): Promise<void> {
  const addresses = await lookup(host, { all: true }).catch(error => {
    throw unreachable(error, host);
  });
  for (const { address } of addresses) assertLoopbackAddress(address, host);
}

function assertLoopbackAddress(address: string, host: string): void {
  if (isLoopbackAddress(address)) return;
  const text = `--insecure works within this machine only, and ${host} is ${address}`;
  throw new ReplicaError('ERR_USAGE', text);
}

async function tcpConnected(socket: net.Socket, peer: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', error => reject(unreachable(error, peer)));
  });
}

async function secured(
  socket: net.Socket,
  key: Psk,
  { host, port, isEndless = false }: DialOptions,
): Promise<tls.TLSSocket> {
  const peer = formatAddress(host, port);
  const secure = tls.connect({
    ...(isEndless ? endlessTlsOptions : pskTlsOptions),
    socket,
    // No authority is trusted: a certificate, even a good one, proves nothing here. The default
    // checks stay in place (never pass checkServerIdentity or rejectUnauthorized: false: a man in
    // the middle with any certificate would then be believed).
    ca: [],
    rejectUnauthorized: true,
    pskCallback: () => ({ psk: pskOf(key), identity: identityOf(key) }),
  });
  secure.on('error', () => {});
  await new Promise<void>((resolve, reject) => {
    secure.once('secureConnect', resolve);
    secure.once('error', error => reject(handshakeError(error, key, peer)));
    secure.once('close', () => reject(handshakeError(new Error('closed'), key, peer)));
  });
  try {
    assertPsk(secure, peer);
  } catch (error) {
    secure.destroy();
    throw error;
  }
  return secure;
}

const reasons: ReadonlyMap<string, string> = new Map([
  ['ECONNREFUSED', 'nothing listens there: is replica receive running?'],
  ['ENOTFOUND', 'there is no such host'],
  ['EAI_AGAIN', 'the name cannot be looked up now'],
  ['EHOSTUNREACH', 'the host cannot be reached'],
  ['ENETUNREACH', 'the network cannot be reached'],
  ['ETIMEDOUT', 'no answer: is a firewall in the way?'],
]);

/** What a failure of the name lookup or of TCP means to people. */
export function unreachable(error: unknown, peer: string): ReplicaError {
  // Codes of name lookups, such as EAI_AGAIN, are none of the system's.
  const code = error instanceof Error ? errorCode(error) : '';
  const reason = reasons.get(code) ?? systemCode(error) ?? String(error);
  return new ReplicaError('ERR_SOCKET', `cannot connect to ${peer}: ${reason}`, { cause: error });
}

/** The one clear line for each way a handshake fails. */
function handshakeError(error: Error, key: Psk, peer: string): ReplicaError {
  const code = errorCode(error);
  const options = { cause: error };
  if (/WRONG_VERSION_NUMBER|HTTP_REQUEST|PACKET_LENGTH|RECORD_LENGTH|BAD_RECORD_TYPE/.test(code)) {
    const text = `${peer} does not speak TLS: it is no replica receiver, or one with --insecure`;
    return new ReplicaError('ERR_PROTOCOL', text, options);
  }
  if (/^ERR_SSL_.*ALERT/.test(code)) {
    const text = `${peer} refused the key ${key.id}: run 'replica pair ${peer}' with its current key`;
    return new ReplicaError('ERR_AUTH', text, options);
  }
  if (
    code.startsWith('ERR_SSL_') ||
    code.startsWith('ERR_TLS_') ||
    /CERT|ISSUER|LEAF|SIGN/.test(code)
  ) {
    const text =
      `${peer} does not have the key ${key.id}: it is another service, or an impostor; ` +
      `run 'replica pair ${peer}' if the receiver has a new key`;
    return new ReplicaError('ERR_AUTH', text, options);
  }
  const text = `${peer} closed the connection during the handshake (${code || error.message})`;
  return new ReplicaError('ERR_SOCKET', text, options);
}

/** ERR_SSL_… of OpenSSL, the name of what is wrong with a certificate, or a system code. */
function errorCode(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : '';
}
