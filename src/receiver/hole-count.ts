// Blocks of zeroes in the lists of files under way: they take memory, and neither wire nor disk.
export class HoleCount {
  readonly blocksMax: number;
  #blocks = 0;

  constructor(blocksMax: number) {
    this.blocksMax = blocksMax;
  }

  /** One more; false if there is no room for it. */
  take(): boolean {
    if (this.#blocks >= this.blocksMax) return false;
    this.#blocks++;
    return true;
  }

  release(count: number): void {
    this.#blocks -= count;
  }
}

/** Blocks of zeroes that an unfinished stage may have in any case: 2 MiB of memory. */
const keptHolesMin = 65_536;

/** Is a list of so many blocks not worth its memory? Zeroes are sent again in next to nothing. */
export function isHollow(holeCount: number, blockCount: number): boolean {
  return holeCount > Math.max(blockCount - holeCount, keptHolesMin);
}
