// Is the content of a file what its record says? Where times moved and the size did not, that
// decides: a backup tool, a chmod, or a second name that went, alters nothing.
import fs, { type BigIntStats } from 'node:fs';
import { blockId } from '../blocks/block-id.ts';
import { systemCode } from '../errors.ts';
import type { Name } from '../snapshot/name.ts';
import { type FileRecord, sameLocalStamp, stampOf } from '../store/receiver-records.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';
import { ReadBuffer } from '../tree/read-buffer.ts';

/** For what is used at once. */
const readBuffer = new ReadBuffer();

/** Blocks read at a time: 1 MiB at most. */
export const blocksPerPiece = 16;

/** Some blocks of an open file from number `from` on. 'same': it has no more. */
export function comparePiece(
  fd: number,
  from: number,
  { list, stamp }: FileRecord,
  secret: Buffer,
): 'same' | 'other' | 'more' {
  if (BigInt(list.byteCount) !== stamp.size) return 'other';
  const end = Math.min(from + blocksPerPiece, list.count);
  for (let block = from; block < end; block++) {
    const bytes = readBuffer.read(fd, list.offsetAt(block), list.sizeAt(block));
    if (!blockId(secret, bytes).equals(list.idAt(block))) return 'other';
  }
  return end < list.count ? 'more' : 'same';
}

/** Can only a look at the content tell whether `now` is what was recorded? */
export function isDoubtful({ links, stamp }: FileRecord, now: BigIntStats): boolean {
  if (!now.isFile() || now.size !== stamp.size) return false;
  // Of a file with several names each must be that very file. Another file with several names is
  // shared with something else, as tools that look for duplicates do it: it cannot have attributes
  // of its own.
  return now.ino === stamp.ino || (links === 1 && now.nlink === 1n);
}

/** Reads all of the file that `now` was seen at; false where it cannot be read. */
export function hasContent(
  directory: ConfinedDirectory,
  name: Name,
  expected: { readonly record: FileRecord; readonly now: BigIntStats; readonly secret: Buffer },
): boolean {
  const { record, now, secret } = expected;
  let fd: number | undefined;
  try {
    fd = directory.openRead(name);
    if (!sameLocalStamp(stampOf(fs.fstatSync(fd, { bigint: true })), stampOf(now))) return false;
    for (let block = 0; ; block += blocksPerPiece) {
      const verdict = comparePiece(fd, block, record, secret);
      if (verdict !== 'more') return verdict === 'same';
    }
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return false;
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}

/** Are these bytes of an open file the block? */
export function holdsBlock(
  fd: number,
  { offset, size }: { readonly offset: number; readonly size: number },
  { id, secret }: { readonly id: Buffer; readonly secret: Buffer },
): boolean {
  try {
    return blockId(secret, readBuffer.read(fd, offset, size)).equals(id);
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return false;
  }
}
