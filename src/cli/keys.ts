// Which key a command uses, and where keys are kept. Secrets never come from the command line,
// where every user of the machine could read them.
import { type BigIntStats, statSync } from 'node:fs';
import { ReplicaError } from '../errors.ts';
import type { Log } from '../log.ts';
import { formatAddress } from '../net/address.ts';
import {
  createKey,
  type Key,
  parsePairing,
  readKeyFile,
  whileKeysLocked,
  writeKeyFile,
} from '../store/key-file.ts';
import type { CliContext } from './context.ts';
import type { Setting } from './settings.ts';
import { isLoopbackHost } from './target.ts';
import { pairedKeyFile, type UserFolders, userFolders } from './user-folders.ts';

export interface PushKeyOptions {
  readonly keyFile: Setting<string> | undefined;
  readonly environmentKey: Setting<string> | undefined;
  readonly host: string;
  readonly port: number;
}

/** The keys of one user: those their receiver accepts, and those of the receivers they know. */
export class KeyRing {
  readonly ownFile: string;
  readonly #folders: UserFolders;
  readonly #uid: number | undefined;

  constructor(context: Pick<CliContext, 'env' | 'home' | 'uid'>) {
    this.#folders = userFolders(context);
    this.#uid = context.uid;
    this.ownFile = this.#folders.receiverKey;
  }

  /** The keys this user's receiver accepts, oldest first. Throws ERR_AUTH when it has no file. */
  own(): readonly Key[] {
    const keys = readKeyFile(this.ownFile, this.#uid);
    if (keys !== undefined) return keys;
    throw new ReplicaError(
      'ERR_AUTH',
      `there is no key file ${this.ownFile}: 'replica receive' makes it, or 'replica key new'`,
    );
  }

  /** Makes the receiver's file with one key if there is none, and returns that key then. */
  makeOwnOnFirstUse(): Key | undefined {
    if (readKeyFile(this.ownFile, this.#uid) !== undefined) return undefined;
    const key = newKey(undefined);
    return whileKeysLocked(this.ownFile, () =>
      writeKeyFile(this.ownFile, [key], { isNew: true }) ? key : undefined,
    );
  }

  addOwn(label: string | undefined): Key {
    const key = newKey(label);
    whileKeysLocked(this.ownFile, () => {
      const keys = readKeyFile(this.ownFile, this.#uid) ?? [];
      writeKeyFile(this.ownFile, [...keys, key]);
    });
    return key;
  }

  /** Returns how many are left. Throws ERR_USAGE when there is no such key. */
  revokeOwn(id: string): number {
    // Without a file there is nothing to lock.
    this.own();
    return whileKeysLocked(this.ownFile, () => this.#revoke(id));
  }

  #revoke(id: string): number {
    const keys = this.own();
    const kept = keys.filter(key => key.id !== id);
    if (kept.length === keys.length) {
      throw new ReplicaError(
        'ERR_USAGE',
        `there is no key '${id}'; 'replica key list' prints the ids`,
      );
    }
    writeKeyFile(this.ownFile, kept);
    return kept.length;
  }

  /**
   * The receiver's keys of now: the file is read again whenever it changed, so that `key new` and
   * `key revoke` work at once. A file that became unusable accepts nobody, and says so.
   */
  followOwn(log: Log): () => readonly Key[] {
    let seen: BigIntStats | undefined;
    let keys: readonly Key[] = [];
    return () => {
      const now = statSync(this.ownFile, { bigint: true, throwIfNoEntry: false });
      if (now !== undefined && seen !== undefined && isSameFile(now, seen)) return keys;
      seen = now;
      keys = [];
      try {
        keys = this.own();
      } catch (error) {
        if (!(error instanceof ReplicaError)) throw error;
        log.error({ error }, `nobody can connect: ${error.message}`);
      }
      return keys;
    };
  }

  keepPaired(host: string, port: number, key: Key): void {
    writeKeyFile(pairedKeyFile(this.#folders, host, port), [key]);
  }

  /**
   * --key-file, else REPLICA_KEY, else what `pair` kept for this receiver, else, on this machine,
   * the same user's receiver.key. Throws ERR_AUTH with the remedy when there is none.
   */
  forPush({ keyFile, environmentKey, host, port }: PushKeyOptions): Key {
    const place = formatAddress(host, port);
    if (keyFile !== undefined) return this.#newestOf(keyFile.value);
    if (environmentKey !== undefined) return parseKey(environmentKey.value, environmentKey.origin);
    const pairedFile = pairedKeyFile(this.#folders, host, port);
    if (readKeyFile(pairedFile, this.#uid) !== undefined) return this.#newestOf(pairedFile);
    if (isLoopbackHost(host)) {
      const own = readKeyFile(this.ownFile, this.#uid)?.at(-1);
      if (own !== undefined) return own;
    }
    throw new ReplicaError(
      'ERR_AUTH',
      `no key for ${place}: run 'replica key show' on the receiver, then 'replica pair ${place}' here`,
    );
  }

  #newestOf(path: string): Key {
    const keys = readKeyFile(path, this.#uid);
    const key = keys?.at(-1);
    if (key !== undefined) return key;
    throw new ReplicaError(
      'ERR_AUTH',
      keys === undefined ? `there is no key file ${path}` : `the key file ${path} holds no key`,
    );
  }
}

/** A pairing string someone gave. The message never quotes it. */
export function parseKey(text: string, origin: string): Key {
  try {
    return parsePairing(text);
  } catch (error) {
    if (!(error instanceof ReplicaError)) throw error;
    const remedy = "'replica key show' on the receiver prints one";
    throw new ReplicaError('ERR_AUTH', `${origin}: ${error.message}; ${remedy}`, { cause: error });
  }
}

function newKey(label: string | undefined): Key {
  const created = new Date().toISOString();
  return createKey(label === undefined ? { created } : { created, label });
}

function isSameFile(a: BigIntStats, b: BigIntStats): boolean {
  return a.ino === b.ino && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs && a.size === b.size;
}
