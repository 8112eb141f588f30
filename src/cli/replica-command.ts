// What every command shares: the common flags, layered settings and the log.
import { resolve } from 'node:path';
import { Command, Option } from 'clipanion';
import type { Log } from '../log.ts';
import type { CommandEntry } from './catalog.ts';
import type { TreePair } from './config-file.ts';
import type { CliContext } from './context.ts';
import type { ExitCode } from './exit-code.ts';
import { type LogFormat, logFormats, openLog } from './logging.ts';
import type { Programs } from './programs.ts';
import { openProgress, type Progress } from './progress.ts';
import { type Flags, Settings } from './settings.ts';
import { type UserFolders, userFolders } from './user-folders.ts';

/** What cli.ts knows of all commands together. */
export interface CommandSet {
  readonly catalog: readonly CommandEntry[];
  readonly flagsOf: (command: string) => Flags;
  readonly allFlags: Flags;
  readonly names: readonly string[];
  /** Throws ERR_USAGE for a command line that no command understands. */
  readonly check: (argv: readonly string[]) => void;
}

/** What a command works with once its settings are read. */
export interface Surroundings {
  readonly settings: Settings;
  readonly folders: UserFolders;
  readonly log: Log;
  readonly logFile: string | undefined;
  /** On a terminal, for commands that want it. */
  readonly progress: Progress | undefined;
}

export abstract class ReplicaCommand extends Command<CliContext> {
  /** Paragraphs below the flags in --help. */
  static notes: readonly string[] = [];
  /** Flags that it has, as it is made from another command, and refuses: no help tells of them. */
  static refusedFlags: ReadonlySet<string> = new Set();

  envFile = Option.String('--env-file', {
    description: '<F> Read settings, REPLICA_<FLAG>=value, from F',
  });
  verboseCount = Option.Counter('-v,--verbose', { description: 'Log more' });
  quiet = Option.Boolean('-q,--quiet', {
    description: 'Log warnings and errors only; no progress on a terminal',
  });
  logFormat = Option.String('--log-format', {
    description:
      '<HOW> pretty: sentences; json: JSON lines; auto (default): pretty on a terminal, json elsewhere',
  });
  /** Both set by cli.ts before it calls `execute`. */
  commands!: CommandSet;
  programs!: Programs;

  /** Flags are valid and the log is open: do the work, return the exit code or throw. */
  protected abstract perform(surroundings: Surroundings): Promise<ExitCode>;

  /** --log-file, for the commands that have one. */
  protected logFileFlag(): string | undefined {
    return undefined;
  }

  /** Of a log that a program reads, whatever the settings say. */
  protected fixedLogFormat(): LogFormat | undefined {
    return undefined;
  }

  /** Does it have anything to show on a terminal's last line? */
  protected wantsProgress(): boolean {
    return false;
  }

  /** Source and target, for the commands that are about two trees. */
  protected pair(): TreePair | undefined {
    return undefined;
  }

  /** What a command about these two trees is told by environment and files. Throws ERR_USAGE. */
  protected settingsOf(path: readonly string[], pair: TreePair | undefined): Settings {
    const { env, cwd, home } = this.context;
    const envFile = this.envFile ?? (env.REPLICA_ENV_FILE || undefined);
    return Settings.load({
      command: path[0] ?? '',
      flags: this.commands.flagsOf(path.join(' ')),
      allFlags: this.commands.allFlags,
      env,
      envFile: envFile === undefined ? undefined : resolve(cwd, envFile),
      configFile: userFolders(this.context).configFile,
      sections: this.commands.names,
      home,
      pair: pair && { ...pair, cwd },
    });
  }

  override async execute(): Promise<ExitCode> {
    const { env, cwd, stderr, colorDepth } = this.context;
    const folders = userFolders(this.context);
    const flags = this.commands.flagsOf(this.path.join(' '));
    const settings = this.settingsOf(this.path, this.pair());
    const logFileName = flags.has('log-file')
      ? settings.text('log-file', this.logFileFlag())?.value
      : undefined;
    const logFile = logFileName === undefined ? undefined : resolve(cwd, logFileName);
    const isTerminal = 'isTTY' in stderr && stderr.isTTY === true;
    const isQuiet = settings.switch('quiet', this.quiet);
    const showsProgress = isTerminal && !isQuiet && this.wantsProgress();
    const progress = showsProgress ? await openProgress(stderr) : undefined;
    const format = settings.choice('log-format', this.logFormat, logFormats);
    const { log, noteFailure, reopen, close } = await openLog({
      stderr,
      isTerminal,
      colors: isTerminal && colorDepth > 1 && !env.NO_COLOR,
      verbosity: settings.count('verbose', this.verboseCount),
      isQuiet,
      format: this.fixedLogFormat() ?? format,
      logFile,
      onTerminalLine: () => progress?.clear(),
    });
    // Without a log file a hangup keeps its meaning: the terminal went away, end.
    const forgetHangup = logFile === undefined ? () => {} : this.context.onHangup(reopen);
    try {
      return await this.perform({ settings, folders, log, logFile, progress });
    } catch (error) {
      noteFailure(error);
      throw error;
    } finally {
      progress?.stop();
      forgetHangup();
      close();
    }
  }
}
