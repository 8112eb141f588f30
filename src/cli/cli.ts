// The command line as a function: arguments and a context in, an exit code out.
import { Cli, type CommandClass } from 'clipanion';
import { ReplicaError } from '../errors.ts';
import { AddCommand } from './add-command.ts';
import { type CommandEntry, commandEntry, type FlagEntry } from './catalog.ts';
import type { CliContext } from './context.ts';
import { DoctorCommand } from './doctor-command.ts';
import { CompletionCommand, ManCommand } from './document-commands.ts';
import { ExitCode, exitCodeMeanings, exitCodeOf } from './exit-code.ts';
import { formatCommandHelp, formatOverview } from './help.ts';
import { KeyListCommand, KeyNewCommand, KeyRevokeCommand, KeyShowCommand } from './key-command.ts';
import { LogCommand } from './log-command.ts';
import { PairCommand } from './pair-command.ts';
import { plainLine } from './plain-line.ts';
import { type Programs, realPrograms } from './programs.ts';
import { PushCommand } from './push-command.ts';
import { ReceiveCommand } from './receive-command.ts';
import { RemoveCommand } from './remove-command.ts';
import { type CommandSet, ReplicaCommand } from './replica-command.ts';
import { ServicePushCommand, ServiceReceiveCommand, ServiceUpCommand } from './service-command.ts';
import { ListCommand, StatusCommand } from './status-command.ts';
import {
  ApproveCommand,
  BwlimitCommand,
  ExplainCommand,
  FlushCommand,
  PauseCommand,
  RejectCommand,
  ResumeCommand,
} from './steer-commands.ts';
import { UpCommand } from './up-command.ts';
import { usageMessage } from './usage-message.ts';
import { VerifyCommand } from './verify-command.ts';
import { readVersion } from './version.ts';

const commandClasses: readonly (CommandClass<CliContext> & {
  readonly notes: readonly string[];
  readonly refusedFlags: ReadonlySet<string>;
})[] = [
  ReceiveCommand,
  PushCommand,
  StatusCommand,
  ListCommand,
  ExplainCommand,
  FlushCommand,
  PauseCommand,
  ResumeCommand,
  BwlimitCommand,
  ApproveCommand,
  RejectCommand,
  AddCommand,
  RemoveCommand,
  UpCommand,
  VerifyCommand,
  LogCommand,
  PairCommand,
  KeyShowCommand,
  KeyNewCommand,
  KeyListCommand,
  KeyRevokeCommand,
  DoctorCommand,
  ServicePushCommand,
  ServiceReceiveCommand,
  ServiceUpCommand,
  CompletionCommand,
  ManCommand,
];

/** Runs one command to its end. Never throws and never exits: errors become one line and a code. */
export async function runCli(
  argv: readonly string[],
  context: CliContext,
  programs: Programs = realPrograms,
): Promise<ExitCode> {
  const cli = Cli.from<CliContext>([...commandClasses], { binaryName: 'replica' });
  const definitions = cli.definitions();
  const entries = commandClasses.flatMap(({ notes }, index) => {
    const definition = definitions[index];
    return definition ? [commandEntry(definition, notes)] : [];
  });
  const catalog = entries.map((entry, index) => {
    const refused = commandClasses[index]?.refusedFlags;
    const isTaken = ({ names }: FlagEntry): boolean => !names.some(name => refused?.has(name));
    return { ...entry, flags: entry.flags.filter(isTaken) };
  });
  const options = { catalog, context };
  const check = (words: readonly string[]): void => void parse(cli, words, options);
  const known = { ...commandSet(entries), catalog, check };
  try {
    const answer = informationFor(argv, catalog);
    if (answer !== undefined) {
      context.stdout.write(answer);
      return ExitCode.Done;
    }
    const command = parse(cli, argv, options);
    command.commands = known;
    command.programs = programs;
    return await command.execute();
  } catch (error) {
    return report(error, argv, context);
  }
}

/** The answer to --help and --version, or undefined when there is work to do. */
function informationFor(
  argv: readonly string[],
  catalog: readonly CommandEntry[],
): string | undefined {
  const end = argv.indexOf('--');
  const own = end < 0 ? argv : argv.slice(0, end);
  const words = own.filter(word => !word.startsWith('-'));
  const wantsHelp = own.includes('--help') || own.includes('-h') || argv.length === 0;
  const wantsVersion = own.includes('--version') || (own.length === 1 && own[0] === '-v');
  if (words.length === 0 && wantsVersion) return `replica ${readVersion()}\n`;
  if (!wantsHelp && !(words[0] === 'help')) return undefined;
  const topic = words[0] === 'help' ? words.slice(1) : words;
  const matches = catalog.filter(({ words: path }) =>
    path.slice(0, Math.max(topic.length, 1)).every((word, i) => topic[i] === word),
  );
  if (topic.length === 0) return formatOverview(catalog, exitCodeMeanings);
  if (matches.length === 0) {
    const text = usageMessage({ argv: topic, catalog, message: '', missingCount: 0 });
    throw new ReplicaError('ERR_USAGE', text);
  }
  return formatCommandHelp(matches, exitCodeMeanings);
}

interface ParseOptions {
  readonly catalog: readonly CommandEntry[];
  readonly context: CliContext;
}

function parse(
  cli: Cli<CliContext>,
  argv: readonly string[],
  { catalog, context }: ParseOptions,
): ReplicaCommand {
  const parsed = attempt(cli, argv, context);
  if (parsed instanceof ReplicaCommand) return parsed;
  // clipanion does not say what is missing: it is what makes the line one that it takes.
  const more = Array.from({ length: argumentsMax }, (_, i) => i + 1);
  const missingCount =
    more.find(count => {
      const placeholders = Array.from({ length: count }, () => 'x');
      return attempt(cli, [...argv, ...placeholders], context) instanceof ReplicaCommand;
    }) ?? 0;
  // Its errors carry a usage screen after the first line.
  const message = parsed instanceof Error ? (parsed.message.split('\n')[0] ?? '') : '';
  const text = usageMessage({ argv, catalog, message, missingCount });
  throw new ReplicaError('ERR_USAGE', text, { cause: parsed });
}

/** Positionals that a command has at most. */
const argumentsMax = 3;

/** The command, or what clipanion throws or returns for what is none of ours. */
function attempt(cli: Cli<CliContext>, argv: readonly string[], context: CliContext): unknown {
  try {
    return cli.process([...argv], context);
  } catch (error) {
    return error;
  }
}

/** One line on stderr. A bug shows its stack when asked, as only then it helps. */
function report(error: unknown, argv: readonly string[], context: CliContext): ExitCode {
  const code = exitCodeOf(error);
  const message = error instanceof Error ? error.message : String(error);
  if (code !== ExitCode.Bug) {
    context.stderr.write(`replica: ${plainLine(message)}\n`);
    return code;
  }
  const isVerbose = argv.some(word => word === '--verbose' || /^-v+$/.test(word));
  const stack = isVerbose && error instanceof Error && error.stack ? `${error.stack}\n` : '';
  const hint = isVerbose ? '' : ' (run again with --verbose for details to report)';
  context.stderr.write(`replica: a bug in replica: ${plainLine(message)}${hint}\n${stack}`);
  return code;
}

function commandSet(catalog: readonly CommandEntry[]): Omit<CommandSet, 'catalog' | 'check'> {
  const flags = new Map<string, ReadonlySet<string>>();
  const allFlags = new Set<string>();
  for (const { words, flags: entries } of catalog) {
    const long = entries.flatMap(({ names }) => names.filter(name => name.startsWith('--')));
    const own = new Set(long.map(name => name.slice(2)).filter(flag => flag !== 'env-file'));
    flags.set(words.join(' '), own);
    for (const flag of own) allFlags.add(flag);
  }
  return {
    allFlags,
    names: [...new Set(catalog.flatMap(({ words }) => words[0] ?? []))],
    flagsOf: path => flags.get(path) ?? new Set(),
  };
}
