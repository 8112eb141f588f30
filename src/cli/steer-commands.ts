// `replica flush`, `pause`, `resume`, `approve`, `reject` and `explain`: a running push is told what
// to do, or asked about one path.
import { isAbsolute, relative, resolve, sep } from 'node:path';
import { Command, Option } from 'clipanion';
import { ReplicaError } from '../errors.ts';
import type { Explanation } from '../sender/explain.ts';
import type { Flushed } from '../sender/steering.ts';
import { realPathOf } from '../store/real-path.ts';
import { parseBandwidth } from './bandwidth.ts';
import { ControlCommand, choiceNote, OnePushCommand } from './control-command.ts';
import { count } from './counted.ts';
import { formatDuration } from './duration.ts';
import { ExitCode } from './exit-code.ts';
import { formatTime } from './local-time.ts';
import type { Surroundings } from './replica-command.ts';
import { noPush } from './running-pushes.ts';

const flushBounds = { fallback: '24h', min: 1, max: 86_400_000 };

export class FlushCommand extends OnePushCommand {
  static override paths = [['flush']];
  static override usage = Command.Usage({
    description: 'Wait until everything at the source now is durable at the replica',
    examples: [['Before a deploy', '$0 flush ./site --timeout 30s && ssh web ./deploy']],
  });
  static override notes = [
    'Looks at the whole source at once, so an edit made just before is included, wherever it is. 23: some entries could not be read; 25: deletes are held.',
    choiceNote,
  ];

  timeout = Option.String('--timeout', {
    description: '<TIME> Give up after this long, with code 30 (default 24h)',
  });

  protected override async perform(surroundings: Surroundings): Promise<ExitCode> {
    const timeoutMs = surroundings.settings.duration('timeout', this.timeout, flushBounds);
    const { signal } = this.context;
    const push = await this.one(surroundings);
    const begunMs = performance.now();
    const late = AbortSignal.timeout(timeoutMs);
    let flushed: Flushed;
    try {
      const either = AbortSignal.any([signal, late]);
      flushed = (await this.ask(push, 'flush', { signal: either })) as Flushed; // What it answers with.
    } catch (error) {
      if (signal.aborted) return ExitCode.Interrupted;
      if (!late.aborted) throw error;
      const message = `not everything was durable within ${formatDuration(timeoutMs)}; see 'replica status'`;
      throw new ReplicaError('ERR_TIMEOUT', message, { cause: error });
    }
    const { entries, problems, held } = flushed;
    const ms = Math.round(performance.now() - begunMs);
    const but = [
      ...(problems > 0 ? [`${count(problems, 'entry', 'entries')} not transferred`] : []),
      ...(held > 0 ? [`${count(held, 'delete')} held`] : []),
    ];
    const text = `${count(entries, 'entry', 'entries')} durable after ${formatDuration(ms)}`;
    this.print({ ...flushed, ms }, [text, ...but].join('; '));
    if (problems > 0) return ExitCode.Partial;
    return held > 0 ? ExitCode.Held : ExitCode.Done;
  }
}

export class PauseCommand extends OnePushCommand {
  static override paths = [['pause']];
  static override usage = Command.Usage({
    description: "Let a running push rest until 'replica resume', or until it is started again",
    examples: [['While the source is rebuilt', '$0 pause ./site']],
  });
  static override notes = [
    'It finishes what it has begun to send, and stays connected.',
    choiceNote,
  ];

  protected override async perform(surroundings: Surroundings): Promise<ExitCode> {
    const push = await this.one(surroundings);
    await this.ask(push, 'pause');
    this.print({ paused: true }, `paused: ${push.source} -> ${push.target}`);
    return ExitCode.Done;
  }
}

export class ResumeCommand extends OnePushCommand {
  static override paths = [['resume']];
  static override usage = Command.Usage({
    description: 'Let a paused push go on',
    examples: [['After the build', '$0 resume ./site']],
  });
  static override notes = [choiceNote];

  protected override async perform(surroundings: Surroundings): Promise<ExitCode> {
    const push = await this.one(surroundings);
    await this.ask(push, 'resume');
    this.print({ paused: false }, `resumed: ${push.source} -> ${push.target}`);
    return ExitCode.Done;
  }
}

export class BwlimitCommand extends ControlCommand {
  static override paths = [['bwlimit']];
  static override usage = Command.Usage({
    description: 'Limit how fast a running push sends, from now on',
    examples: [['Slower by day', "$0 bwlimit '08:00,512 19:00,off' ./site"]],
  });
  static override notes = [
    "<rate> is as for 'push --bwlimit', off for no limit. A push that is started again goes by its own flag.",
    choiceNote,
  ];

  rate = Option.String({ name: 'rate' });
  source = Option.String({ name: 'src', required: false });
  target = Option.String({ name: 'target', required: false });

  protected override async perform(surroundings: Surroundings): Promise<ExitCode> {
    const { text } = parseBandwidth(this.rate, '<rate>');
    const push = await this.choose(surroundings, this);
    const bwlimit = String(await this.ask(push, 'bwlimit', { argument: text }));
    this.print({ bwlimit }, `limit ${bwlimit}: ${push.source} -> ${push.target}`);
    return ExitCode.Done;
  }
}

export class ApproveCommand extends OnePushCommand {
  static override paths = [['approve']];
  static override usage = Command.Usage({
    description: 'Carry out the deletes that a running push holds back',
    examples: [['See them first', '$0 list; $0 approve']],
  });
  static override notes = [
    'What is deleted is kept in the replica for a while (--keep of the receiver). Where another directory is in place of the source, this says that it is the source now.',
    choiceNote,
  ];

  protected override async perform(surroundings: Surroundings): Promise<ExitCode> {
    const push = await this.one(surroundings);
    const approved = Number(await this.ask(push, 'approve'));
    this.print({ approved }, `${count(approved, 'delete')} approved`);
    return ExitCode.Done;
  }
}

export class RejectCommand extends OnePushCommand {
  static override paths = [['reject']];
  static override usage = Command.Usage({
    description: 'Leave at the replica what a running push would delete and holds back',
    examples: [['After files were lost at the source', '$0 reject']],
  });
  static override notes = [
    'This holds for as long as the push runs; a push that is started again asks again.',
    choiceNote,
  ];

  undo = Option.Boolean('--undo', {
    description:
      'Take the rejection back: the deletes are judged anew, and held as before if they were',
  });

  protected override async perform(surroundings: Surroundings): Promise<ExitCode> {
    const push = await this.one(surroundings);
    if (this.undo) {
      const undone = Number(await this.ask(push, 'unreject'));
      this.print({ undone }, `${count(undone, 'name')} judged anew`);
      return ExitCode.Done;
    }
    const rejected = Number(await this.ask(push, 'reject'));
    this.print({ rejected }, `${count(rejected, 'delete')} rejected`);
    return ExitCode.Done;
  }
}

export class ExplainCommand extends ControlCommand {
  static override paths = [['explain']];
  static override usage = Command.Usage({
    description: 'Say why a path of a source is, or is not, at its replica',
    examples: [['Is it ignored?', '$0 explain ./site/build/app.js']],
  });
  static override notes = [
    "Asks every running push whose source has the path; the path may be gone already. 'In sync since' is the time of the last commit that touched it; of what was in sync when the push began, 'or before' is added.",
  ];

  subject = Option.String({ name: 'path' });

  protected override async perform(surroundings: Surroundings): Promise<ExitCode> {
    const path = resolve(this.context.cwd, this.subject);
    // The path itself may be a link, or be gone; what leads to it is looked up.
    const place = resolve(realPathOf(resolve(path, '..')), relative(resolve(path, '..'), path));
    const pushes = (await this.running(surroundings, { source: undefined, target: undefined }))
      .map(push => ({ push, below: relative(push.source, place) }))
      .filter(({ below }) => !isAbsolute(below) && below !== '..' && !below.startsWith(`..${sep}`));
    if (pushes.length === 0) throw noPush({ source: this.subject, target: undefined });
    for (const { push, below } of pushes) {
      const answer = (await this.ask(push, 'explain', { argument: below })) as Explanation; // As it answers.
      const { state, detail, since } = answer;
      const to = pushes.length > 1 ? `${push.target}: ` : '';
      const fields = { path: below === '' ? '.' : below, target: push.target, state, detail };
      const text = `${to}${state}${detail === '' ? '' : `: ${detail}`}`;
      this.print({ ...fields, ...sinceFields(since) }, `${text}${describeSince(since)}`);
    }
    return ExitCode.Done;
  }
}

function describeSince(since: Explanation['since']): string {
  if (since === undefined) return '';
  return `, since ${formatTime(since.timeMs)}${since.isExact ? '' : ' or before'}`;
}

function sinceFields(since: Explanation['since']): object {
  if (since === undefined) return {};
  return { since: new Date(since.timeMs).toISOString(), isSinceExact: since.isExact };
}
