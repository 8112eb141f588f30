// `replica verify`: compares a source with its replica by content.
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, Option } from 'clipanion';
import type { SenderOutcome } from '../sender/events.ts';
import type { Difference, Verified } from '../sender/verifier.ts';
import { defaultMaxDelete } from '../snapshot/guard.ts';
import { printable } from '../snapshot/name.ts';
import { realPathOf } from '../store/real-path.ts';
import { checkSource } from './checks.ts';
import { closeInTime } from './close-in-time.ts';
import type { TreePair } from './config-file.ts';
import { formatBytes } from './counted.ts';
import { processCpuMs } from './cpu-time.ts';
import { ExitCode } from './exit-code.ts';
import { plainLine } from './plain-line.ts';
import type { RunningVerifier } from './programs.ts';
import { reportEvent } from './push-report.ts';
import {
  ownFilesExclusions,
  readCpuLimit,
  readSelection,
  type Selection,
} from './push-settings.ts';
import { ReplicaCommand, type Surroundings } from './replica-command.ts';
import { openRoute, type Route } from './route.ts';
import { sourceIdentity } from './source-identity.ts';
import { parseTarget, replicaOf } from './target.ts';
import { makePrivateFolder, senderStateFolder } from './user-folders.ts';

/** Between looks at what a sender that is running puts right. */
const lookMs = 1000;

/** What `perform` found out, for its helpers. */
interface Work {
  readonly source: string;
  readonly route: Route;
  readonly stateBase: string;
  readonly replica: string | undefined;
  readonly selection: Selection;
  readonly surroundings: Surroundings;
}

export class VerifyCommand extends ReplicaCommand {
  static override paths = [['verify']];
  static override usage = Command.Usage({
    description: 'Compare <src> with its replica at <target> by content',
    examples: [
      ['Is the copy good, to the last byte', '$0 verify ~/project backup.example.org'],
      ['Put right what is not', '$0 verify --repair ~/project backup.example.org'],
    ],
  });
  static override notes = [
    'Both sides read every file. A line for each path that differs, then a summary; 0 when equal, 23 when not. Nothing is changed without --repair, not even times, and a push that is running goes on; one to a folder on this machine or through ssh must be stopped first.',
    'Reasons: content, missing (at the replica), extra (there only), type, mode, time, target, hard link, unreadable, changing (while it was read).',
    '<target> and the key are as for push; give the same --exclude, --max-size and -x.',
  ];

  source = Option.String({ name: 'src' });
  target = Option.String({ name: 'target' });
  repair = Option.Boolean('--repair', {
    description: 'Make the replica equal; what it had is kept',
  });
  json = Option.Boolean('--json', { description: 'A JSON line for each path and the summary' });
  subPaths = Option.Array('--path', {
    description: '<SUB> Only this part of the source; may be repeated',
  });
  exclude = Option.Array('--exclude', { description: '<PATTERN> As for push' });
  excludeFrom = Option.Array('--exclude-from', { description: '<F> As for push' });
  deleteExcluded = Option.Boolean('--delete-excluded', {
    description: 'Excluded entries should not be at the replica',
  });
  maxSize = Option.String('--max-size', {
    description: '<SIZE> Compare no larger files, as for push',
  });
  oneFileSystem = Option.Boolean('-x,--one-file-system', {
    description: 'Stay on one file system, as for push',
  });
  chmod = Option.String('--chmod', {
    description: "<HOW> As for push: modes at the replica, in rsync's form: D755,F644 or go-w,F-x",
  });
  owner = Option.Boolean('-o,--owner', { description: 'Compare users, as push keeps them' });
  group = Option.Boolean('-g,--group', { description: 'Compare groups' });
  xattrs = Option.Boolean('-X,--xattrs', {
    description: 'Compare extended attributes, as push keeps them',
  });
  timeout = Option.String('--timeout', {
    description: '<TIME> Give up when unreachable this long (default 30s)',
  });
  rsh = Option.String('-e,--rsh', {
    description: '<COMMAND> How to reach an ssh:// target (default ssh)',
  });
  replicaPath = Option.String('--replica-path', {
    description:
      '<F> Where replica is at an ssh:// target (default replica, found by the shell there)',
  });
  keyFile = Option.String('--key-file', { description: "<F> The receiver's key" });
  state = Option.String('--state', { description: '<DIR> As for push' });
  specialBits = Option.Boolean('--special-bits', {
    description: 'Local target: as for receive',
  });
  logFile = Option.String('--log-file', { description: '<F> Append JSON lines to F' });
  insecure = Option.Boolean('--insecure', {
    description: 'No encryption, no key; loopback addresses only, for measurements',
  });

  protected override logFileFlag(): string | undefined {
    return this.logFile;
  }

  protected override pair(): TreePair {
    return this;
  }

  protected override async perform(surroundings: Surroundings): Promise<ExitCode> {
    const { folders, log, logFile } = surroundings;
    const { cwd, hostname, signal } = this.context;
    const target = parseTarget(this.target);
    const stateBase = resolve(
      cwd,
      surroundings.settings.text('state', this.state)?.value ?? folders.state,
    );
    const source = checkSource(resolve(cwd, this.source));
    const given = readSelection(surroundings.settings, this, cwd);
    const ownFiles = [realPathOf(stateBase), ...(logFile ? [realPathOf(logFile)] : [])];
    const exclude = [...given.exclude, ...ownFilesExclusions(source, ownFiles)];
    const { context, programs } = this;
    const options = { surroundings, context, programs, flags: this, isOnlyVerified: true };
    const route = await openRoute(target, source, options);
    try {
      const verifier = await programs.openVerifier({
        source,
        connect: abort => route.connect(abort),
        sourceId: sourceIdentity(source, hostname),
        label: `${hostname}:${source}`,
        replica: replicaOf(target),
        paths: given.paths,
        exclude,
        deleteExcluded: given.deleteExcluded,
        maxSize: given.maxSize,
        oneFileSystem: given.oneFileSystem,
        attributes: given.attributes,
        timeoutMs: given.timeoutMs,
        signal,
      });
      try {
        const selection = { ...given, exclude };
        return await this.#verify(verifier, {
          ...{ source, route, stateBase, selection, surroundings },
          replica: replicaOf(target),
        });
      } finally {
        await closeInTime(() => verifier.close(), log, this.context);
      }
    } catch (error) {
      if (signal.aborted) return ExitCode.Interrupted;
      throw error;
    } finally {
      await route.close();
    }
  }

  async #verify(verifier: RunningVerifier, work: Work): Promise<ExitCode> {
    let verified = await verifier.pass();
    this.#printAll(verified);
    if (verified.differences.length > 0 && this.repair) {
      await this.#makeEqual(verifier, verified, work);
      verified = await verifier.pass();
      if (verified.differences.length > 0) this.#printAll(verified);
      this.#summarise(verified, 'repaired: ');
    } else this.#summarise(verified, '');
    if (this.context.signal.aborted) return ExitCode.Interrupted;
    return verified.differences.length > 0 ? ExitCode.Partial : ExitCode.Done;
  }

  /** By the sender that is running, or by one of our own. */
  async #makeEqual(verifier: RunningVerifier, found: Verified, work: Work): Promise<void> {
    const { signal } = this.context;
    const { hasSender } = await verifier.mend(found.differences);
    if (!hasSender) {
      await this.#push(work);
      return;
    }
    const deadlineMs = performance.now() + work.selection.timeoutMs;
    let left: readonly Difference[] = found.differences;
    while (left.length > 0 && performance.now() < deadlineMs && !signal.aborted) {
      await sleep(lookMs, undefined, { signal }).catch(() => {});
      left = (await verifier.again(left)).differences;
    }
  }

  /** `push --once`. */
  async #push({ source, route, stateBase, selection, replica, surroundings }: Work): Promise<void> {
    const { hostname, signal, stdout } = this.context;
    const { log } = surroundings;
    const stateFolder = senderStateFolder(stateBase, source, route.name);
    makePrivateFolder(stateFolder);
    const sender = await this.programs.openSender({
      ...onePass,
      ...selection,
      source,
      connect: abort => route.connect(abort),
      stateFolder,
      sourceId: sourceIdentity(source, hostname),
      label: `${hostname}:${source}`,
      replica,
      cpuMs: processCpuMs,
      log,
      signal,
    });
    let outcome: SenderOutcome | undefined;
    try {
      for await (const event of sender.run()) {
        reportEvent(event, { log, stdout });
        if (event.kind === 'end') outcome = event.outcome;
      }
    } finally {
      await closeInTime(() => sender.close(), log, this.context);
    }
    if (outcome?.error !== undefined) throw outcome.error;
  }

  #printAll({ differences }: Verified): void {
    for (const { path, reason, kind } of differences) {
      const shown = printable(path === '' ? '.' : path);
      const slash = kind === 'directory' ? '/' : '';
      this.#print({ reason, path: shown, kind }, `${reason.padEnd(11)} ${shown}${slash}`);
    }
  }

  #summarise({ differences, entries, bytes }: Verified, prefix: string): void {
    const count = differences.length;
    const what = `${entries} ${entries === 1 ? 'entry' : 'entries'}, ${formatBytes(bytes)} read`;
    const isEqual = count === 0;
    const text = isEqual ? `equal: ${what}` : `not equal: ${count} of ${what}`;
    const fields = { equal: isEqual, differences: count, entries, bytes };
    this.#print(fields, prefix === '' || !isEqual ? text : `${prefix}${text}`);
  }

  #print(fields: object, text: string): void {
    const line = this.json ? JSON.stringify(fields) : plainLine(text);
    this.context.stdout.write(`${line}\n`);
  }
}

/** What a push does unless told otherwise, once. */
const onePass = {
  intervalMs: 500,
  once: true,
  dryRun: false,
  delete: true,
  maxDelete: defaultMaxDelete,
  acceptDeletes: false,
  checksum: false,
  scanJobs: 'auto',
  cpuShare: readCpuLimit(undefined),
  takeOver: false,
} as const;
