// A block made by a patch from the base version of its file.
import { applyPatch } from '../blocks/block-patch.ts';
import { systemCode } from '../errors.ts';
import { ReadBuffer } from '../tree/read-buffer.ts';

/** For what is used at once. */
const readBuffer = new ReadBuffer();

/** `fd`: the base version; undefined if it is shorter than it was. Throws ERR_PROTOCOL for a bad patch. */
export function patchedBlock(fd: number, patch: Buffer, size: number): Buffer | undefined {
  try {
    return applyPatch(patch, size, (from, into) => {
      readBuffer.read(fd, from, into.length).copy(into);
    });
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return undefined;
  }
}
