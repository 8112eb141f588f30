import { systemCode } from '../errors.ts';
import type { Rejected } from '../wire/messages.ts';

/** An operation that cannot be applied; the others go on. */
export class Rejection extends Error {
  readonly reason: Rejected['reason'];

  constructor(reason: Rejected['reason'], message: string) {
    super(message);
    this.name = 'Rejection';
    this.reason = reason;
  }
}

/** System errors that concern the whole destination, not one path. */
const fatalCodes: ReadonlyMap<string, string> = new Map([
  ['ENOSPC', 'the destination is full: make room; the transfer goes on by itself'],
  ['EDQUOT', 'the disk quota of the destination is used up'],
  ['EROFS', 'the destination is read-only: mount it writable'],
  ['EIO', 'the disk of the destination reports an input/output error'],
  ['EMFILE', 'too many open files: raise the limit (ulimit -n)'],
  ['ENFILE', 'too many open files on the system'],
  ['ENOMEM', 'the receiving machine is out of memory'],
]);

/** What to tell the peer of an error that ends the session; undefined for any other error. */
export function fatalMessage(error: unknown): string | undefined {
  const code = systemCode(error);
  const message = code === undefined ? undefined : fatalCodes.get(code);
  return message && `${message} (${code})`;
}

export const otherFormInTheWay = 'another name that differs only in case or form is in the way';

const remedies: ReadonlyMap<string, string> = new Map([
  ['EACCES', 'the receiver has no permission: run it as the owner of the destination'],
  ['EPERM', 'the receiver may not do this: check attributes such as immutable, and the owner'],
  ['ENAMETOOLONG', 'the name is too long for the file system of the destination'],
  ['EINVAL', 'the file system of the destination does not take this name'],
  ['EILSEQ', 'the file system of the destination takes only names in valid UTF-8'],
  ['EEXIST', otherFormInTheWay],
  ['EBUSY', 'something is mounted there on the destination'],
  ['EXDEV', 'another file system is mounted there on the destination'],
  ['EMLINK', 'the file has as many hard links as the file system of the destination allows'],
  ['EFBIG', 'the file is too large for the file system of the destination'],
]);

/** The rejection for a system error on one path; undefined for errors that are not that. */
export function refusal(error: unknown, path: string): Rejection | undefined {
  const text = remedyOf(error);
  return text === undefined ? undefined : new Rejection('refused', `${path}: ${text}`);
}

/**
 * The same for a stage, whose path is not known yet. A large file that there is no room for leaves
 * what room there is to others; where a smaller one has none, nothing has.
 */
export function stageRefusal(error: unknown, isLarge: boolean): Rejection | undefined {
  const code = systemCode(error);
  if (isLarge && (code === 'ENOSPC' || code === 'EDQUOT')) {
    return new Rejection('refused', `no room for it: make room at the destination (${code})`);
  }
  const text = fatalMessage(error) ? undefined : remedyOf(error);
  return text === undefined ? undefined : new Rejection('refused', text);
}

function remedyOf(error: unknown): string | undefined {
  const code = systemCode(error);
  if (code === undefined || !/^E[A-Z0-9]+$/.test(code)) return undefined;
  const remedy = remedies.get(code) ?? 'the file system of the destination refused it';
  return `${remedy} (${code})`;
}
