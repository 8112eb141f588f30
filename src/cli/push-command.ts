// `replica push`: keeps the replica of a source tree true to it.
import { resolve } from 'node:path';
import { Command, Option } from 'clipanion';
import type { Log } from '../log.ts';
import { formatAddress } from '../net/address.ts';
import type { Connection } from '../net/connection.ts';
import type { Key } from '../store/key-file.ts';
import { checkApart, checkDestination, checkSource, realPathOf } from './checks.ts';
import { closeInTime } from './close-in-time.ts';
import { readCompression } from './compression-settings.ts';
import { processCpuMs } from './cpu-time.ts';
import { readDestinationSettings } from './destination-settings.ts';
import { ExitCode } from './exit-code.ts';
import { KeyRing } from './keys.ts';
import { outcomeExitCode, reportEvent } from './push-report.ts';
import { ownFilesExclusions, readPushSettings, timeoutBounds } from './push-settings.ts';
import { ReplicaCommand, type Surroundings } from './replica-command.ts';
import { type Settings, usage } from './settings.ts';
import { sourceIdentity } from './source-identity.ts';
import { isLoopbackHost, parseTarget, type Target } from './target.ts';
import { untilStopped } from './until-stopped.ts';
import { makePrivateFolder, senderStateFolder } from './user-folders.ts';

/** One attempt to connect; the sender tries again for as long as it is told to. */
const connectMsMax = 15_000;

/** After a signal the sender has this long to finish its commit... */
const stopMsMax = 15_000;
/** ...and this long while its source does not answer. */
const slowStopMs = 1000;

/** A way to reach the receiver, as often as it takes. */
interface Route {
  /** Says the same target the same way each time: it names the state folder. */
  readonly name: string;
  connect(signal: AbortSignal): Promise<Connection>;
  close(): Promise<void>;
}

export class PushCommand extends ReplicaCommand {
  static override paths = [['push']];
  static override usage = Command.Usage({
    description: 'Make and keep the tree at <target> equal to the contents of <src>',
  });
  static override notes = [
    '<target> is a receiver (host, host:port, [::1]:7375) or a folder on this machine (a path with a slash, or file: and a path). It becomes equal to what is in <src>.',
    "The receiver's key: --key-file, else REPLICA_KEY (a pairing string), else what 'replica pair' stored, else, on this machine, your own receiver's.",
  ];

  source = Option.String({ name: 'src' });
  target = Option.String({ name: 'target' });
  interval = Option.String('--interval', {
    description: '<TIME> Look for changes this often: 500, 500ms, 2s (default 500)',
  });
  once = Option.Boolean('--once', { description: 'End when source and replica are equal' });
  dryRun = Option.Boolean('-n,--dry-run', {
    description: 'Print what would be done, change nothing',
  });
  subPaths = Option.Array('--path', {
    description: '<SUB> Only this part of the source, in one pass; may be repeated',
  });
  exclude = Option.Array('--exclude', {
    description: '<PATTERN> Leave out, in gitignore syntax; may be repeated',
  });
  excludeFrom = Option.Array('--exclude-from', {
    description: '<F> Patterns from a file; may be repeated',
  });
  deleteExcluded = Option.Boolean('--delete-excluded', {
    description: 'Delete excluded entries at the destination',
  });
  noDelete = Option.Boolean('--no-delete', { description: 'Never delete at the destination' });
  maxDelete = Option.String('--max-delete', {
    description: '<N|P%> Hold deletes beyond this many or this share (default 50%)',
  });
  acceptDeletes = Option.Boolean('--accept-deletes', {
    description: 'Do the deletes that are held, once',
  });
  checksum = Option.Boolean('-c,--checksum', { description: 'Read and hash every file again' });
  compressAlways = Option.Boolean('-z', {
    description: 'Compress what is sent, however fast the link: --compress on',
  });
  compress = Option.String('--compress', {
    description:
      '<HOW> auto: as far as the link leaves time for it; on, off, brotli, zstd (default auto)',
  });
  compressLevel = Option.String('--compress-level', {
    description: '<N> 1 to 19: less time or fewer bytes (default: brotli 5, zstd 6)',
  });
  cpuLimit = Option.String('--cpu-limit', {
    description: '<P%> Of one core, for looking for changes (default 10%)',
  });
  timeout = Option.String('--timeout', {
    description: '<TIME> With --once, give up when unreachable this long (default 30s)',
  });
  keyFile = Option.String('--key-file', { description: "<F> The receiver's key" });
  state = Option.String('--state', {
    description: '<DIR> Folder for state folders (default ~/.local/state/replica)',
  });
  specialBits = Option.Boolean('--special-bits', {
    description: 'Local target: as for receive',
  });
  takeOver = Option.Boolean('--take-over', {
    description: 'Replace the source that the replica belongs to',
  });
  adopt = Option.Boolean('--adopt', {
    description: 'Local target: take over a folder that is not empty',
  });
  fsync = Option.String('--fsync', { description: '<batch|off> Local target: as for receive' });
  keep = Option.String('--keep', { description: '<TIME> Local target: as for receive' });
  logFile = Option.String('--log-file', { description: '<F> Append JSON lines to F' });
  insecure = Option.Boolean('--insecure', {
    description: 'No encryption, no key; loopback addresses only, for measurements',
  });

  protected override logFileFlag(): string | undefined {
    return this.logFile;
  }

  protected override async perform(surroundings: Surroundings): Promise<ExitCode> {
    const { settings, folders, log, logFile } = surroundings;
    const { cwd, hostname, signal, stdout } = this.context;
    const target = parseTarget(this.target);
    const own = readPushSettings(settings, this, cwd);
    const stateBase = resolve(cwd, settings.text('state', this.state)?.value ?? folders.state);
    const source = checkSource(resolve(cwd, this.source));
    const route = await this.#open(target, source, surroundings);
    try {
      const stateFolder = senderStateFolder(stateBase, source, route.name);
      makePrivateFolder(stateFolder);
      const ownFiles = [realPathOf(stateBase), ...(logFile ? [realPathOf(logFile)] : [])];
      const sender = await this.programs.openSender({
        ...own,
        source,
        connect: abort => route.connect(abort),
        stateFolder,
        sourceId: sourceIdentity(source, hostname),
        label: `${hostname}:${source}`,
        cpuMs: processCpuMs,
        exclude: [...own.exclude, ...ownFilesExclusions(source, ownFiles)],
        log,
        signal,
      });
      let isSlow = false;
      const graceMs = (): number => (isSlow ? slowStopMs : stopMsMax);
      try {
        for await (const event of untilStopped(sender.run(), signal, graceMs)) {
          reportEvent(event, { log, stdout });
          if (event.kind === 'source') isSlow = event.state === 'slow';
          if (event.kind === 'end') return outcomeExitCode(event.outcome, own);
        }
        if (!signal.aborted) throw new Error('the sender ended without an outcome');
        return own.once ? ExitCode.Interrupted : ExitCode.Done;
      } finally {
        await closeInTime(() => sender.close(), log, this.context);
      }
    } finally {
      await closeInTime(
        async () => {
          await route.close();
          return true;
        },
        log,
        this.context,
      );
    }
  }

  async #open(target: Target, source: string, surroundings: Surroundings): Promise<Route> {
    const { settings, log } = surroundings;
    return target.kind === 'path'
      ? await this.#localRoute(target.path, source, settings, log)
      : this.#remoteRoute(target, settings);
  }

  /** The receiver runs in this process; the frames are the same. */
  async #localRoute(path: string, source: string, settings: Settings, log: Log): Promise<Route> {
    const root = resolve(this.context.cwd, path);
    checkApart(source, realPathOf(root));
    const options = readDestinationSettings(settings, this);
    checkDestination(root);
    const { openReceiver, memoryPair } = this.programs;
    // The sender reports what happens; the receiver only what goes wrong.
    const quietLog: Log = {
      debug: (fields, message) => log.debug(fields, message),
      info: (fields, message) => log.debug(fields, message),
      warn: (fields, message) => log.warn(fields, message),
      error: (fields, message) => log.error(fields, message),
    };
    const receiver = await openReceiver({ root, ...options, log: quietLog });
    return {
      name: `file:${realPathOf(root)}`,
      connect: async () => {
        const [near, far] = await memoryPair();
        // The sender sees the connection end; why it ended is the receiver's to say.
        receiver.serve(far).catch((error: unknown) => {
          log.debug({ error }, 'the session of the local replica ended');
        });
        return near;
      },
      close: () => receiver.close(),
    };
  }

  #remoteRoute({ host, port }: Target & { readonly kind: 'host' }, settings: Settings): Route {
    const insecure = settings.switch('insecure', this.insecure);
    if (insecure && !isLoopbackHost(host)) {
      throw usage('--insecure', `only to a loopback address, not ${host}`);
    }
    for (const flag of ['adopt', 'fsync', 'keep'] as const) {
      if (this[flag] !== undefined) {
        throw usage(`--${flag}`, "is for a folder on this machine; give it to 'replica receive'");
      }
    }
    const compression = readCompression(settings, this);
    const keyFile = settings.text('key-file', this.keyFile);
    // Looked up for every attempt: pairing again mends a push that is running.
    const key = (): Key =>
      new KeyRing(this.context).forPush({
        keyFile: keyFile && { ...keyFile, value: resolve(this.context.cwd, keyFile.value) },
        environmentKey: settings.variable('REPLICA_KEY'),
        host,
        port,
      });
    if (!insecure) key();
    const timeoutMs = settings.duration('timeout', this.timeout, timeoutBounds);
    return {
      name: formatAddress(host, port),
      connect: async signal =>
        await this.programs.dial({
          host,
          port,
          insecure,
          timeoutMs: Math.min(timeoutMs, connectMsMax),
          signal,
          compression,
          ...(insecure ? {} : { key: key() }),
        }),
      close: async () => {},
    };
  }
}
