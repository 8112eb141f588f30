// Texts for people inside messages.
import { textSizeMax } from '../limits.ts';
import type { FieldReader } from '../snapshot/field-reader.ts';
import type { FieldWriter } from '../snapshot/field-writer.ts';
import { printable } from '../snapshot/name.ts';

/** `u16 size`, then the text. */
export function writeText(writer: FieldWriter, text: string): void {
  const bytes = textBytes(text);
  writer.u16(bytes.length);
  writer.bytes(bytes, bytes.length);
}

/** UTF-8, cut at a character to at most textSizeMax bytes. */
export function textBytes(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length <= textSizeMax) return bytes;
  let end = textSizeMax;
  // 10xxxxxx continues a character.
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}

/** What comes out is printable: nothing in it controls a terminal. Throws ERR_PROTOCOL. */
export function readText(reader: FieldReader, field: string): string {
  const size = reader.u16(`${field} size`, 0, textSizeMax);
  return printable(reader.latin1(field, size));
}
