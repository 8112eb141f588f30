// --chmod: what a mode becomes on its way to the replica. rsync's form (rsync(1), --chmod): items
// separated by commas, each an octal mode or, as for chmod(1), who=what; one that begins with D counts
// for directories only, with F for other entries only.

const who = { u: 0o4700, g: 0o2070, o: 0o1007 } as const;
const what = { r: 0o444, w: 0o222, x: 0o111 } as const;

/** Plain data: it crosses threads. */
export interface ModeChange {
  readonly for: 'directories' | 'files' | 'all';
  /** Bits that are kept of what was. */
  readonly keep: number;
  readonly set: number;
  /** The same where the entry is a directory, or may be executed by somebody (X). */
  readonly setIfExecutable: number;
}

/** The items of `text` in order; undefined if one makes no sense. */
export function parseModeChanges(text: string): readonly ModeChange[] | undefined {
  const changes: ModeChange[] = [];
  for (const item of text.split(',')) {
    const parsed = parseItem(item.trim());
    if (parsed === undefined) return undefined;
    changes.push(...parsed);
  }
  return changes;
}

/** `mode`: permission bits, up to 0o7777. Links have no mode to change. */
export function changedMode(
  mode: number,
  isDirectory: boolean,
  changes: readonly ModeChange[],
): number {
  let now = mode;
  for (const change of changes) {
    if (change.for === (isDirectory ? 'files' : 'directories')) continue;
    const isExecutable = isDirectory || (now & 0o111) !== 0;
    now = (now & change.keep) | change.set | (isExecutable ? change.setIfExecutable : 0);
  }
  return now;
}

function parseItem(item: string): ModeChange[] | undefined {
  const match = /^([DF]?)(?:([0-7]{3,4})|([ugoa]*)((?:[+=-][rwxXst]*)+))$/.exec(item);
  if (!match) return undefined;
  const [, scope, octal, given = '', actions = ''] = match;
  const of = { for: scope === 'D' ? 'directories' : scope === 'F' ? 'files' : 'all' } as const;
  if (octal !== undefined) {
    return [{ ...of, keep: 0, set: Number.parseInt(octal, 8), setIfExecutable: 0 }];
  }
  const scopeBits = bitsOf(given);
  return [...actions.matchAll(/([+=-])([rwxXst]*)/g)].map(([, action, letters = '']) => {
    const { bits, executable } = permissions(letters, scopeBits);
    switch (action) {
      case '+':
        return { ...of, keep: 0o7777, set: bits, setIfExecutable: executable };
      case '-':
        return { ...of, keep: 0o7777 & ~(bits | executable), set: 0, setIfExecutable: 0 };
      default:
        return { ...of, keep: 0o7777 & ~scopeBits, set: bits, setIfExecutable: executable };
    }
  });
}

/** Nobody named is everybody. */
function bitsOf(given: string): number {
  if (given === '' || given.includes('a')) return 0o7777;
  return [...given].reduce((bits, one) => bits | (who[one as keyof typeof who] ?? 0), 0);
}

function permissions(letters: string, scope: number): { bits: number; executable: number } {
  let bits = 0;
  let executable = 0;
  for (const letter of letters) {
    if (letter === 'X') executable |= what.x & scope;
    else if (letter === 's') bits |= 0o6000 & scope;
    else if (letter === 't') bits |= 0o1000 & scope;
    else bits |= what[letter as keyof typeof what] & scope;
  }
  return { bits, executable };
}
