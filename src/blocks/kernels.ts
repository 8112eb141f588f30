// The one exception to blocks/ being pure: it reads kernels.wasm, its own compiled half, which
// the build puts beside this file.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type BlockBounds, blockBounds, cutThreshold, gearTable } from './gear.ts';

const pageSize = 65536;
const zeroBit = 0x80000000;

/** The part of the global used here; the compiler's own declarations come with the browser's. */
declare namespace WebAssembly {
  interface Memory {
    readonly buffer: ArrayBuffer;
    grow(pages: number): number;
  }
  class Module {
    constructor(bytes: Uint8Array);
  }
  class Instance {
    constructor(module: Module, imports: object);
    readonly exports: object;
  }
}

interface KernelExports {
  readonly memory: WebAssembly.Memory;
  tableAt(): number;
  cutsAt(): number;
  findCuts(
    start: number,
    end: number,
    isLast: number,
    limit: number,
    min: number,
    max: number,
    threshold: number,
  ): number;
}

let compiled: WebAssembly.Module | undefined;

/** The exports of a new instance of all kernels, with a memory of its own. */
export function instantiate(): object {
  compiled ??= new WebAssembly.Module(readFileSync(new URL('./kernels.wasm', import.meta.url)));
  return new WebAssembly.Instance(compiled, {}).exports;
}

/**
 * One instance of the kernels with its memory, of which `data` is the caller's: file bytes are
 * read straight into it. Load one a thread; what uses it owns `data` alone. Memory never grows
 * after loading, so views of `data` stay valid.
 */
export class Kernels {
  readonly data: Buffer;
  readonly bounds: BlockBounds;
  readonly #dataAt: number;
  readonly #threshold: number;
  readonly #cuts: Uint32Array;
  readonly #exports: KernelExports;

  /** `dataSize` bytes of data, rounded up to 64 KiB. */
  static load(options: { dataSize?: number; bounds?: BlockBounds } = {}): Kernels {
    return new Kernels(
      // What assembly/index.ts exports; its tests would fail on any difference.
      instantiate() as unknown as KernelExports,
      options.dataSize ?? 17 * pageSize,
      options.bounds ?? blockBounds,
    );
  }

  private constructor(exports: KernelExports, dataSize: number, bounds: BlockBounds) {
    const { memory } = exports;
    this.#exports = exports;
    this.bounds = bounds;
    this.#threshold = cutThreshold(bounds);
    this.#dataAt = memory.buffer.byteLength;
    memory.grow(Math.ceil(dataSize / pageSize));
    new Uint32Array(memory.buffer, exports.tableAt(), 256).set(gearTable());
    this.#cuts = new Uint32Array(memory.buffer, exports.cutsAt(), 1024);
    this.data = Buffer.from(memory.buffer, this.#dataAt);
  }

  /**
   * Cuts data[start, end) into at most `limit` blocks and returns how many. The last bytes of a
   * file that goes on stay uncut: unless `isLast`, a block is cut only where `bounds.max` bytes
   * are there to look at. Read the cuts with cutAt and isZeroAt; the next call overwrites them.
   */
  findCuts(start: number, end: number, isLast: boolean, limit: number): number {
    assert(start >= 0 && start <= end && end <= this.data.length && limit > 0);
    const at = this.#dataAt;
    const { min, max } = this.bounds;
    const last = isLast ? 1 : 0;
    return this.#exports.findCuts(at + start, at + end, last, limit, min, max, this.#threshold);
  }

  /** Where the `i`th block found ends, as an offset in `data`. */
  cutAt(i: number): number {
    return ((this.#cuts[i] ?? 0) & ~zeroBit) - this.#dataAt;
  }

  /** Is the `i`th block found nothing but zero bytes? */
  isZeroAt(i: number): boolean {
    return (this.#cuts[i] ?? 0) >= zeroBit;
  }
}
