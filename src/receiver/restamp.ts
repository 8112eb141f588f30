// We removed one name of a file: that alone moved the ctime of the file, which its other names share.
import { systemCode } from '../errors.ts';
import type { Changes } from '../store/changes.ts';
import type { FileVersion } from '../store/file-places.ts';
import { sameContentStamp, stampOf } from '../store/receiver-records.ts';
import { Directories } from './directories.ts';
import type { Folders } from './folders.ts';

/** Otherwise the next step would take the file for altered. */
export function restampRest(
  { folders, changes }: { readonly folders: Folders; readonly changes: Changes },
  { id, version }: FileVersion,
): void {
  const record = changes.file(id, version);
  if (!record || record.links <= 0) return;
  const directories = new Directories({ folders, lookUp: one => changes.directory(one) });
  try {
    for (const { parent, name } of record.places) {
      const resolution = directories.open(parent);
      const now = resolution.kind === 'open' ? resolution.directory.lstat(name) : undefined;
      if (!now?.isFile() || !sameContentStamp(stampOf(now), record.stamp)) continue;
      changes.setFile(id, version, { ...record, stamp: stampOf(now) });
      return;
    }
  } catch (error) {
    // It is looked at when its turn comes.
    if (systemCode(error) === undefined) throw error;
  } finally {
    directories.close();
  }
}
