// Sizes as rsync takes them: a number of bytes, or one with a unit.
import { fileSizeMax } from '../limits.ts';
import { type Setting, usage } from './setting.ts';

/**
 * Whole bytes: 1000, 100K and 100KiB (1024 based), 100KB (1000 based), 1.5M, 2G, and one byte more or
 * less as in 2G-1. Throws ERR_USAGE for anything else, and for less than a byte.
 */
export function readSize(setting: Setting<string>): number {
  const text = setting.value.trim();
  const match = /^(\d{1,16}(?:\.\d{1,6})?)(?:b|([kmgtp])(i?b)?)?([+-]1)?$/i.exec(text);
  const [, digits, unit, suffix = '', more = '0'] = match ?? [];
  const base = /^b$/i.test(suffix) ? 1000 : 1024;
  const power = unit === undefined ? 0 : 'kmgtp'.indexOf(unit.toLowerCase()) + 1;
  const bytes = Math.floor(Number(digits) * base ** power) + Number(more);
  if (!match || bytes < 1 || bytes > fileSizeMax) {
    throw usage(setting.origin, `'${setting.value}' is no size such as 500K, 1.5M or 2G`);
  }
  return bytes;
}
