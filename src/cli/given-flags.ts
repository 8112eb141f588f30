// Which flags a command line gave, with their values, read off the parsed command.
import { Command, type CommandClass } from 'clipanion';
import type { CliContext } from './context.ts';

/** What clipanion puts into a command's fields before it is parsed. */
interface OptionSpec {
  definition(builder: Builder, field: string): void;
}

/** What a spec tells of itself to: flags and positionals. */
interface Builder {
  addOption(option: { readonly names: readonly string[] }): void;
  addPositional(): void;
}

/** Longest name of each flag by the field that holds its value: 'subPaths' to '--path'. */
export function flagFields(commandClass: CommandClass<CliContext>): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const [field, value] of Object.entries(new commandClass())) {
    if (!isSpec(value)) continue;
    const builder: Builder = {
      addOption: ({ names }) => {
        const longest = names.toSorted((a, b) => b.length - a.length)[0];
        if (longest !== undefined) fields.set(field, longest);
      },
      addPositional: () => {},
    };
    value.definition(builder, field);
  }
  return fields;
}

function isSpec(value: unknown): value is OptionSpec {
  return typeof value === 'object' && value !== null && Command.isOption in value;
}
