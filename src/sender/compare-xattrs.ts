// Extended attributes at the source beside those that are recorded, for `verify`.
import { systemCode } from '../errors.ts';
import type { Entry } from '../snapshot/entry.ts';
import type { Seen } from '../snapshot/listing.ts';
import { readSourceXattrs } from '../tree/source-xattrs.ts';
import type { UserXattrs } from '../tree/user-xattrs.ts';

/** Without `xattrs` they are not compared. What cannot be read, or kept, is another than recorded. */
export function compareXattrs(
  { root, xattrs }: { readonly root: string; readonly xattrs?: UserXattrs | undefined },
  { path, seen, entry }: { readonly path: string; readonly seen: Seen; readonly entry: Entry },
): 'same' | 'xattrs' | 'changing' {
  if (!xattrs || seen.kind === 'link') return 'same';
  try {
    const read = readSourceXattrs(root, { path, seen }, xattrs);
    if (read === undefined) return 'changing';
    return read === entry.xattrs ? 'same' : 'xattrs';
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    return code === 'ENOENT' ? 'changing' : 'xattrs';
  }
}
