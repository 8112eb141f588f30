// A file of parts, each with a check, for what may be lost: read as far as it is whole, replaced as
// a whole. Per part: u32 LE size | 16 bytes check | bytes.
import fs from 'node:fs';
import { type CheckHash, checkSize } from '../blocks/check-hash.ts';
import { systemCode } from '../errors.ts';

const headSize = 4 + checkSize;

/** The parts of the file up to the first that is not as it was written, or larger than `sizeMax`. */
export function* readParts(
  path: string,
  options: { readonly checkHash: CheckHash; readonly sizeMax: number },
): Generator<Buffer> {
  let fd: number;
  try {
    fd = fs.openSync(path, 'r');
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return;
  }
  try {
    const head = Buffer.alloc(headSize);
    while (isFilled(fd, head)) {
      const size = head.readUInt32LE(0);
      if (size > options.sizeMax) return;
      const part = Buffer.allocUnsafe(size);
      if (!isFilled(fd, part)) return;
      if (!options.checkHash.digest(part).equals(head.subarray(4))) return;
      yield part;
    }
  } finally {
    fs.closeSync(fd);
  }
}

function isFilled(fd: number, bytes: Buffer): boolean {
  try {
    return fs.readSync(fd, bytes, 0, bytes.length, null) === bytes.length;
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return false;
  }
}

/** False when the file system refused: then the old file is still there. */
export function writeParts(
  path: string,
  parts: Iterable<Buffer>,
  { checkHash }: { readonly checkHash: CheckHash },
): boolean {
  const temporary = `${path}.tmp`;
  try {
    const fd = fs.openSync(temporary, 'w', 0o600);
    try {
      const head = Buffer.alloc(headSize);
      for (const part of parts) {
        head.writeUInt32LE(part.length, 0);
        checkHash.digest(part).copy(head, 4);
        fs.writevSync(fd, [head, part]);
      }
    } finally {
      fs.closeSync(fd);
    }
    fs.renameSync(temporary, path);
    return true;
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    fs.rmSync(temporary, { recursive: true, force: true });
    return false;
  }
}
