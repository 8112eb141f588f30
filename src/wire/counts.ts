// `u16 count` and that many items, with bounds on both sides of the wire.
import assert from 'node:assert/strict';
import type { FieldReader } from '../snapshot/field-reader.ts';
import type { FieldWriter } from '../snapshot/field-writer.ts';

export function writeCount(writer: FieldWriter, count: number, min: number, max: number): void {
  assert(Number.isInteger(count) && count >= min && count <= max, `count ${count}`);
  writer.u16(count);
}

/** `u16 count`, then that many items of at least `itemSizeMin` bytes each. */
export function readMany<T>(
  reader: FieldReader,
  bounds: { readonly min: number; readonly max: number; readonly itemSizeMin: number },
  readItem: () => T,
): readonly T[] {
  const count = reader.u16('count', bounds.min, bounds.max);
  if (count * bounds.itemSizeMin > reader.left) reader.fail('count', 'is more than there is');
  return Array.from({ length: count }, readItem);
}
