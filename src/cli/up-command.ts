// `replica up`: a push for each folder of the config file, each in a process of its own.
import { Command, Option } from 'clipanion';
import type { Log } from '../log.ts';
import { type RunningCommand, startCommand } from './child-command.ts';
import type { ConfigFolder } from './config-file.ts';
import { ExitCode, exitCodeMeanings } from './exit-code.ts';
import { plainLine } from './plain-line.ts';
import { ReplicaCommand, type Surroundings } from './replica-command.ts';
import { usage } from './settings.ts';
import { sharedMetrics } from './shared-metrics.ts';

export class UpCommand extends ReplicaCommand {
  static override paths = [['up']];
  static override usage = Command.Usage({
    description: "Run a push for each folder that 'replica add' remembered",
    examples: [
      ['Until Control-C', '$0 up'],
      ['Each once, as from cron', '$0 up --once'],
    ],
  });
  static override notes = [
    'Each push is a process of its own: one that fails ends alone, and is named. SIGINT and SIGTERM end all of them, each after its commit. The exit code is the highest of theirs.',
    "A setting is looked for in this order: the environment, the --env-file, the folder's own entry in ~/.config/replica/config.json, the section of push there, its top level.",
    "If --metrics is set for all of them, here or in ~/.config/replica/config.json, the first folder has that port and the others the ports after it, in the order of the file. A folder's own entry may name another.",
  ];

  once = Option.Boolean('--once', { description: 'End when each source and replica are equal' });
  metrics = Option.String('--metrics', {
    description:
      '<[HOST:]PORT> As for push: the first folder at this port, each further one at the next',
  });
  logFile = Option.String('--log-file', { description: '<F> Append JSON lines to F' });

  protected override logFileFlag(): string | undefined {
    return this.logFile;
  }

  protected override async perform({ settings, folders, log }: Surroundings): Promise<ExitCode> {
    const { signal, cwd, env } = this.context;
    if (settings.folders.length === 0) {
      throw usage(folders.configFile, "it has no folders; 'replica add <src> <target>' adds one");
    }
    const once = settings.switch('once', this.once);
    const flags = [
      ...(once ? ['--once'] : []),
      ...(this.envFile === undefined ? [] : ['--env-file', this.envFile]),
      ...Array.from({ length: this.verboseCount ?? 0 }, () => '-v'),
      // They are taken apart here, and written as is wanted.
      ...['--log-format', 'json'],
    ];
    // The log file is ours: each line would be there twice.
    const { REPLICA_LOG_FILE: _, ...childEnv } = env;
    const start = this.programs.startCommand ?? startCommand;
    const addresses = sharedMetrics(
      settings.folders.map(folder => {
        const setting = this.settingsOf(['push'], folder).text('metrics', this.metrics);
        return { folder, setting };
      }),
    );
    const sources = settings.folders.map(({ source }) => source);
    const runs = settings.folders.map(folder => {
      const isAlone = sources.indexOf(folder.source) === sources.lastIndexOf(folder.source);
      const name = isAlone ? folder.source : `${folder.source} to ${folder.target}`;
      const address = addresses.get(folder);
      const metrics = address === undefined ? [] : ['--metrics', address];
      const argv = ['push', ...flags, ...metrics, '--', folder.source, folder.target];
      return { folder, name, command: start(argv, { cwd, env: childEnv }) };
    });
    const stop = (): void => {
      for (const { command } of runs) command.stop();
    };
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    try {
      const isAlone = runs.length === 1;
      const options = { log, isStopped: () => signal.aborted, isAlone };
      const codes = await Promise.all(runs.map(run => follow(run, options)));
      return codes.reduce((worst, code) => (code > worst ? code : worst));
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }
}

interface Run {
  readonly folder: ConfigFolder;
  /** Tells it from the others in the log. */
  readonly name: string;
  readonly command: RunningCommand;
}

interface FollowOptions {
  readonly log: Log;
  readonly isStopped: () => boolean;
  readonly isAlone: boolean;
}

/** Passes on what one push says, and returns its exit code. */
async function follow(run: Run, options: FollowOptions): Promise<ExitCode> {
  const { log, isStopped, isAlone } = options;
  const { command, name } = run;
  const { source, target } = run.folder;
  for await (const line of command.lines) passOn(line, run, log);
  const ended = await command.ended;
  const code = knownExitCode(ended);
  const fields = { source, target, code };
  if (code === ExitCode.Done || (ended === undefined && isStopped())) {
    log.info(fields, `${name}: ended`);
    return ExitCode.Done;
  }
  const others = isStopped() || isAlone ? '' : '; the others go on';
  log.error(fields, `${name}: ended with exit code ${code}${others}`);
  return code;
}

/** One that was killed lost nothing, but did not do what it should. */
function knownExitCode(code: number | undefined): ExitCode {
  return exitCodeMeanings.find(([known]) => known === code)?.[0] ?? ExitCode.Io;
}

/** A line of JSON from the log keeps its level and fields; anything else is its last word. */
function passOn(line: string, { folder, name }: Run, log: Log): void {
  const { source, target } = folder;
  const fields = parseLine(line);
  if (fields === undefined) {
    const text = plainLine(line.replace(/^replica: /, ''));
    if (text !== '') log.error({ source, target }, `${name}: ${text}`);
    return;
  }
  const { level, msg, time: _, pid, ...rest } = fields;
  const write = levels.find(one => one === level) ?? 'info';
  log[write]({ source, target, childPid: pid, ...rest }, `${name}: ${String(msg)}`);
}

const levels = ['debug', 'info', 'warn', 'error'] as const;

function parseLine(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
