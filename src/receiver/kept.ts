import { type Name, toName } from '../snapshot/name.ts';

/** Bytes of the original name that a name in kept content carries. */
const originalSizeMax = 200;

/** `<number>-<original name>`. */
export function keptName(number: string, original: Name): Name {
  return toName(`${number}-${original.slice(0, originalSizeMax)}`);
}
