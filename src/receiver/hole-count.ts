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
