// `replica doctor <src> <host>`: the way to a receiver, step by step as a push takes it.
import { createConnection, isIP } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { ReplicaError, systemCode } from '../errors.ts';
import { formatAddress } from '../net/address.ts';
import type { Key } from '../store/key-file.ts';
import { formatDuration } from './duration.ts';
import { ExitCode, exitCodeOf } from './exit-code.ts';
import { bad, type Finding, ok, warn } from './finding.ts';
import type { Programs } from './programs.ts';

export interface TargetOptions {
  readonly host: string;
  readonly port: number;
  /** Throws ERR_AUTH with the remedy; undefined for --insecure. */
  readonly findKey: (() => Key) | undefined;
  readonly dial: Programs['dial'];
  /** What else the target may mean: added to what is said of a name that is no host's. */
  readonly hint: string;
  /** Of a name. */
  readonly findAddresses: (host: string) => Promise<readonly string[]>;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** A round trip that is felt: a commit takes some of them. */
const longTripMs = 150;
const tripCount = 3;

export async function* examineTarget(options: TargetOptions): AsyncGenerator<Finding> {
  const { host, port, findKey } = options;
  const place = formatAddress(host, port);
  const name = isIP(host) === 0 ? await resolveName(options) : undefined;
  if (name !== undefined) yield name;
  let key: Key | undefined;
  try {
    key = findKey?.();
    yield ok('key', key === undefined ? 'none is used' : `the key ${key.id} is kept for ${place}`);
  } catch (error) {
    if (!(error instanceof ReplicaError)) throw error;
    yield bad('key', error.message, { exitCode: ExitCode.Auth });
  }
  if (name?.level === 'bad') return;
  const trip = await measureTrip(options);
  yield trip;
  if (trip.level === 'bad' || (findKey !== undefined && key === undefined)) return;
  yield await tryKey(options, key);
}

async function resolveName({ host, hint, findAddresses }: TargetOptions): Promise<Finding> {
  try {
    const addresses = await findAddresses(host);
    return ok('name', `${host} is ${addresses.join(', ')}`);
  } catch (error) {
    // EAI_AGAIN and its like: the resolver itself cannot be asked.
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    const why =
      code === 'ENOTFOUND' ? `there is no host ${host}` : `${host} cannot be looked up (${code})`;
    const advice = `check the spelling, DNS and /etc/hosts${hint}`;
    return bad('name', why, { advice, exitCode: ExitCode.Socket });
  }
}

/** The best of a few TCP handshakes, each of which is one round trip. */
async function measureTrip(options: TargetOptions): Promise<Finding> {
  const { host, port } = options;
  const place = formatAddress(host, port);
  const times: number[] = [];
  for (let i = 0; i < tripCount; i++) {
    const code = await connectOnce(options, ms => times.push(ms));
    if (code === undefined) continue;
    return bad('network', `${place}: ${reasons.get(code) ?? code}`, {
      advice: adviceFor.get(code) ?? 'check the network between here and there',
      exitCode: ExitCode.Socket,
    });
  }
  const tripMs = Math.min(...times);
  const text = `${place} answers, round trip ${tripMs < 10 ? tripMs.toFixed(1) : Math.round(tripMs)} ms`;
  if (tripMs <= longTripMs) return ok('network', text);
  return warn(
    'network',
    text,
    'a change takes some round trips to arrive; files do not wait for each other',
  );
}

/** The code of what went wrong, or undefined. */
async function connectOnce(
  { host, port, timeoutMs, signal }: TargetOptions,
  onTime: (ms: number) => void,
): Promise<string | undefined> {
  const begunMs = performance.now();
  const socket = createConnection({ host, port, signal });
  try {
    return await new Promise<string | undefined>(resolve => {
      socket.setTimeout(timeoutMs, () => resolve('ETIMEDOUT'));
      socket.once('error', error => resolve(systemCode(error) ?? error.name));
      socket.once('connect', () => {
        onTime(performance.now() - begunMs);
        resolve(undefined);
      });
    });
  } finally {
    socket.destroy();
  }
}

/** What a push does first; the receiver notes that somebody came and went. */
async function tryKey(options: TargetOptions, key: Key | undefined): Promise<Finding> {
  const { host, port, timeoutMs, signal } = options;
  const insecure = key === undefined;
  const begunMs = performance.now();
  try {
    const dialled = { host, port, insecure, timeoutMs, signal };
    const connection = await options.dial(insecure ? dialled : { ...dialled, key });
    const answered = new AbortController();
    try {
      const late = sleep(timeoutMs, 'late' as const, { signal: answered.signal });
      const greeting = connection.messages().next();
      for (const one of [late, greeting]) one.catch(() => {}); // The other one came first.
      const first = await Promise.race([greeting, late]);
      if (first === 'late') {
        const message = `${formatAddress(host, port)} sent no greeting within ${formatDuration(timeoutMs)}`;
        throw new ReplicaError('ERR_TIMEOUT', message);
      }
      const ms = performance.now() - begunMs;
      if (first.done) {
        return bad('session', 'the receiver closed the connection', {
          exitCode: ExitCode.Protocol,
        });
      }
      const how = insecure ? 'a receiver answers' : 'the receiver accepts the key';
      // That would end a push that is running.
      const unasked = 'whether it takes this source was not asked';
      return ok('session', `${how}, after ${formatDuration(ms)}; ${unasked}`);
    } finally {
      answered.abort();
      await connection.close();
    }
  } catch (error) {
    if (!(error instanceof ReplicaError)) throw error;
    const advice =
      error.code === 'ERR_AUTH'
        ? `run 'replica key show' there and 'replica pair ${formatAddress(host, port)}' here`
        : 'see the log of the receiver';
    return bad('session', error.message, { advice, exitCode: exitCodeOf(error) });
  }
}

const reasons: ReadonlyMap<string, string> = new Map([
  ['ECONNREFUSED', 'nobody listens there'],
  ['ETIMEDOUT', 'no answer'],
  ['EHOSTUNREACH', 'there is no way there'],
  ['ENETUNREACH', 'there is no way there'],
]);

const adviceFor: ReadonlyMap<string, string> = new Map([
  ['ECONNREFUSED', "start 'replica receive' there, or check its --port and --host"],
  ['ETIMEDOUT', 'a firewall may drop it: let the port through'],
]);
