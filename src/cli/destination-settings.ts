// The settings of a destination: of `receive`, and of `push` to a folder on this machine.
import type { Settings } from './settings.ts';

const dayMs = 86_400_000;

export interface DestinationSettings {
  readonly adopt: boolean;
  readonly takeOver: boolean;
  readonly fsync: 'batch' | 'off';
  readonly keepMs: number;
  readonly specialBits: boolean;
}

export interface GivenDestinationFlags {
  readonly adopt: boolean | undefined;
  readonly takeOver: boolean | undefined;
  readonly fsync: string | undefined;
  readonly keep: string | undefined;
  readonly specialBits: boolean | undefined;
}

/** Throws ERR_USAGE for a value that cannot be understood. */
export function readDestinationSettings(
  settings: Settings,
  given: GivenDestinationFlags,
): DestinationSettings {
  return {
    adopt: settings.switch('adopt', given.adopt),
    takeOver: settings.switch('take-over', given.takeOver),
    fsync: settings.choice('fsync', given.fsync, ['batch', 'off']),
    keepMs: settings.duration('keep', given.keep, { fallback: '24h', min: 0, max: 3650 * dayMs }),
    specialBits: settings.switch('special-bits', given.specialBits),
  };
}
