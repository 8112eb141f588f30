// Who owns a file, as the source says it (--owner, --group). Names go with the numbers: the same
// account may have another number at the replica, and no name there at all.

/** In place of a number: it is not kept, the replica's stays as it is. */
export const noId = 0xffff_ffff;

/** What lstat says. */
export interface OwnerIds {
  /** u32, or noId. */
  readonly uid: number;
  readonly gid: number;
}

export interface Owner extends OwnerIds {
  /** Latin1; '' for what has no name, and where only numbers count. */
  readonly user: string;
  readonly group: string;
}

/** Names may have spaces (Windows domains), but nothing that /etc/passwd could not hold. */
const accountPattern = /^[^\0-\x1f:\x7f\u0100-\uffff]{0,255}$/;

/** What an owner says that cannot be, or undefined. */
export function ownerFault({ uid, gid, user, group }: Owner): string | undefined {
  if (!isId(uid) || !isId(gid)) return 'owner is no number of 32 bits';
  if (uid === noId && gid === noId) return 'has an owner that says nothing';
  if ((uid === noId && user !== '') || (gid === noId && group !== '')) {
    return 'has the name of an owner that is not kept';
  }
  if (!accountPattern.test(user) || !accountPattern.test(group)) return 'owner has no usable name';
  return undefined;
}

/** The numbers alone: names are made from them. */
export function sameOwner(a: OwnerIds | undefined, b: OwnerIds | undefined): boolean {
  return a?.uid === b?.uid && a?.gid === b?.gid;
}

function isId(number: number): boolean {
  return Number.isInteger(number) && number >= 0 && number <= noId;
}
