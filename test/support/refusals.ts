// A destination whose file system refuses single operations, as for want of permission, for names
// it cannot hold, or of entries that are immutable (chattr +i); everything else goes on.
import type { BigIntStats } from 'node:fs';
import type { ConfinedDirectory } from '../../src/tree/confined-directory.ts';

export type RefusedCall = 'link' | 'symlink' | 'chmod' | 'setTimes' | 'unlink' | 'rmdir' | 'rename';

export type Refusal =
  /** No entry can be made under the name. */
  | { readonly kind: 'name'; readonly name: string; readonly code: string }
  /** The call fails for the name, under any if there is none. */
  | {
      readonly kind: 'call';
      readonly call: RefusedCall;
      readonly name?: string | undefined;
      readonly code: string;
    }
  /** EPERM for what would change the entry, or the names in it. */
  | { readonly kind: 'entry'; readonly stats: BigIntStats };

/** Of each change: where its arguments have the names that it changes, and the one that it makes. */
const namesOf: ReadonlyMap<
  string,
  { readonly changed: readonly number[]; readonly made?: number }
> = new Map([
  ['createExclusive', { changed: [0], made: 0 }],
  ['mkdir', { changed: [0], made: 0 }],
  ['symlink', { changed: [1], made: 1 }],
  ['rename', { changed: [0, 2], made: 2 }],
  ['link', { changed: [0, 2], made: 2 }],
  ['rmdir', { changed: [0] }],
  ['unlink', { changed: [0] }],
  ['removeTree', { changed: [0] }],
  ['chmod', { changed: [0] }],
  ['setTimes', { changed: [0] }],
]);

/** Leave the names in a directory as they are. */
const attributeCalls: ReadonlySet<string> = new Set(['chmod', 'setTimes']);

export class Refusals {
  #refusals: Refusal[] = [];
  /** Calls that were refused so far. */
  count = 0;

  get isActive(): boolean {
    return this.#refusals.length > 0;
  }

  get hasEntry(): boolean {
    return this.#refusals.some(({ kind }) => kind === 'entry');
  }

  add(refusal: Refusal): void {
    this.#refusals.push(refusal);
  }

  lift(): void {
    this.#refusals = [];
  }

  /** Throws as the system call would. `args` are those of the call, with real directories. */
  check(directory: ConfinedDirectory, call: string, args: readonly unknown[]): void {
    for (const refusal of this.#refusals) {
      const code = codeFor(refusal, directory, call, args);
      if (code === undefined) continue;
      this.count++;
      throw Object.assign(new Error(`${code}: ${call}`), { code, syscall: call });
    }
  }
}

function codeFor(
  refusal: Refusal,
  directory: ConfinedDirectory,
  call: string,
  args: readonly unknown[],
): string | undefined {
  const names = namesOf.get(call);
  switch (refusal.kind) {
    case 'name':
      if (names?.made === undefined || args[names.made] !== refusal.name) return undefined;
      return refusal.code;
    case 'call': {
      if (call !== refusal.call) return undefined;
      const isMeant =
        refusal.name === undefined || names?.changed.some(at => args[at] === refusal.name);
      return isMeant === true ? refusal.code : undefined;
    }
    case 'entry':
      return touches(refusal.stats, directory, call, args) ? 'EPERM' : undefined;
  }
}

/** Would the call change the entry, or a name in it? */
function touches(
  stats: BigIntStats,
  directory: ConfinedDirectory,
  call: string,
  args: readonly unknown[],
): boolean {
  const isIt = (one: BigIntStats | undefined): boolean =>
    one?.ino === stats.ino && one.birthtimeNs === stats.birthtimeNs;
  const names = namesOf.get(call);
  if (names === undefined) return isIt(directory.stat());
  if (!attributeCalls.has(call) && isIt(directory.stat())) return true;
  const [first, to, toName] = args;
  // Arguments as in ConfinedDirectory.
  if (call !== 'symlink' && isIt(directory.lstat(first as never))) return true;
  if (call !== 'rename' && call !== 'link') return false;
  const target = to as ConfinedDirectory;
  return isIt(target.stat()) || isIt(target.lstat(toName as never));
}
