// What --help prints: complete and short, 80 columns. Pure.
import type { Definition } from 'clipanion';

type ExitCodes = readonly (readonly [number, string])[];

const width = 80;

/** `replica --help`: every command with its line. */
export function formatOverview(definitions: readonly Definition[], exitCodes: ExitCodes): string {
  const lines = definitions.map(one => {
    const description = wrap(oneLine(one.description), width - 6).join('\n      ');
    return `  ${one.usage}\n      ${description}`;
  });
  return [
    'replica keeps a copy of a directory tree true to its source, by polling.\n',
    lines.join('\n'),
    "\n'replica <command> --help' tells the rest. Exit codes:",
    formatExitCodes(exitCodes),
    '',
  ].join('\n');
}

/** A command's flags and what else there is to know. */
export interface CommandHelp {
  readonly definition: Definition;
  readonly notes: readonly string[];
}

/** `replica push --help`; several for a command with subcommands. */
export function formatCommandHelp(commands: readonly CommandHelp[], exitCodes: ExitCodes): string {
  const notes = [...commands.flatMap(one => one.notes), settingsNote];
  return [
    ...commands.map(one => formatDefinition(one.definition)),
    ...notes.map(note => `${wrap(note, width).join('\n')}\n`),
    `Exit codes:\n${formatExitCodes(exitCodes)}\n`,
  ].join('\n');
}

const settingsNote =
  'Each flag can also be set as REPLICA_<FLAG> (REPLICA_MAX_DELETE=10%) in the environment, then ' +
  'in the --env-file, then in ~/.config/replica/config.json ({"push": {"max-delete": "10%"}}). ' +
  'The first that is set counts; a list has one item a line.';

/** Flags that every command has come last. */
const commonFlags = /--(?:env-file|verbose)\b/;

function formatDefinition(definition: Definition): string {
  const head = definition.options.length > 0 ? `${definition.usage} [flags]` : definition.usage;
  const isCommon = (one: { readonly definition: string }): boolean =>
    commonFlags.test(one.definition);
  const ordered = [
    ...definition.options.filter(one => !isCommon(one)),
    ...definition.options.filter(isCommon),
  ];
  const options = ordered.map(
    one => [flagLabel(one.definition, one.description), one.description ?? ''] as const,
  );
  const column = Math.max(0, ...options.map(([label]) => label.length)) + 4;
  const lines = options.map(([label, description]) => {
    const text = wrap(description.replace(/^<[^>]+> /, ''), width - column);
    return `  ${label.padEnd(column - 2)}${text.join(`\n${' '.repeat(column)}`)}`;
  });
  const description = wrap(oneLine(definition.description), width - 4).join('\n    ');
  return `${[head, `    ${description}`, '', ...lines].join('\n')}\n`;
}

/** clipanion calls a flag's value '#0'; a description that begins with '<word> ' names it. */
function flagLabel(definition: string, description: string | undefined): string {
  const value = /^<([^>]+)> /.exec(description ?? '')?.[1] ?? 'VALUE';
  return definition.replace(',', ', ').replace(/#0/, value);
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

function oneLine(text: string | undefined): string {
  return (text ?? '').replace(/\s+/g, ' ').trim();
}
