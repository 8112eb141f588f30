// Names are bytes. Inside replica a name is a latin1 string: one char is one byte, so that names
// of any encoding stay exact, sort by bytes with `<`, and cost no Buffer each. They are converted
// for display only.
import { ReplicaError } from '../errors.ts';

declare const nameBrand: unique symbol;
/** One path component: 1 to 255 bytes, no slash, no NUL, not '.' or '..'. Latin1 string. */
export type Name = string & { readonly [nameBrand]: true };

export const nameSizeMax = 255;

/** True for a string that can be one path component. */
export function isName(text: string): text is Name {
  if (text.length === 0 || text.length > nameSizeMax) return false;
  if (text === '.' || text === '..') return false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0 || code === 0x2f || code > 0xff) return false;
  }
  return true;
}

/** `text` (latin1) as a Name; throws ERR_PROTOCOL. */
export function toName(text: string): Name {
  if (!isName(text)) throw new ReplicaError('ERR_PROTOCOL', `not a name: '${printable(text)}'`);
  return text;
}

/** -1, 0 or 1 by bytes. */
export function compareNames(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * A latin1 path for the system: as is while ASCII, else the exact bytes as a Buffer
 * (a string would be written as UTF-8).
 */
export function systemPath(latin1: string): string | Buffer {
  for (let i = 0; i < latin1.length; i++) {
    if (latin1.charCodeAt(i) > 0x7f) return Buffer.from(latin1, 'latin1');
  }
  return latin1;
}

/** The latin1 form of a path given by a user as a JavaScript string. */
export function fromUserPath(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}\ufffd]/gu;

/** For people: UTF-8 decoded, every control, format or undecodable character escaped. */
export function printable(latin1: string): string {
  const bytes = Buffer.from(latin1, 'latin1');
  const text = bytes.toString('utf8');
  const exact = Buffer.compare(Buffer.from(text, 'utf8'), bytes) === 0;
  if (!exact) {
    return latin1.replace(/[^\x20-\x7e]|\\/g, char =>
      char === '\\' ? '\\\\' : `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
    );
  }
  return text.replace(unprintable, char => {
    const code = char.codePointAt(0) ?? 0;
    if (char === '\n') return '\\n';
    if (char === '\t') return '\\t';
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
  });
}
