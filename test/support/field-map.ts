// Where each field of an encoded message lies, and what it may hold, as the codec itself reads it:
// the calls of its FieldReader are noted. A field that is added later is found by itself.
import { FieldReader } from '../../src/snapshot/field-reader.ts';
import { decodeMessage } from '../../src/wire/codec.ts';

export interface Field {
  readonly name: string;
  readonly at: number;
  /** Bytes. */
  readonly size: number;
  /** What the codec lets through, whatever else it may check then. */
  readonly min: bigint;
  readonly max: bigint;
}

const widths = { u8: 1, u16: 2, u32: 4, u48: 6, size: 8, u64: 8, i64: 8, flag: 1 } as const;
type Method = keyof typeof widths;
const methods = Object.keys(widths) as Method[]; // The keys of a literal.
/** All of them take these, or fewer. */
type Read = (this: FieldReader, field: string, min?: number, max?: number) => unknown;

/** The numbers in `payload`, which must be a good one, in order. */
export function fieldsOf(type: number, payload: Buffer): readonly Field[] {
  const fields: Field[] = [];
  const { prototype } = FieldReader;
  const originals = methods.map(method => [method, prototype[method] as Read] as const);
  let depth = 0;
  for (const [method, original] of originals) {
    const size = widths[method];
    const noting = function (this: FieldReader, name: string, min?: number, max?: number) {
      const at = this.offset;
      depth++;
      try {
        return original.call(this, name, min, max);
      } finally {
        // A flag is read as a u8.
        if (--depth === 0) fields.push({ name, at, size, ...boundsOf(method, min, max) });
      }
    };
    Object.defineProperty(prototype, method, { value: noting });
  }
  try {
    decodeMessage(type, payload);
  } finally {
    for (const [method, original] of originals) {
      Object.defineProperty(prototype, method, { value: original });
    }
  }
  return fields;
}

function boundsOf(method: Method, min = 0, max?: number): { min: bigint; max: bigint } {
  if (method === 'flag') return { min: 0n, max: 1n };
  const largest = method === 'size' ? 2n ** 53n - 1n : 2n ** BigInt(8 * widths[method]) - 1n;
  return { min: BigInt(min), max: max === undefined ? largest : BigInt(max) };
}

export interface Variant {
  readonly name: string;
  readonly payload: Buffer;
  /** Outside of what the codec lets through. */
  readonly isBeyond: boolean;
}

/** `payload` with each of its fields at its bounds, just beyond them, and at the ends of its width. */
export function variantsOf(type: number, payload: Buffer): readonly Variant[] {
  const variants: Variant[] = [];
  for (const { name, at, size, min, max } of fieldsOf(type, payload)) {
    const largest = 2n ** BigInt(8 * size) - 1n;
    const middle = 2n ** BigInt(8 * size - 1);
    const values = new Set([min, min - 1n, min + 1n, max, max + 1n, max - 1n, 0n, largest, middle]);
    if (size === 8) for (const value of [2n ** 53n - 1n, 2n ** 53n]) values.add(value);
    for (const value of values) {
      if (value < 0n || value > largest) continue;
      const bytes = Buffer.from(payload);
      writeNumber(bytes, { at, size }, value);
      if (bytes.equals(payload)) continue;
      const isBeyond = value < min || value > max;
      variants.push({ name: `${name} at ${at} is ${value}`, payload: bytes, isBeyond });
    }
  }
  return variants;
}

function writeNumber(bytes: Buffer, field: { at: number; size: number }, value: bigint): void {
  for (let i = 0; i < field.size; i++) {
    bytes[field.at + i] = Number((value >> BigInt(8 * (field.size - 1 - i))) & 0xffn);
  }
}
