// Users and groups of this machine, by name and by number. getent(1) asks whatever keeps them (files,
// LDAP, systemd); where it is missing, /etc/passwd and /etc/group have them.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { systemCode } from '../errors.ts';
import { noId } from '../snapshot/owner.ts';

export type AccountKind = 'user' | 'group';

const databases = { user: 'passwd', group: 'group' } as const;
/** Each starts a process, and a peer may name any: beyond these, numbers count. */
const lookUpsMax = 4096;
/**
 * What an answer may take, and for how long nothing is asked after one that took longer: a directory
 * service that hangs must not stop everything.
 */
const timeoutMs = 5_000;
const silentMs = 60_000;

/** The line of a database (passwd(5), group(5)) for a key; throws if there was no answer in time. */
type LookUp = (database: string, key: string) => string | undefined;

export interface AccountsOptions {
  /** For tests, as is the monotonic clock. */
  readonly look?: LookUp;
  readonly nowMs?: () => number;
}

export class Accounts {
  readonly #look: LookUp;
  readonly #nowMs: () => number;
  readonly #names = new Map<string, string>();
  readonly #ids = new Map<string, number>();
  #silentUntilMs = 0;

  constructor({ look = lookUp, nowMs = () => performance.now() }: AccountsOptions = {}) {
    this.#look = look;
    this.#nowMs = nowMs;
  }

  /** Latin1; '' if it has none. 0 is root's everywhere, and needs no name (as with rsync). */
  nameOf(kind: AccountKind, id: number): string {
    if (id === 0 || id === noId) return '';
    const key = `${kind} ${id}`;
    let name = this.#names.get(key);
    if (name === undefined) {
      name = this.#fields(kind, String(id), 2)?.name ?? '';
      if (!this.#isMute) this.#names.set(key, name);
    }
    return name;
  }

  /** The account of that name here; undefined: there is none. */
  idOf(kind: AccountKind, name: string): number | undefined {
    const key = `${kind} ${name}`;
    let id = this.#ids.get(key);
    if (id === undefined) {
      id = this.#fields(kind, name, 0)?.id ?? noId;
      if (!this.#isMute) this.#ids.set(key, id);
    }
    return id === noId ? undefined : id;
  }

  /** Nothing is asked, and nothing learned. */
  get #isMute(): boolean {
    const isFull = this.#names.size + this.#ids.size >= lookUpsMax;
    return isFull || this.#nowMs() < this.#silentUntilMs;
  }

  /** getent takes numbers for names and names for numbers: `field` must be the key. */
  #fields(kind: AccountKind, key: string, field: 0 | 2): { name: string; id: number } | undefined {
    const fields = this.#ask(databases[kind], key)?.split(':');
    const name = fields?.[0];
    const id = Number(fields?.[2]);
    if (!name || fields?.[field] !== key || !Number.isInteger(id) || id < 0 || id >= noId) {
      return undefined;
    }
    return { name, id };
  }

  #ask(database: string, key: string): string | undefined {
    if (this.#isMute) return undefined;
    try {
      return this.#look(database, key);
    } catch {
      this.#silentUntilMs = this.#nowMs() + silentMs;
      return undefined;
    }
  }
}

function lookUp(database: string, key: string): string | undefined {
  // Latin1 on our side, bytes on theirs; what is not ASCII is left to its number.
  if (!/^[\x20-\x7e]+$/.test(key)) return undefined;
  try {
    const answer = execFileSync('getent', ['--', database, key], {
      encoding: 'latin1',
      timeout: timeoutMs,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return answer.split('\n')[0];
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ETIMEDOUT') throw error;
    if (code !== 'ENOENT') return undefined;
    return lookInFile(`/etc/${database}`, key);
  }
}

function lookInFile(path: string, key: string): string | undefined {
  try {
    const lines = readFileSync(path, 'latin1').split('\n');
    return lines.find(line => {
      const [name, , id] = line.split(':');
      return name === key || id === key;
    });
  } catch {
    return undefined;
  }
}
