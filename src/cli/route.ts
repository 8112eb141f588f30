// The way from a source to its replica: a receiver that is dialled, or one in this process.
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ReplicaError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Connection } from '../net/connection.ts';
import type { Compression } from '../net/packing.ts';
import type { Throttle } from '../net/throttle.ts';
import type { Key } from '../store/key-file.ts';
import { realPathOf } from '../store/real-path.ts';
import { checkApart, checkDestination } from './checks.ts';
import type { CliContext } from './context.ts';
import { type GivenDestinationFlags, readDestinationSettings } from './destination-settings.ts';
import { folderHint, isUnknownName, noHostOf } from './folder-hint.ts';
import { KeyRing } from './keys.ts';
import type { Programs } from './programs.ts';
import { timeoutBounds } from './push-settings.ts';
import { RepeatedLines } from './repeated-lines.ts';
import type { Surroundings } from './replica-command.ts';
import { usage } from './settings.ts';
import { type SshTarget, splitCommand, sshCommand } from './ssh-command.ts';
import { standInFor } from './stand-in.ts';
import { hostName, isLoopbackHost, sshName, type Target } from './target.ts';

/** One attempt to connect; the sender tries again for as long as it is told to. */
const connectMsMax = 15_000;
/** The first one through ssh: somebody types a password, as long as sshd waits for one (LoginGraceTime). */
const firstSshMsMax = 120_000;
/** A receiver on this machine may just be starting: how long its key is waited for, and in which steps. */
const ownKeyMsMax = 3_000;
const ownKeyLookMs = 100;

const noFlags: GivenDestinationFlags = {
  adopt: undefined,
  takeOver: undefined,
  fsync: undefined,
  keep: undefined,
  specialBits: undefined,
};

/** Of a replica that a verifier opens: what it keeps is not let go. */
const asItIs = { adopt: false, takeOver: false, fsync: 'batch', keepMs: 0 } as const;

/** A way to reach the receiver, as often as it takes. */
export interface Route {
  /** Says the same target the same way each time: it names the state folder. */
  readonly name: string;
  connect(signal: AbortSignal): Promise<Connection>;
  close(): Promise<void>;
}

export interface RouteOptions {
  readonly surroundings: Surroundings;
  readonly context: CliContext;
  readonly programs: Programs;
  readonly flags: Partial<GivenDestinationFlags> & {
    readonly insecure: boolean | undefined;
    readonly keyFile: string | undefined;
    readonly timeout: string | undefined;
    readonly rsh: string | undefined;
    readonly replicaPath: string | undefined;
  };
  /** Default: as the link suggests. */
  readonly compression?: Compression;
  /** What is sent keeps to it. */
  readonly throttle?: Throttle;
  /** For a verifier: the target must be a replica, and stays as it is. */
  readonly isOnlyVerified?: boolean;
  /** A folder on this machine that is no replica yet stays as it is. */
  readonly isDryRun?: boolean;
}

export function openRoute(target: Target, source: string, options: RouteOptions): Promise<Route> {
  switch (target.kind) {
    case 'path':
      return localRoute(target.path, source, options);
    case 'host':
      return remoteRoute(target, options);
    case 'ssh':
      return sshRoute(target, options);
  }
}

/** The receiver runs in this process; the frames are the same. */
async function localRoute(path: string, source: string, options: RouteOptions): Promise<Route> {
  const { programs, context, flags, throttle } = options;
  const { isOnlyVerified = false, isDryRun = false } = options;
  const { settings, log } = options.surroundings;
  const root = resolve(context.cwd, path);
  checkApart(source, realPathOf(root));
  const own = isOnlyVerified
    ? { ...asItIs, specialBits: settings.switch('special-bits', flags.specialBits) }
    : readDestinationSettings(settings, { ...noFlags, ...flags });
  const standIn = isDryRun ? standInFor(root) : undefined;
  if (!isOnlyVerified) checkDestination(standIn?.root ?? root);
  else if (!statSync(root, { throwIfNoEntry: false })?.isDirectory()) {
    throw new ReplicaError('ERR_PATH', `there is no replica at ${root}`);
  }
  const { openReceiver, memoryPair } = programs;
  const news = new RepeatedLines(() => performance.now());
  // The sender reports what happens; the receiver only what goes wrong.
  const quietLog: Log = {
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.debug(fields, message),
    warn: (fields, message) => log[news.isNews(message) ? 'warn' : 'debug'](fields, message),
    error: (fields, message) => log.error(fields, message),
  };
  const kept = { ...own, isOnlyVerified, log: quietLog };
  const receiver = await openReceiver({ ...kept, root: standIn?.root ?? root });
  return {
    name: `file:${realPathOf(root)}`,
    connect: async () => {
      const [near, far] = await memoryPair(throttle);
      // The sender sees the connection end; why it ended is the receiver's to say.
      receiver.serve(far).catch((error: unknown) => {
        log.debug({ error }, 'the session of the local replica ended');
      });
      return near;
    },
    close: async () => {
      await receiver.close();
      standIn?.remove();
    },
  };
}

/** The user's own ssh starts the receiver; it is told what a local one would be. */
async function sshRoute(target: SshTarget, options: RouteOptions): Promise<Route> {
  const { programs, flags, compression, throttle, isOnlyVerified = false } = options;
  const { settings, log } = options.surroundings;
  for (const flag of ['insecure', 'key-file'] as const) {
    const given = flag === 'insecure' ? flags.insecure : flags.keyFile;
    if (given !== undefined) throw usage(`--${flag}`, 'means nothing with ssh://');
  }
  const rsh = settings.text('rsh', flags.rsh);
  const { adopt, takeOver, fsync, keepMs, specialBits } = isOnlyVerified
    ? { ...asItIs, specialBits: settings.switch('special-bits', flags.specialBits) }
    : readDestinationSettings(settings, { ...noFlags, ...flags });
  const command = sshCommand(target, {
    rsh: splitCommand(rsh?.value ?? 'ssh', rsh?.origin ?? '--rsh'),
    replicaPath: settings.text('replica-path', flags.replicaPath)?.value ?? 'replica',
    flags: [
      ...(adopt ? ['--adopt'] : []),
      ...(takeOver ? ['--take-over'] : []),
      ...(specialBits ? ['--special-bits'] : []),
      ...['--fsync', fsync],
      // A verifier lets nothing go.
      ...['--keep', isOnlyVerified ? '3650d' : String(keepMs)],
    ],
  });
  const timeoutMs = settings.duration('timeout', flags.timeout, timeoutBounds);
  const peer = sshName(target);
  let wasReached = false;
  return {
    name: peer,
    connect: async signal => {
      try {
        const connection = await programs.dialSsh({
          ...{ command, peer, log, signal, compression, throttle },
          timeoutMs: Math.min(timeoutMs, wasReached ? connectMsMax : firstSshMsMax),
        });
        wasReached = true;
        return connection;
      } catch (error) {
        // What worked before works again: the machine there is being repaired or upgraded.
        if (!wasReached || !(error instanceof ReplicaError)) throw error;
        throw new ReplicaError('ERR_SOCKET', error.message, { cause: error });
      }
    },
    close: async () => {},
  };
}

async function remoteRoute(
  target: Target & { readonly kind: 'host' },
  { surroundings, context, programs, flags, compression, throttle }: RouteOptions,
): Promise<Route> {
  const { settings } = surroundings;
  const { host, port } = target;
  const insecure = settings.switch('insecure', flags.insecure);
  if (insecure && !isLoopbackHost(host)) {
    throw usage('--insecure', `only to a loopback address, not ${host}`);
  }
  refuseFlagsOfFolders(flags);
  const keyFile = settings.text('key-file', flags.keyFile);
  // Looked up for every attempt: pairing again mends a push that is running.
  const key = (): Key =>
    new KeyRing(context).forPush({
      keyFile: keyFile && { ...keyFile, value: resolve(context.cwd, keyFile.value) },
      environmentKey: settings.variable('REPLICA_KEY'),
      host,
      port,
    });
  if (!insecure) {
    const mayCome = isLoopbackHost(host) && !keyFile && !settings.variable('REPLICA_KEY');
    try {
      await untilKey(key, mayCome ? ownKeyMsMax : 0, context.signal);
    } catch (error) {
      const isGiven = keyFile !== undefined || settings.variable('REPLICA_KEY') !== undefined;
      if (isGiven || !(error instanceof ReplicaError)) throw error;
      const noHost = await noHostOf(target, context.cwd);
      if (noHost === undefined) throw error;
      throw new ReplicaError('ERR_SOCKET', noHost, { cause: error });
    }
  }
  const timeoutMs = settings.duration('timeout', flags.timeout, timeoutBounds);
  let last: Connection | undefined;
  let isEndless = false;
  return {
    name: hostName(target),
    connect: async signal => {
      // A file of more than a key may encrypt would begin anew each time.
      isEndless ||= last?.isWorn === true;
      try {
        last = await programs.dial({
          isEndless,
          host,
          port,
          insecure,
          timeoutMs: Math.min(timeoutMs, connectMsMax),
          signal,
          compression,
          throttle,
          ...(insecure ? {} : { key: key() }),
        });
        return last;
      } catch (error) {
        const hint = folderHint(target, context.cwd);
        const isHinted = hint !== '' && error instanceof ReplicaError && isUnknownName(error.cause);
        if (!isHinted) throw error;
        throw new ReplicaError(error.code, `${error.message}${hint}`, { cause: error });
      }
    },
    close: async () => {},
  };
}

/** Throws ERR_USAGE for flags that a receiver has to be given. */
export function refuseFlagsOfFolders(flags: Partial<GivenDestinationFlags>): void {
  for (const flag of ['adopt', 'fsync', 'keep'] as const) {
    if (flags[flag] !== undefined) {
      throw usage(`--${flag}`, "is for a folder on this machine; give it to 'replica receive'");
    }
  }
}

/** `receive & push` on a new machine: the receiver makes its key while this starts. */
async function untilKey(key: () => Key, msMax: number, signal: AbortSignal): Promise<void> {
  const endMs = performance.now() + msMax;
  for (;;) {
    try {
      key();
      return;
    } catch (error) {
      if (performance.now() >= endMs || signal.aborted) throw error;
    }
    await sleep(ownKeyLookMs, undefined, { signal }).catch(() => {});
  }
}
