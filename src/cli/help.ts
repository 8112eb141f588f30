// What --help prints: complete and short, 80 columns. Pure.
import type { CommandEntry, FlagEntry } from './catalog.ts';

type ExitCodes = readonly (readonly [number, string])[];

const width = 80;

/** `replica --help`: every command with its line. */
export function formatOverview(commands: readonly CommandEntry[], exitCodes: ExitCodes): string {
  const lines = commands.map(
    one => `  ${one.usage}\n      ${wrap(one.description, width - 6).join('\n      ')}`,
  );
  return [
    `${summary}\n`,
    lines.join('\n'),
    "\n'replica <command> --help' tells the rest. Exit codes:",
    formatExitCodes(exitCodes),
    '',
  ].join('\n');
}

/** `replica push --help`; several for a command with subcommands. */
export function formatCommandHelp(commands: readonly CommandEntry[], exitCodes: ExitCodes): string {
  const examples = commands.flatMap(one => one.examples);
  const notes = [...new Set([...commands.flatMap(one => one.notes), settingsNote])];
  return [
    ...commands.map(formatCommand),
    ...(examples.length > 0 ? [formatExamples(examples)] : []),
    ...notes.map(note => `${wrap(note, width).join('\n')}\n`),
    `Exit codes:\n${formatExitCodes(exitCodes)}\n`,
  ].join('\n');
}

export const summary = 'replica keeps a copy of a directory tree true to its source, by polling.';

export const settingsNote =
  'Each flag can also be set as REPLICA_<FLAG> (REPLICA_MAX_DELETE=10%) in the environment, then ' +
  'in the --env-file, then in ~/.config/replica/config.json: in the entry of its "folders" for this ' +
  'source and target, then in the section of the command ({"push": {"max-delete": "10%"}}), then at ' +
  'its top. The first that is set counts; a list has one item a line.';

function formatCommand({ usage, description, flags }: CommandEntry): string {
  const head = flags.length > 0 ? `${usage} [flags]` : usage;
  const labels = flags.map(flagLabel);
  const column = Math.max(0, ...labels.map(label => label.length)) + 4;
  const lines = flags.map((flag, i) => {
    const text = wrap(flag.description, width - column).join(`\n${' '.repeat(column)}`);
    return `  ${labels[i]?.padEnd(column - 2)}${text}`;
  });
  const text = wrap(description, width - 4).join('\n    ');
  return `${[head, `    ${text}`, '', ...lines].join('\n')}\n`;
}

/** '-n, --dry-run', '--interval TIME'. */
export function flagLabel({ names, value }: FlagEntry): string {
  return value === undefined ? names.join(', ') : `${names.join(', ')} ${value}`;
}

function formatExamples(examples: CommandEntry['examples']): string {
  const lines = examples.map(([what, line]) => `  ${what}:\n      ${line}`);
  return `Examples:\n${lines.join('\n')}\n`;
}

function formatExitCodes(exitCodes: ExitCodes): string {
  return exitCodes.map(([code, meaning]) => `  ${`${code}`.padStart(2)}  ${meaning}`).join('\n');
}

function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.trim().split(/\s+/)) {
    if (line !== '' && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
