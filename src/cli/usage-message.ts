// What is wrong with a command line, in one line with the remedy, from what the parser says. Pure.
import type { CommandEntry } from './catalog.ts';
import { flagLabel } from './help.ts';

export interface WrongUsage {
  readonly argv: readonly string[];
  readonly catalog: readonly CommandEntry[];
  /** The parser's first line. */
  readonly message: string;
  /** Positionals without which it cannot be: so many are missing at the end. */
  readonly missingCount: number;
}

export function usageMessage({ argv, catalog, message, missingCount }: WrongUsage): string {
  const words = argv.filter(word => !word.startsWith('-'));
  const [command] = words;
  const group = catalog.filter(one => one.words[0] === command);
  if (command === undefined) {
    const flag = argv[0] ?? '';
    return `there is no flag ${flag}${meant(flag, ['--help', '--version'])}; see 'replica --help'`;
  }
  const names = [...new Set(catalog.map(one => one.words[0] ?? ''))];
  if (group.length === 0) {
    return `there is no command '${command}'${meant(command, [...names, '--version'])}; see 'replica --help'`;
  }
  const remedy = `; see 'replica ${command} --help'`;
  const entry = group.find(one => one.words.every((word, i) => words[i] === word));
  if (entry === undefined) {
    const all = group.map(one => one.words.join(' ')).join(', ');
    return `say which: ${all}${remedy}`;
  }
  return `${wrongArguments(entry, message, missingCount)}${remedy}`;
}

function wrongArguments(entry: CommandEntry, message: string, missingCount: number): string {
  const name = entry.words.join(' ');
  const quoted = /\("(.*)"\)/s.exec(message)?.[1] ?? '';
  if (/^(?:Unsupported|Invalid) option name/.test(message)) {
    const known = entry.flags.flatMap(one => one.names);
    const [flag = ''] = quoted.split('=');
    if (known.includes(flag)) return `${flag} takes no value, it is on or off`;
    return `there is no flag ${quoted} for ${name}${meant(flag, known)}`;
  }
  const option = /^Not enough arguments to option (\S+?)\.?$/.exec(message)?.[1];
  if (option !== undefined) {
    const flag = entry.flags.find(one => one.names.includes(option));
    return `${option} needs a value${flag === undefined ? '' : `: ${flagLabel(flag)}`}`;
  }
  const required = entry.usage.split(' ').filter(word => word.startsWith('<'));
  if (missingCount > 0 && missingCount <= required.length) {
    const missing = required.slice(-missingCount);
    const verb = missing.length > 1 ? 'are' : 'is';
    return `${missing.join(' and ')} ${verb} missing: ${entry.usage}`;
  }
  if (quoted !== '') return `'${quoted}' is one argument too many: ${entry.usage}`;
  return `these are not the arguments of ${name}: ${entry.usage}`;
}

/** " (did you mean 'push'?)" of the one that is nearest, if it is near; otherwise ''. */
function meant(word: string, known: readonly string[]): string {
  if (word.length < 3) return '';
  const near = known
    .map(one => ({ one, steps: stepsBetween(word, one) }))
    .filter(({ one, steps }) => steps <= (one.length > 5 ? 2 : 1))
    .sort((a, b) => a.steps - b.steps)[0];
  return near === undefined ? '' : ` (did you mean '${near.one}'?)`;
}

/** Letters added, left out, replaced, or swapped with the next: optimal string alignment. */
function stepsBetween(from: string, to: string): number {
  let before: readonly number[] = [];
  let row: readonly number[] = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const isSame = from[i - 1] === to[j - 1];
      const isSwapped = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      const replaced = at(row, j - 1) + (isSame ? 0 : 1);
      const swapped = isSwapped ? at(before, j - 2) + 1 : replaced;
      next.push(Math.min(at(row, j) + 1, at(next, j - 1) + 1, replaced, swapped));
    }
    before = row;
    row = next;
  }
  return at(row, to.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY;
}
