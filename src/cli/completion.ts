// Shell completions, made from the catalog. Pure.
import { type CommandEntry, choicesOf, type FlagEntry } from './catalog.ts';

export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

/** What may stand somewhere. */
type Values =
  | { readonly kind: 'file' | 'folder' | 'any' }
  | { readonly kind: 'words'; readonly words: readonly string[] };

/** A command, or a word that commands begin with: 'key'. */
interface Node {
  readonly words: readonly string[];
  readonly description: string;
  /** Words that may follow, with what they do. */
  readonly next: readonly (readonly [string, string])[];
  readonly flags: readonly FlagEntry[];
  readonly positionals: readonly string[];
}

export function formatCompletion(shell: Shell, catalog: readonly CommandEntry[]): string {
  const nodes = treeOf(catalog);
  const head = `completion of replica for ${shell}, made by 'replica completion ${shell}'`;
  switch (shell) {
    case 'bash':
      return bash(nodes, head);
    case 'zsh':
      return zsh(nodes, head);
    case 'fish':
      return fish(nodes, head);
  }
}

/** The longest first, so that the first that matches is the right one; the last is replica itself. */
function treeOf(catalog: readonly CommandEntry[]): readonly Node[] {
  const groups = new Set(catalog.filter(one => one.words.length > 1).map(one => one.words[0]));
  const commands = catalog.map(one => ({ ...one, next: [], flags: flagsOf(one, catalog) }));
  const inGroups = [...groups].map(group => {
    const inside = catalog.filter(one => one.words[0] === group && one.words.length > 1);
    const next = inside.map(one => [one.words[1] ?? '', one.description] as const);
    const names = next.map(([word]) => word).join(', ');
    return { words: [group ?? ''], description: names, next, flags: [], positionals: [] };
  });
  const tops = [...commands.filter(one => one.words.length === 1), ...inGroups];
  const next = tops.map(one => [one.words[0] ?? '', one.description] as const);
  const root = { words: [], description: '', next, flags: informationFlags, positionals: [] };
  return [...commands.filter(one => one.words.length > 1), ...tops, root];
}

const informationFlags: readonly FlagEntry[] = [
  { names: ['--help'], value: undefined, description: 'Print what there is' },
  { names: ['--version'], value: undefined, description: 'Print the version' },
];

/** 'service push … [flags of push]' takes those of push as well. */
function flagsOf(command: CommandEntry, catalog: readonly CommandEntry[]): readonly FlagEntry[] {
  const inner = command.usage.endsWith('...')
    ? catalog.find(one => one.words.join(' ') === command.words.slice(1).join(' '))
    : undefined;
  const known = new Set(command.flags.flatMap(flag => flag.names));
  const more = inner?.flags.filter(flag => !flag.names.some(name => known.has(name))) ?? [];
  return [...command.flags, ...more];
}

function flagValues({ value }: FlagEntry): Values | undefined {
  if (value === undefined) return undefined;
  if (value === 'F') return { kind: 'file' };
  if (value === 'DIR') return { kind: 'folder' };
  const words = choicesOf(value);
  return words.length > 0 ? { kind: 'words', words } : { kind: 'any' };
}

const folderWords: ReadonlySet<string> = new Set(['src', 'dst', 'target', 'folder']);

function positionalValues(word: string): Values {
  const words = choicesOf(word);
  if (words.length > 0) return { kind: 'words', words };
  return { kind: folderWords.has(word) ? 'folder' : 'any' };
}

// -- bash -----------------------------------------------------------------------------------------

function bash(nodes: readonly Node[], head: string): string {
  return `# ${head}
_replica() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]}
  local line=' ' flags='' words='' folders='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    [[ \${COMP_WORDS[i]} == -* ]] || line+="\${COMP_WORDS[i]} "
  done
  COMPREPLY=()
  case $line in
${nodes.map(bashCase).join('')}  esac
  if [[ $cur == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur")
    return
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
  [[ -z $folders ]] || _replica_files -d
}
_replica_files() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen "$1" -- "$cur")
}
complete -F _replica replica
`;
}

function bashCase({ words, next, flags, positionals }: Node): string {
  const begin = ['', ...words, ''].join(' ');
  const places = positionals.map(positionalValues);
  const all = [...next.map(([word]) => word), ...places.flatMap(wordsOf)];
  const values = flags.flatMap(flag => {
    const kind = flagValues(flag);
    return kind === undefined ? [] : [`        ${flag.names.join('|')}) ${bashValues(kind)} ;;\n`];
  });
  const isFolder = places.some(place => place.kind === 'folder');
  return [
    `    '${begin}'*)\n`,
    ...(values.length > 0 ? ['      case $prev in\n', ...values, '      esac\n'] : []),
    `      flags='${flags.flatMap(flag => flag.names).join(' ')}'\n`,
    ...(all.length > 0 ? [`      words='${all.join(' ')}'\n`] : []),
    ...(isFolder ? ['      folders=yes\n'] : []),
    '      ;;\n',
  ].join('');
}

function bashValues(values: Values): string {
  switch (values.kind) {
    case 'file':
      return '_replica_files -f; return';
    case 'folder':
      return '_replica_files -d; return';
    case 'any':
      return 'return';
    case 'words':
      return `mapfile -t COMPREPLY < <(compgen -W '${values.words.join(' ')}' -- "$cur"); return`;
  }
}

function wordsOf(values: Values): readonly string[] {
  return values.kind === 'words' ? values.words : [];
}

// -- zsh ------------------------------------------------------------------------------------------

function zsh(nodes: readonly Node[], head: string): string {
  return `#compdef replica
# ${head}
${nodes.map(zshFunction).join('')}if [ "$funcstack[1]" = _replica ]; then
  _replica "$@"
else
  compdef _replica replica
fi
`;
}

function zshFunction({ words, next, flags, positionals }: Node): string {
  const name = ['_replica', ...words].join('_');
  const specs = flags.map(zshFlag);
  if (next.length === 0) {
    const places = positionals.map(word =>
      quoted(`:${zshWord(word)}:${zshValues(positionalValues(word))}`),
    );
    const all = [...specs, ...places].map(spec => ` \\\n    ${spec}`).join('');
    return `${name}() {\n  _arguments -s${all}\n}\n`;
  }
  const commands = next.map(([word, text]) => `      ${quoted(`${word}:${text}`)}\n`).join('');
  const cases = next.map(([word]) => `      ${word}) ${name}_${word} ;;\n`).join('');
  return `${name}() {
  local context state state_descr line
  local -a commands
  typeset -A opt_args
  _arguments -C${specs.map(spec => ` ${spec}`).join('')} '1: :->command' '*:: :->rest'
  case $state in
    command)
      commands=(
${commands}      )
      _describe command commands ;;
    rest) case $words[1] in
${cases}      esac ;;
  esac
}
`;
}

function zshFlag(flag: FlagEntry): string {
  const values = flagValues(flag);
  const text = flag.description.replace(/[[\]\\]/g, char => `\\${char}`);
  const word = values === undefined ? '' : `:${zshWord(flag.value ?? '')}:${zshValues(values)}`;
  // Which may be repeated is not told apart: all may.
  const specs = flag.names.map(name => quoted(`*${name}[${text}]${word}`));
  return specs.join(' \\\n    ');
}

function zshWord(word: string): string {
  return word.replace(/[:\\]/g, char => `\\${char}`);
}

function zshValues(values: Values): string {
  switch (values.kind) {
    case 'file':
      return '_files';
    case 'folder':
      return '_files -/';
    case 'any':
      return ' ';
    case 'words':
      return `(${values.words.join(' ')})`;
  }
}

/** For a POSIX shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

// -- fish -----------------------------------------------------------------------------------------

function fish(nodes: readonly Node[], head: string): string {
  return `# ${head}
# True when the words before the cursor that are no flags begin with these.
function __replica_at
    set -l words
    for word in (commandline -opc)[2..-1]
        string match -q -- '-*' $word; or set -a words $word
    end
    set -l count (count $argv)
    test (count $words) -ge $count; or return 1
    test $count -eq 0; or test "$words[1..$count]" = "$argv"
end
# True when they are just these.
function __replica_just
    set -l words
    for word in (commandline -opc)[2..-1]
        string match -q -- '-*' $word; or set -a words $word
    end
    test "$words" = "$argv"
end
complete -c replica -f
${nodes.flatMap(fishLines).join('\n')}
`;
}

function fishLines({ words, next, flags, positionals }: Node): readonly string[] {
  const at = (test: string): string =>
    `complete -c replica -n '${[`__replica_${test}`, ...words].join(' ')}'`;
  const places = positionals.map(positionalValues);
  const choices = places.flatMap(wordsOf);
  return [
    ...next.map(([word, text]) => `${at('just')} -a ${word} -d ${fishText(text)}`),
    ...flags.map(flag => `${at(next.length > 0 ? 'just' : 'at')}${fishFlag(flag)}`),
    ...(choices.length > 0 ? [`${at('just')} -a '${choices.join(' ')}'`] : []),
    ...(places.some(place => place.kind === 'folder')
      ? [`${at('at')} -a '(__fish_complete_directories)'`]
      : []),
  ];
}

function fishFlag(flag: FlagEntry): string {
  const names = flag.names.map(name =>
    name.startsWith('--') ? ` -l ${name.slice(2)}` : ` -s ${name.slice(1)}`,
  );
  const values = flagValues(flag);
  return `${names.join('')}${fishValues(values)} -d ${fishText(flag.description)}`;
}

function fishValues(values: Values | undefined): string {
  switch (values?.kind) {
    case undefined:
      return '';
    case 'file':
      return ' -r -F';
    case 'folder':
      return " -x -a '(__fish_complete_directories)'";
    case 'any':
      return ' -x';
    case 'words':
      return ` -x -a '${values.words.join(' ')}'`;
  }
}

function fishText(text: string): string {
  return `'${text.replace(/['\\]/g, char => `\\${char}`)}'`;
}
