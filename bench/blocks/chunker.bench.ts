// How fast is a file cut into blocks, and is the wasm kernel worth having beside the plain twin?
import { allCuts } from '../../src/blocks/chunker-plain.ts';
import { blockBounds } from '../../src/blocks/gear.ts';
import { Kernels } from '../../src/blocks/kernels.ts';
import { noise } from '../../test/support/content.ts';
import { measure } from '../support/measure.ts';

const size = 16 * 1024 * 1024;
const text = noise(2, size).map(byte => 0x61 + (byte % 20));
const contents = { noise: noise(1, size), text: Buffer.from(text), zeroes: Buffer.alloc(size) };
const kernels = Kernels.load({ dataSize: size });

/** Cuts what lies in the kernels' data; returns the number of blocks. */
function cutAll(): number {
  let blocks = 0;
  for (let start = 0; start < size; ) {
    const count = kernels.findCuts(start, size, true, 1024);
    blocks += count;
    start = kernels.cutAt(count - 1);
  }
  return blocks;
}

for (const [content, bytes] of Object.entries(contents)) {
  bytes.copy(kernels.data);
  const blocks = allCuts(bytes, blockBounds).length;
  if (cutAll() !== blocks) throw new Error(`kernel and plain twin differ on ${content}`);
  const fields = { content, blocks };
  measure({ name: 'chunker: wasm kernel', ...fields }, { bytes: size, runs: 30 }, cutAll);
  measure({ name: 'chunker: plain', ...fields }, { bytes: size, runs: 7 }, () => {
    allCuts(bytes, blockBounds);
  });
}
