// The block list of a stage, beside its content: appended to as blocks arrive, so that a stage that
// is cut short, by SIGKILL too, can be gone on with. A hint like any other: nothing is flushed, a
// torn tail is cut off, and every block is hashed when it is used.
//
//   16 bytes: what the replica's secret makes of a fixed text · 18 bytes a block, as in a block list
import fs from 'node:fs';
import { blockId } from '../blocks/block-id.ts';
import { BlockList, listedSize } from '../blocks/block-list.ts';
import { blockIdSize } from '../limits.ts';
import { type Name, toName } from '../snapshot/name.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';

const suffix = '.blocks';
const format = Buffer.from('replica: unfinished stage, 1');

export function listName(stage: Name): Name {
  return toName(`${stage}${suffix}`);
}

/** The stage whose list it is; undefined: not the name of a list. */
export function stageOfList(name: Name): Name | undefined {
  return name.endsWith(suffix) ? toName(name.slice(0, -suffix.length)) : undefined;
}

/** A list that grows with its stage. The owner closes it. */
export class UnfinishedList {
  readonly #fd: number;
  #size = 0;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  static create(folder: ConfinedDirectory, stage: Name, secret: Buffer): UnfinishedList {
    const list = new UnfinishedList(folder.createExclusive(listName(stage), 0o600));
    list.append(blockId(secret, format));
    return list;
  }

  /** `packed` as in a block list. */
  append(packed: Buffer): void {
    for (let done = 0; done < packed.length; ) {
      done += fs.writeSync(this.#fd, packed, done, packed.length - done, this.#size + done);
    }
    this.#size += packed.length;
  }

  close(): void {
    fs.closeSync(this.#fd);
  }
}

/** undefined: it is of another replica, or there is nothing in it. */
export function readUnfinishedList(
  folder: ConfinedDirectory,
  stage: Name,
  secret: Buffer,
): BlockList | undefined {
  const fd = folder.openRead(listName(stage));
  try {
    const bytes = Buffer.alloc(Number(fs.fstatSync(fd).size));
    let size = 0;
    for (let count = 1; count > 0 && size < bytes.length; size += count) {
      count = fs.readSync(fd, bytes, size, bytes.length - size, size);
    }
    const count = Math.floor((size - blockIdSize) / listedSize);
    if (count < 1 || !bytes.subarray(0, blockIdSize).equals(blockId(secret, format))) {
      return undefined;
    }
    return BlockList.from(bytes.subarray(blockIdSize, blockIdSize + count * listedSize));
  } finally {
    fs.closeSync(fd);
  }
}
