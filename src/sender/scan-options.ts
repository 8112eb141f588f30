// What a scan is asked for, and what belongs to it.
import type { MaxDelete } from '../snapshot/guard.ts';
import { fromUserPath } from '../snapshot/name.ts';
import type { SettleRule } from './settling.ts';
import type { SweepPaceOptions } from './sweep-pace.ts';

export interface ScanOptions {
  /** Latin1. */
  readonly root: string;
  readonly exclude: readonly string[];
  readonly delete: boolean;
  readonly deleteExcluded: boolean;
  readonly maxDelete: MaxDelete;
  readonly acceptDeletes: boolean;
  /** Sweep only these parts, below the root; empty: everything. */
  readonly scope: readonly string[];
  /** Read every file again, whatever its times say. */
  readonly checksum: boolean;
  /** Larger files are left out; what the replica has at their names stays. Default: none. */
  readonly maxSize?: number | undefined;
  /** Do not descend into mount points; what the replica has below stays. */
  readonly oneFileSystem?: boolean | undefined;
  /** Files are sent once they were left alone for so long. Default: at once. */
  readonly settle?: readonly SettleRule[] | undefined;
  /** Owners go by number, without their names. */
  readonly numericIds?: boolean | undefined;
  readonly pace: SweepPaceOptions;
}

/** A path is in scope when it is named, inside something named, or leads to it. */
export function isInScope(path: string, scope: readonly string[]): boolean {
  if (scope.length === 0) return true;
  return scope.some(
    one => path === one || path.startsWith(`${one}/`) || one.startsWith(`${path}/`),
  );
}

/** --path as given by the user: latin1, without slashes at its ends or '.' components. */
export function scopePath(text: string): string {
  const parts = fromUserPath(text).split('/');
  return parts.filter(part => part !== '' && part !== '.').join('/');
}
