// -z, --compress and --compress-level, checked.
import type { Compression } from '../net/packing.ts';
import { type Settings, usage } from './settings.ts';

export interface GivenCompressionFlags {
  readonly compressAlways: boolean | undefined;
  readonly compress: string | undefined;
  readonly compressLevel: string | undefined;
}

const meanings: ReadonlyMap<string, Compression> = new Map<string, Compression>([
  ['auto', { when: 'spare' }],
  ['on', { when: 'always' }],
  ['off', { when: 'never' }],
  ['brotli', { when: 'always', codec: 'brotli' }],
  ['zstd', { when: 'always', codec: 'zstd' }],
]);

/** Throws ERR_USAGE for a value that makes no sense. */
export function readCompression(settings: Settings, given: GivenCompressionFlags): Compression {
  const word = settings.text('compress', given.compress);
  const meaning = meanings.get(word?.value ?? 'auto');
  if (meaning === undefined) {
    throw usage(
      word?.origin ?? '',
      `'${word?.value}' is none of ${[...meanings.keys()].join(', ')}`,
    );
  }
  if (given.compressAlways && meaning.when === 'never' && given.compress !== undefined) {
    throw usage('-z', 'contradicts --compress off; give one of them');
  }
  const level = readLevel(settings, given.compressLevel);
  const isAsked = given.compressAlways && meaning.when !== 'always';
  return { ...(isAsked ? { when: 'always' } : meaning), level };
}

function readLevel(settings: Settings, given: string | undefined): number | undefined {
  const level = settings.text('compress-level', given);
  if (level === undefined) return undefined;
  const value = Number(level.value);
  if (/^\d{1,2}$/.test(level.value) && value >= 1 && value <= 19) return value;
  throw usage(level.origin, `'${level.value}' is no level from 1 to 19 (brotli ends at 11)`);
}
