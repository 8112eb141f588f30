// Modes and owners as this receiver sets them: what the source says, and what is possible here. Extended
// attributes: local-xattrs.ts.
import type { BigIntStats } from 'node:fs';
import { systemCode } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Entry } from '../snapshot/entry.ts';
import { noId, type Owner, type OwnerIds, sameOwner } from '../snapshot/owner.ts';
import { Accounts } from '../tree/accounts.ts';
import { LocalXattrs } from './local-xattrs.ts';
import { fatalMessage } from './rejection.ts';

const permissionBits = 0o7777n;
/** setuid, setgid: a change of owner clears them. */
const clearedBits = 0o6000;
/** Owners that cannot be set here, remembered. */
const impossibleMax = 4096;

export interface LocalAttributesOptions {
  readonly specialBits: boolean;
  /** May this process give files away? Otherwise owners are left alone, and no names looked up. */
  readonly setsOwners: boolean;
  readonly log: Log;
  readonly xattrs?: LocalXattrs;
  /** For tests. */
  readonly accounts?: Accounts;
}

export class LocalAttributes {
  readonly #options: LocalAttributesOptions;
  readonly #accounts: Accounts;
  readonly #impossible = new Set<string>();
  readonly xattrs: LocalXattrs;
  /** Paths of directories that were reported. */
  readonly #left = new Set<string>();

  constructor(options: LocalAttributesOptions) {
    this.#options = options;
    this.#accounts = options.accounts ?? new Accounts();
    this.xattrs = options.xattrs ?? new LocalXattrs();
  }

  modeOf({ mode }: Entry): number {
    return mode & (this.#options.specialBits ? 0o7777 : 0o777);
  }

  hasMode(entry: Entry, now: BigIntStats): boolean {
    return Number(now.mode & permissionBits) === this.modeOf(entry);
  }

  /** Also where none is kept, or it cannot be set here. */
  hasOwner({ owner }: Entry, now: BigIntStats): boolean {
    const { uid, gid } = this.#idsOf(owner);
    return (uid === noId || uid === Number(now.uid)) && (gid === noId || gid === Number(now.gid));
  }

  /**
   * Calls `chown` (-1: as it is) if the owner is another one. Returns whether the mode has to be set
   * afterwards, whatever it was. What this machine does not allow (a number that its user namespace
   * does not have, a server that squashes root) is said once, and left as it is.
   */
  setOwner(entry: Entry, now: BigIntStats, chown: (uid: number, gid: number) => void): boolean {
    if (this.hasOwner(entry, now)) return false;
    const { uid, gid } = this.#idsOf(entry.owner);
    try {
      chown(uid === noId ? -1 : uid, gid === noId ? -1 : gid);
      return (this.modeOf(entry) & clearedBits) !== 0;
    } catch (error) {
      const code = systemCode(error);
      if (code !== 'EPERM' && code !== 'EINVAL') throw error;
      if (this.#impossible.size < impossibleMax) this.#impossible.add(`${uid}.${gid}`);
      this.#options.log.warn(
        { uid, gid, code },
        'an owner cannot be set here: it is left as it is',
      );
      return false;
    }
  }

  /**
   * Of a directory that belongs to somebody else, or is immutable, mode and times are left as they
   * are: what is done in it is done by then. Said once.
   */
  attempt(pathOf: () => string, act: () => void): void {
    try {
      act();
    } catch (error) {
      const code = systemCode(error);
      if (code === undefined || fatalMessage(error)) throw error;
      const path = pathOf();
      if (this.#left.has(path)) return;
      if (this.#left.size < impossibleMax) this.#left.add(path);
      const text = 'attributes of a directory cannot be set here: they are left as they are';
      this.#options.log.warn({ path, code }, text);
    }
  }

  #idsOf(owner: Owner | undefined): OwnerIds {
    if (owner === undefined || !this.#options.setsOwners) return nobody;
    const { user, group } = owner;
    const uid = user === '' ? owner.uid : (this.#accounts.idOf('user', user) ?? owner.uid);
    const gid = group === '' ? owner.gid : (this.#accounts.idOf('group', group) ?? owner.gid);
    return this.#impossible.has(`${uid}.${gid}`) ? nobody : { uid, gid };
  }
}

const nobody: OwnerIds = { uid: noId, gid: noId };

/** Two entries of one node that ask for the same attributes. */
export function isAlike(a: Entry, b: Entry): boolean {
  const isAttributed = b.xattrs === undefined || a.xattrs === b.xattrs;
  return (
    a.mode === b.mode && a.mtimeNs === b.mtimeNs && isAttributed && sameOwner(a.owner, b.owner)
  );
}
