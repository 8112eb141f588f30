// Grains of what the sender read, over its lives: in memory while it runs, in a file of its state
// folder in between. Losing them costs bytes, wrong ones too: the receiver checks what they lead to.
import { join } from 'node:path';
import { CheckHash } from '../blocks/check-hash.ts';
import { GrainCache, packedGrainsMax } from '../blocks/grain-cache.ts';
import { grainFactor } from '../blocks/grain-kernels.ts';
import { grainBytesMax, grainsSavedShare } from '../limits.ts';
import { readParts, writeParts } from '../store/parts-file.ts';

export class KeptGrains {
  readonly factor: bigint;
  readonly cache = new GrainCache(grainBytesMax);
  readonly #path: string;
  readonly #checkHash: CheckHash;
  /** Of `cache.bytesPut`, what is in the file as well. */
  #bytesSaved: number;

  /** `checkSecret` makes grains of another state unreadable. */
  constructor({ folder, checkSecret }: { folder: string; checkSecret: Buffer }) {
    this.factor = grainFactor(checkSecret);
    this.#path = join(folder, 'grains');
    this.#checkHash = new CheckHash(checkSecret);
    const options = { checkHash: this.#checkHash, sizeMax: packedGrainsMax };
    for (const part of readParts(this.#path, options)) this.cache.restore(part);
    this.#bytesSaved = this.cache.bytesPut;
  }

  /** Writes the file, unless most of it would be as it is. */
  save(): void {
    const { bytesPut, byteCount } = this.cache;
    if (bytesPut - this.#bytesSaved <= byteCount * grainsSavedShare) return;
    if (!writeParts(this.#path, this.cache.pack(), { checkHash: this.#checkHash })) return;
    this.#bytesSaved = bytesPut;
  }
}
