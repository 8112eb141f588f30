// `replica status` and `replica list`: where running pushes stand.
import { Command, Option } from 'clipanion';
import type { PollFigures } from '../sender/change.ts';
import type { SenderStatus } from '../sender/status-board.ts';
import { pairKey } from './config-file.ts';
import { contentTexts, fileText } from './content-text.ts';
import { choiceNote, OnePushCommand } from './control-command.ts';
import { count, formatBytes } from './counted.ts';
import { formatDuration } from './duration.ts';
import { ExitCode } from './exit-code.ts';
import { plainLine } from './plain-line.ts';
import { sourceRemedy } from './push-report.ts';
import type { Surroundings } from './replica-command.ts';
import { noPush, type RunningPush } from './running-pushes.ts';
import { usage } from './settings.ts';

/** What a push answers. */
type PushStatus = SenderStatus & { readonly bwlimit: string };

export class StatusCommand extends OnePushCommand {
  static override paths = [['status']];
  static override usage = Command.Usage({
    description: 'Say whether running pushes are in sync, and what keeps them from it',
    examples: [['Of all pushes of this user', '$0 status']],
  });
  static override notes = [
    "Without <src>: all pushes that are running, then the folders that 'replica add' remembered and that are not; 10 when none is running. Lag is the age of the oldest change that is not durable at the replica.",
    'With --json one line for each push: state is connecting, comparing, syncing, in sync, deletes held, paused, source gone or not running; inSync is true or false; content has bytesDone, bytesLeft and bytesPerSecond of what is under way, and the large file that is being sent.',
  ];

  protected override async perform(surroundings: Surroundings): Promise<ExitCode> {
    const pushes = await this.running(surroundings, this);
    for (const push of pushes) {
      // A push of this protocol answers with that.
      const status = (await this.ask(push, 'status')) as PushStatus;
      const { source, target, pid } = push;
      if (this.json) {
        this.print({ source, target, pid, ...status }, '');
        continue;
      }
      const [first, ...rest] = describe(push, status).map(plainLine);
      this.context.stdout.write(`${[first, ...rest].join('\n  ')}\n`);
    }
    if (this.source === undefined) this.#printResting(surroundings, pushes);
    if (pushes.length === 0) throw noPush(this);
    return ExitCode.Done;
  }

  /** Folders of the config file that nothing replicates now. */
  #printResting({ settings }: Surroundings, pushes: readonly RunningPush[]): void {
    const running = new Set(pushes.map(push => pairKey(push, '/')));
    for (const { source, target, ...folder } of settings.folders) {
      if (running.has(pairKey({ source, target }, '/'))) continue;
      const fields = { source, target, state: 'not running', inSync: false };
      this.print(fields, `${source} -> ${target}`);
      if (this.json) continue;
      const flags = [...folder.values.keys()].map(flag => `--${flag}`).join(' ');
      const own = flags === '' ? '' : `, with ${flags}`;
      this.context.stdout.write(`  not running: 'replica up' runs it${plainLine(own)}\n`);
    }
  }
}

export class ListCommand extends OnePushCommand {
  static override paths = [['list']];
  static override usage = Command.Usage({
    description:
      'List the changes that a running push has found and not yet made durable, and the deletes it holds',
    examples: [['The oldest ten', '$0 list --limit 10']],
  });
  static override notes = [
    "One line each, oldest first, as 'push --dry-run' prints them; then 'held delete' and the path for what waits for approve or reject.",
    choiceNote,
  ];

  limit = Option.String('--limit', { description: '<N> At most this many (default 1000)' });

  protected override async perform(surroundings: Surroundings): Promise<ExitCode> {
    const setting = surroundings.settings.text('limit', this.limit);
    if (setting !== undefined && !/^\d{1,9}$/.test(setting.value)) {
      throw usage(setting.origin, `'${setting.value}' is no count`);
    }
    const push = await this.one(surroundings);
    const argument = Number(setting?.value ?? 1000);
    const lines = (await this.ask(push, 'list', { argument })) as readonly string[];
    for (const line of lines) this.print({ change: line }, line);
    return ExitCode.Done;
  }
}

/** For people: the push, then what is to be said of it. */
export function describe(push: RunningPush, status: PushStatus): readonly [string, ...string[]] {
  const { state, reason, peer, entries, outstanding, lagMs, held, drift, problems, poll } = status;
  const { bwlimit, content } = status;
  const lines: string[] = [];
  const why = reason === '' ? '' : `: ${reason}`;
  // As long as it is looked at for the first time nobody knows.
  const tree = entries === 0 && content?.isPartial ? '' : `; ${count(entries, 'entry', 'entries')}`;
  lines.push(`${state}${why}${tree}`);
  if (content !== undefined && outstanding > 0) {
    const amount = contentTexts(content, outstanding);
    if (amount.length > 0) lines.push(amount.join('; '));
    lines.push(...fileText(content));
  }
  // One that hangs says so itself.
  if (state === 'source gone' && !reason.includes('nothing is deleted')) {
    lines.push(sourceRemedy(reason));
  }
  if (outstanding > 0 || lagMs > 0) {
    const lag = formatDuration(lagMs);
    lines.push(`${count(outstanding, 'change')} under way, the oldest for ${lag}`);
  }
  if (peer !== '' && state !== 'connecting') {
    lines.push(`receiver: ${peer}, commit ${status.watermark}`);
  }
  if (status.commits > 0) {
    const { commits, operations, bytesSent, bytesReused } = status;
    const sent = `${formatBytes(bytesSent)} sent, ${formatBytes(bytesReused)} reused`;
    lines.push(`${count(operations, 'operation')} in ${count(commits, 'commit')}, ${sent}`);
  }
  const { tooLarge = 0 } = status;
  if (tooLarge > 0) lines.push(`${count(tooLarge, 'file')} beyond --max-size skipped`);
  if (status.special > 0) {
    lines.push(
      `${count(status.special, 'socket, pipe or device', 'sockets, pipes or devices')} skipped`,
    );
  }
  const { rejected = 0 } = status;
  if (rejected > 0) {
    const names = count(rejected, 'name', 'names');
    lines.push(
      `${names} gone at the source stay at the replica: their deletes were rejected ('replica reject --undo' takes that back)`,
    );
  }
  if (bwlimit !== 'off') lines.push(`limited by --bwlimit ${bwlimit}`);
  if (poll !== undefined) lines.push(describePoll(poll));
  if (held !== undefined) {
    if (state !== 'deletes held') lines.push(`${count(held.count, 'delete')} held: ${held.reason}`);
    lines.push("'replica approve' carries them out, 'replica reject' leaves them at the replica");
  }
  if (drift > 0) {
    lines.push(`${count(drift, 'entry', 'entries')} changed at the destination, put right`);
  }
  for (const { path, code, message, agoMs } of problems) {
    lines.push(`${path}: ${message} (${code}), ${formatDuration(agoMs)} ago`);
  }
  return [`${push.source} -> ${push.target} (pid ${push.pid})`, ...lines];
}

function describePoll({ passPeriodMs, sweepPeriodMs, hotDirectories }: PollFigures): string {
  const every = `every file looked at every ${formatDuration(sweepPeriodMs)}`;
  // Where every tick is a sweep, names are looked at no more often than files.
  if (passPeriodMs === 0) return every;
  const hot = count(hotDirectories, 'hot directory', 'hot directories');
  return `names looked at every ${formatDuration(passPeriodMs)}, ${every}; ${hot}`;
}
