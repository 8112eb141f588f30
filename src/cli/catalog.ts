// Every command as data, read off the command classes: --help, the man page and the completions are
// made from this, so that none has a list of its own. Pure.
import type { Definition } from 'clipanion';

export interface FlagEntry {
  /** '-n' and '--dry-run'. */
  readonly names: readonly string[];
  /** What follows it: 'TIME'; undefined for a switch. */
  readonly value: string | undefined;
  readonly description: string;
}

export interface CommandEntry {
  /** ['key', 'show'] */
  readonly words: readonly string[];
  /** 'replica key revoke <id>' */
  readonly usage: string;
  /** 'src' and 'target' of '<src> [target]'. */
  readonly positionals: readonly string[];
  readonly description: string;
  readonly flags: readonly FlagEntry[];
  /** What for, and the command line. */
  readonly examples: readonly (readonly [string, string])[];
  /** Paragraphs. */
  readonly notes: readonly string[];
}

/** Flags that every command has come last. */
const commonFlags: ReadonlySet<string> = new Set([
  '--env-file',
  '--verbose',
  '--quiet',
  '--log-format',
]);

export function commandEntry(definition: Definition, notes: readonly string[]): CommandEntry {
  const { path, usage, description, options, examples = [] } = definition;
  const flags = options.map(flagEntry);
  const isCommon = (flag: FlagEntry): boolean => flag.names.some(name => commonFlags.has(name));
  return {
    words: path.split(' ').slice(1),
    usage,
    positionals: usage
      .split(' ')
      .filter(word => /^[<[]/.test(word))
      .map(word => word.slice(1, -1)),
    description: oneLine(description),
    flags: [...flags.filter(flag => !isCommon(flag)), ...flags.filter(isCommon)],
    examples: examples.map(([what, line]) => [oneLine(what), line] as const),
    notes,
  };
}

/** clipanion calls a flag's value '#0'; a description that begins with '<word> ' names it. */
function flagEntry(option: Definition['options'][number]): FlagEntry {
  const [names = '', mark] = option.definition.split(' ');
  const [, word = 'VALUE', text = ''] =
    /^(?:<([^>]+)> )?(.*)$/s.exec(oneLine(option.description)) ?? [];
  return {
    names: names.split(','),
    value: mark === undefined ? undefined : word,
    description: text,
  };
}

/** What may follow a flag, or stand for a positional, called `word`: 'batch' and 'off' of 'batch|off'. */
export function choicesOf(word: string): readonly string[] {
  return /^[a-z]+(?:\|[a-z]+)+$/.test(word) ? word.split('|') : [];
}

function oneLine(text: string | undefined): string {
  return (text ?? '').replace(/\s+/g, ' ').trim();
}
