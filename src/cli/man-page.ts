// replica(1) in the man macros of groff_man(7), made from the catalog. Pure.
import type { CommandEntry, FlagEntry } from './catalog.ts';
import { settingsNote, summary } from './help.ts';

export interface ManPageOptions {
  readonly catalog: readonly CommandEntry[];
  readonly exitCodes: readonly (readonly [number, string])[];
  readonly version: string;
}

export function formatManPage({ catalog, exitCodes, version }: ManPageOptions): string {
  return [
    `.TH REPLICA 1 "" "replica ${roff(version)}" "User Commands"`,
    // Paths and flags are not to be broken.
    '.nh',
    '.ad l',
    '.SH NAME',
    `replica \\- ${roff(summary.replace(/^replica (.*)\.$/, '$1'))}`,
    '.SH SYNOPSIS',
    ...catalog.flatMap(one => ['.br', formatSynopsis(one)]).slice(1),
    '.SH COMMANDS',
    ...catalog.flatMap(formatCommand),
    '.SH ENVIRONMENT',
    roff(settingsNote),
    '.SH EXIT STATUS',
    ...exitCodes.flatMap(([code, meaning]) => ['.TP', `.B ${code}`, roff(meaning)]),
    '.SH FILES',
    ...files.flatMap(([path, what]) => ['.TP', `.I ${roff(path)}`, roff(what)]),
    '',
  ].join('\n');
}

const files: readonly (readonly [string, string])[] = [
  ['~/.config/replica/config.json', 'Settings.'],
  ['~/.config/replica/receiver.key', 'The keys that this receiver accepts.'],
  ['~/.config/replica/paired/', "What 'replica pair' was told."],
  ['~/.local/state/replica/', 'What a sender knows of each replica: a cache.'],
  ['<dst>/.replica/', "The receiver's: index, staging, kept content."],
  ['.replicaignore', 'In any folder of the source: patterns to leave out, as in .gitignore.'],
];

function formatCommand(command: CommandEntry): readonly string[] {
  return [
    `.SS ${roff(`replica ${command.words.join(' ')}`)}`,
    formatSynopsis(command),
    '.PP',
    `${roff(command.description)}.`,
    ...command.flags.flatMap(formatFlag),
    ...command.notes.flatMap(note => ['.PP', roff(note)]),
    ...command.examples.flatMap(([what, line]) => [
      '.PP',
      `${roff(what)}:`,
      '.PP',
      '.EX',
      ...line.split('\n').map(part => `    ${roff(part.trim())}`),
      '.EE',
    ]),
  ];
}

/** Words in bold, what stands for something in italics. */
function formatSynopsis({ usage, flags }: CommandEntry): string {
  const text = flags.length > 0 ? `${usage} [flags]` : usage;
  const words = text.split(' ').map(word => {
    const isPlaceholder = /[<[.]/.test(word);
    return isPlaceholder ? `\\fI${roff(word)}\\fR` : `\\fB${roff(word)}\\fR`;
  });
  return words.join(' ');
}

function formatFlag({ names, value, description }: FlagEntry): readonly string[] {
  const bold = names.map(name => `\\fB${roff(name)}\\fR`).join(', ');
  const label = value === undefined ? bold : `${bold} \\fI${roff(value)}\\fR`;
  return ['.TP', label, roff(description)];
}

/** Text as it stands: no request, no escape, and the hyphens that can be searched and copied. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('~', '\\(ti')
    .replaceAll('^', '\\(ha')
    .replaceAll('`', '\\(ga')
    .replace(/[^\x00-\x7f]/gu, char => `\\[u${hex(char)}]`)
    .replace(/^\./, '\\&.');
}

function hex(char: string): string {
  return (char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0');
}
