// Extended attributes of the user namespace (xattr(7)), as the source says them (--xattrs). All of an
// entry are one string, latin1 like names and targets, so that two entries are compared as such:
//
//   u8 name size | name | u16 value size | value        once for each, in byte order of the names
//
// Names are without their 'user.': no other namespace can be written down.
import { xattrsSizeMax } from '../limits.ts';

/** The kernel's XATTR_NAME_MAX without 'user.'. */
const nameSizeMax = 250;
const fixedSize = 3;

export interface Xattr {
  /** UTF-8 as latin1, 1 to 250 bytes without NUL. */
  readonly name: string;
  readonly value: Buffer;
}

/** Is it a name that can be kept? */
export function isXattrName(name: string): boolean {
  if (name.length === 0 || name.length > nameSizeMax) return false;
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code === 0 || code > 0xff) return false;
  }
  return isUtf8(name);
}

/** `xattrs` have names that differ, in any order. Undefined: they are more than xattrsSizeMax. */
export function packXattrs(xattrs: readonly Xattr[]): string | undefined {
  const size = xattrs.reduce((sum, one) => sum + fixedSize + one.name.length + one.value.length, 0);
  if (size > xattrsSizeMax) return undefined;
  const sorted = [...xattrs].sort((a, b) => (a.name < b.name ? -1 : 1));
  let packed = '';
  for (const { name, value } of sorted) {
    const size = String.fromCharCode(value.length >>> 8, value.length & 0xff);
    packed += String.fromCharCode(name.length) + name + size + value.toString('latin1');
  }
  return packed;
}

/** The reverse; `packed` has no fault. */
export function unpackXattrs(packed: string): Xattr[] {
  const xattrs: Xattr[] = [];
  for (let at = 0; at < packed.length; ) {
    const { name, valueAt, end } = partAt(packed, at);
    xattrs.push({ name, value: Buffer.from(packed.slice(valueAt, end), 'latin1') });
    at = end;
  }
  return xattrs;
}

/** What packed attributes say that cannot be, or undefined. */
export function xattrsFault(packed: string): string | undefined {
  if (packed.length > xattrsSizeMax) return 'has too many extended attributes';
  let last = '';
  for (let at = 0; at < packed.length; ) {
    const { name, valueAt, end } = partAt(packed, at);
    // Beyond the end the sizes are no numbers.
    if (!(valueAt <= packed.length && end <= packed.length)) {
      return 'has extended attributes that are cut short';
    }
    if (!isXattrName(name)) return 'has an extended attribute without a usable name';
    if (name <= last) return 'has extended attributes out of order';
    last = name;
    at = end;
  }
  return undefined;
}

function partAt(packed: string, at: number): { name: string; valueAt: number; end: number } {
  const nameEnd = at + 1 + packed.charCodeAt(at);
  const valueAt = nameEnd + 2;
  const size = packed.charCodeAt(nameEnd) * 0x100 + packed.charCodeAt(nameEnd + 1);
  return { name: packed.slice(at + 1, nameEnd), valueAt, end: valueAt + size };
}

const decoder = new TextDecoder('utf-8', { fatal: true });

function isUtf8(latin1: string): boolean {
  if (/^[\x01-\x7f]*$/.test(latin1)) return true;
  try {
    decoder.decode(Buffer.from(latin1, 'latin1'));
    return true;
  } catch {
    return false;
  }
}
