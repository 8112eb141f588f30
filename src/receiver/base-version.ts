// The version that a new one is made from: open while it is copied from.
import fs, { type BigIntStats } from 'node:fs';
import type { BlockList } from '../blocks/block-list.ts';
import { applyPatch } from '../blocks/block-patch.ts';
import { systemCode } from '../errors.ts';
import { ReadBuffer } from '../tree/read-buffer.ts';
import type { OpenVersion } from './block-source.ts';
import type { Run } from './steps.ts';

/** For what is used at once. */
const readBuffer = new ReadBuffer();

export class BaseVersion {
  readonly fd: number;
  readonly list: BlockList;
  readonly #before: BigIntStats;

  /** Takes `fd` over. */
  constructor({ fd, list }: OpenVersion) {
    this.fd = fd;
    this.list = list;
    this.#before = fs.fstatSync(fd, { bigint: true });
  }

  /** Was it altered since it was opened? Then what was copied from it may be anything. */
  get isAltered(): boolean {
    const { size, mtimeNs } = fs.fstatSync(this.fd, { bigint: true });
    return size !== this.#before.size || mtimeNs !== this.#before.mtimeNs;
  }

  /** Where a run of its blocks lies, in bytes; undefined if it has fewer. */
  rangeOf({ from, count }: Run): { readonly start: number; readonly end: number } | undefined {
    const { list } = this;
    if (from + count > list.count) return undefined;
    return { start: list.offsetAt(from), end: list.offsetAt(from + count) };
  }

  /** A block made by a patch; undefined if the file is shorter than it was. Throws ERR_PROTOCOL. */
  patched(patch: Buffer, size: number): Buffer | undefined {
    try {
      return applyPatch(patch, size, (from, into) => {
        readBuffer.read(this.fd, from, into.length).copy(into);
      });
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      return undefined;
    }
  }

  close(): void {
    fs.closeSync(this.fd);
  }
}
