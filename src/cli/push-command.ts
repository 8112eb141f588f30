// `replica push`: keeps the replica of a source tree true to it.
import { resolve } from 'node:path';
import { Command, Option } from 'clipanion';
import { ReplicaError } from '../errors.ts';
import type { SenderStatus } from '../sender/status-board.ts';
import { realPathOf } from '../store/real-path.ts';
import { Bandwidth, readBandwidth } from './bandwidth.ts';
import { checkSource } from './checks.ts';
import { closeInTime } from './close-in-time.ts';
import { readCompression } from './compression-settings.ts';
import type { TreePair } from './config-file.ts';
import { processCpuMs } from './cpu-time.ts';
import { ExitCode } from './exit-code.ts';
import { metricsDescription, metricsNote, openMetrics } from './metrics-server.ts';
import { otherPush, pushIn, takenOver } from './other-push.ts';
import type { RunningSender } from './programs.ts';
import { openControl } from './push-control.ts';
import { PushMetrics } from './push-metrics.ts';
import { FailureNews, outcomeExitCode, reportEvent } from './push-report.ts';
import { ownFilesExclusions, readPushSettings } from './push-settings.ts';
import { ReplicaCommand, type Surroundings } from './replica-command.ts';
import { openRoute } from './route.ts';
import { controlProtocol } from './running-pushes.ts';
import { sourceIdentity } from './source-identity.ts';
import { parseTarget, replicaOf } from './target.ts';
import { targetName } from './target-name.ts';
import { untilStopped } from './until-stopped.ts';
import { makePrivateFolder, senderStateFolder } from './user-folders.ts';

/** After a signal the sender has this long to finish its commit... */
const stopMsMax = 15_000;
/** ...and this long while its source does not answer. */
const slowStopMs = 1000;

export class PushCommand extends ReplicaCommand {
  static override paths = [['push']];
  static override usage = Command.Usage({
    description: 'Make and keep the tree at <target> equal to the contents of <src>',
    examples: [
      ['Keep a copy on another machine', '$0 push ~/project backup.example.org'],
      ['A folder on this machine, once', '$0 push --once ./project /mnt/copy'],
      ['See what would be done', "$0 push -n --exclude '*.o' ./project /mnt/copy"],
    ],
  });
  static override notes = [
    '<target> is a receiver (host, host:port, [::1]:7375, or replica://host:port/name for one that holds several), a folder on another machine (ssh://user@host/path; /~/path is below the home there) or a folder on this machine (a path with a slash, or file: and a path). It becomes equal to what is in <src>.',
    "The receiver's key: --key-file, else REPLICA_KEY (a pairing string), else what 'replica pair' stored, else, on this machine, your own receiver's.",
    metricsNote,
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
  maxSize = Option.String('--max-size', {
    description: '<SIZE> Send no larger files: 500K, 1.5M, 2G; what the replica has of them stays',
  });
  oneFileSystem = Option.Boolean('-x,--one-file-system', {
    description: 'Send nothing below mount points; what the replica has there stays',
  });
  chmod = Option.String('--chmod', {
    description: "<HOW> Set modes at the replica, in rsync's form: D755,F644 or go-w,F-x",
  });
  owner = Option.Boolean('-o,--owner', {
    description: 'Keep the users that files belong to, by name; the receiver must run as root',
  });
  group = Option.Boolean('-g,--group', { description: 'Keep groups, as --owner keeps users' });
  xattrs = Option.Boolean('-X,--xattrs', {
    description:
      'Keep extended attributes of the user namespace; both ends need the package fs-xattr',
  });
  numericIds = Option.Boolean('--numeric-ids', {
    description: 'With --owner and --group: keep numbers, not names',
  });
  settle = Option.Array('--settle', {
    description:
      "<TIME> Send a file only once it was left alone this long; '*.log=5s' for some files; may be repeated",
  });
  noDelete = Option.Boolean('--no-delete', { description: 'Never delete at the destination' });
  maxDelete = Option.String('--max-delete', {
    description:
      '<N|P%> Hold back more deletes than N in one look, or than P% of over 1,000 entries within minutes (default 50%)',
  });
  acceptDeletes = Option.Boolean('--accept-deletes', {
    description: 'Carry out the deletes that are held, once',
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
    description: '<N> 1 to 19: less time or fewer bytes (default: brotli 5, zstd 9)',
  });
  optimize = Option.String('--optimize', {
    description:
      '<FOR> For an edit of which the old hashes are lost: bytes: ask the receiver for them, time: send whole blocks, auto: what is faster over this link (default auto)',
  });
  bwlimit = Option.String('--bwlimit', {
    description:
      '<RATE> Send at most this much a second: 512 (KiB), 1.5M, or by the clock: "08:00,512 19:00,off"',
  });
  scanJobs = Option.String('--scan-jobs', {
    description:
      '<N> Threads that look at the source, and as many that read it (default auto: one, or 8 where it is slow)',
  });
  cpuLimit = Option.String('--cpu-limit', {
    description: '<P%> Share of one core for looking for changes (default 10%)',
  });
  timeout = Option.String('--timeout', {
    description: '<TIME> With --once, give up when unreachable this long (default 30s)',
  });
  rsh = Option.String('-e,--rsh', {
    description: '<COMMAND> How to reach an ssh:// target (default ssh)',
  });
  replicaPath = Option.String('--replica-path', {
    description:
      '<F> Where replica is at an ssh:// target (default replica, found by the shell there)',
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
  metrics = Option.String('--metrics', { description: metricsDescription });
  insecure = Option.Boolean('--insecure', {
    description: 'No encryption, no key; loopback addresses only, for measurements',
  });

  protected override logFileFlag(): string | undefined {
    return this.logFile;
  }

  protected override wantsProgress(): boolean {
    return !this.dryRun;
  }

  protected override pair(): TreePair | undefined {
    return this;
  }

  protected override async perform(surroundings: Surroundings): Promise<ExitCode> {
    const { settings, folders, log, logFile, progress } = surroundings;
    const { cwd, hostname, signal, stdout } = this.context;
    const target = parseTarget(this.target);
    const own = readPushSettings(settings, this, cwd);
    const stateBase = resolve(cwd, settings.text('state', this.state)?.value ?? folders.state);
    const source = checkSource(resolve(cwd, this.source));
    const compression = readCompression(settings, this);
    if (own.dryRun) {
      const folder = senderStateFolder(stateBase, source, targetName(target, cwd));
      await refuseBesidePush(folder, signal);
    }
    using bandwidth = new Bandwidth(readBandwidth(settings.text('bwlimit', this.bwlimit)));
    const { context, programs } = this;
    const options = {
      surroundings,
      context,
      programs,
      flags: this,
      compression,
      throttle: bandwidth.throttle,
      isDryRun: own.dryRun,
    };
    let running: RunningSender | undefined;
    const metrics = new PushMetrics({
      source,
      nowMs: () => performance.now(),
      oldestChangeMs: () => oldestChangeMs(running?.status),
    });
    await using _server = await openMetrics(settings, this.metrics, { metrics, log });
    const route = await openRoute(target, source, options);
    try {
      const stateFolder = senderStateFolder(stateBase, source, route.name);
      makePrivateFolder(stateFolder);
      const other = await otherPush(stateFolder, signal);
      if (other !== undefined && !own.dryRun) {
        if (target.kind === 'ssh') throw heldBy(other);
        log.warn(
          { otherPid: other },
          `a push of this source to this target is running (pid ${other}): this one takes over`,
        );
      }
      const ownFiles = [realPathOf(stateBase), ...(logFile ? [realPathOf(logFile)] : [])];
      const sender = await this.programs.openSender({
        ...own,
        // Within this process no byte is worth a question.
        optimize: target.kind === 'path' && own.optimize === 'auto' ? 'time' : own.optimize,
        source,
        connect: abort => route.connect(abort),
        stateFolder,
        sourceId: sourceIdentity(source, hostname),
        label: `${hostname}:${source}`,
        replica: replicaOf(target),
        cpuMs: processCpuMs,
        exclude: [...own.exclude, ...ownFilesExclusions(source, ownFiles)],
        log,
        signal,
      });
      let isSlow = false;
      const graceMs = (): number => (isSlow ? slowStopMs : stopMsMax);
      const { pid } = process;
      const identity = { source, target: route.name, pid, protocol: controlProtocol };
      // A dry run has nothing to steer, and must not answer for a push that runs.
      const control = own.dryRun
        ? undefined
        : await openControl(stateFolder, sender, { identity, bandwidth, log });
      progress?.follow(() => sender.status);
      running = sender;
      const failures = new FailureNews();
      try {
        for await (const event of untilStopped(sender.run(), signal, graceMs)) {
          const isNews = failures.isNews(event, performance.now());
          reportEvent(event, { log, stdout, isNews });
          metrics.note(event);
          if (event.kind === 'source') isSlow = event.state === 'slow';
          if (event.kind !== 'end') continue;
          const { error } = event.outcome;
          if (error?.code !== 'ERR_FENCED') return outcomeExitCode(event.outcome, own);
          throw await takenOver({ folder: stateFolder, source, target: route.name }, error);
        }
        if (!signal.aborted) throw new Error('the sender ended without an outcome');
        return own.once ? ExitCode.Interrupted : ExitCode.Done;
      } finally {
        progress?.stop();
        await control?.close();
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
}

/** A receiver takes the newest sender: a dry run would end the push that keeps the replica true. */
async function refuseBesidePush(folder: string, signal: AbortSignal): Promise<void> {
  if ((await pushIn(folder, signal)) === undefined) return;
  throw new ReplicaError(
    'ERR_USAGE',
    "a push of this source to this target is running, which a dry run would end: 'replica list' shows what it has found",
  );
}

/** Each push over ssh has a receiver of its own, and there is one at a time for a folder. */
function heldBy(pid: number): ReplicaError {
  const text = `a push of this source to this target is running (pid ${pid}): stop it first`;
  return new ReplicaError('ERR_PATH', text);
}

/** Age of the oldest change that is not durable, 0 in sync, undefined while that is not known. */
function oldestChangeMs(status: SenderStatus | undefined): number | undefined {
  if (status?.inSync === true) return 0;
  return status === undefined || status.lagMs === 0 ? undefined : status.lagMs;
}
