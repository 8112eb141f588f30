// Numbers of owners that a scan saw, with the names that entries carry beside them.
import type { Owner, OwnerIds } from '../snapshot/owner.ts';
import { Accounts } from '../tree/accounts.ts';

export class Owners {
  readonly #numericIds: boolean;
  readonly #accounts: Accounts;
  /** Most entries have the owner of the one before. */
  #last: Owner | undefined;

  constructor(options: { readonly numericIds: boolean; readonly accounts?: Accounts }) {
    this.#numericIds = options.numericIds;
    this.#accounts = options.accounts ?? new Accounts();
  }

  /** undefined where owners are not kept. */
  of(seen: OwnerIds | undefined): Owner | undefined {
    if (seen === undefined) return undefined;
    const { uid, gid } = seen;
    if (this.#last?.uid !== uid || this.#last.gid !== gid) {
      const user = this.#numericIds ? '' : this.#accounts.nameOf('user', uid);
      const group = this.#numericIds ? '' : this.#accounts.nameOf('group', gid);
      this.#last = { uid, gid, user, group };
    }
    return this.#last;
  }
}
