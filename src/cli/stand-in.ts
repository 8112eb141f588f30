// A dry run writes nothing at the destination. Where there is no replica yet it looks at an empty
// folder in its place, which is gone when it ends.
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ReplicaError } from '../errors.ts';

export interface StandIn {
  readonly root: string;
  remove(): void;
}

/**
 * Undefined where `destination` is a folder that holds something. Throws ERR_PATH where no folder
 * could be made.
 */
export function standInFor(destination: string): StandIn | undefined {
  const stats = statSync(destination, { throwIfNoEntry: false });
  if (stats !== undefined && (!stats.isDirectory() || readdirSync(destination).length > 0)) {
    return undefined;
  }
  if (stats === undefined && !statSync(dirname(destination), { throwIfNoEntry: false })) {
    const text = `destination ${destination} cannot be made: its parent folder does not exist`;
    throw new ReplicaError('ERR_PATH', text);
  }
  const root = mkdtempSync(join(tmpdir(), 'replica-dry-run-'));
  return { root, remove: () => rmSync(root, { recursive: true, force: true }) };
}
