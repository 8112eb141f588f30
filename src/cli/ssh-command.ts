// The command that starts a receiver on another machine. Pure.
import { usage } from './settings.ts';
import type { Target } from './target.ts';

/** What `receive --stdio` says first: whatever comes before it is the login shell's. */
export const stdioBanner = '\0replica-stdio-1\n';

export type SshTarget = Target & { readonly kind: 'ssh' };

/** `ssh -p 2222` as its words; quotes keep spaces. Throws ERR_USAGE. */
export function splitCommand(text: string, origin: string): readonly [string, ...string[]] {
  const words: string[] = [];
  let rest = text.trim();
  while (rest !== '') {
    const match = /^(?:'[^']*'|"[^"]*"|[^\s'"])+/.exec(rest);
    if (match === null) throw usage(origin, `there is a quote without an end in '${text}'`);
    words.push(match[0].replace(/'([^']*)'|"([^"]*)"/g, '$1$2'));
    rest = rest.slice(match[0].length).trimStart();
  }
  const [first, ...others] = words;
  if (first === undefined) throw usage(origin, 'expected a command such as ssh -p 2222');
  return [first, ...others];
}

/** The words that run a receiver on the other machine. */
export function sshCommand(
  { user, host, port, path }: SshTarget,
  how: {
    readonly rsh: readonly [string, ...string[]];
    readonly replicaPath: string;
    /** For `receive`. */
    readonly flags: readonly string[];
  },
): readonly [string, ...string[]] {
  const remote = [
    how.replicaPath,
    'receive',
    '--stdio',
    ...how.flags.map(quote),
    '--',
    place(path),
  ];
  return [
    ...how.rsh,
    ...(port === undefined ? [] : ['-p', String(port)]),
    ...(user === undefined ? [] : ['-l', user]),
    '--',
    host,
    remote.join(' '),
  ];
}

/** /~/x is x in the user's home; the shell there expands an unquoted tilde only. */
function place(path: string): string {
  return path.startsWith('/~/') ? `~/${quote(path.slice(3))}` : quote(path);
}

/**
 * One word for whatever shell is the login shell there: between quotes fish reads some backslashes,
 * and csh `!`, as more than themselves; behind a backslash outside of them all shells agree.
 */
function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replace(/['\\!]/g, "'\\$&'")}'`;
}
