// What does compressing what is sent cost and save, by codec, for text, machine code and noise? The
// rival compresses each write by itself, as files would be.
import fs from 'node:fs';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { codecs } from '../../src/net/codec-stream.ts';
import { looksRandom, Packer, Unpacker } from '../../src/net/packing.ts';
import { frameHeaderSize } from '../../src/wire/frame.ts';
import { codecFeatures } from '../../src/wire/packed.ts';
import { noise } from '../../test/support/content.ts';
import { measure, measureAsync } from '../support/measure.ts';

const size = 4 * 1024 * 1024;
const writeSize = 128 * 1024;
const allFeatures = codecFeatures.brotli | codecFeatures.zstd;
const brotli = promisify<Buffer, zlib.BrotliOptions, Buffer>(zlib.brotliCompress);
const quality = { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 } };

/** Compiled modules of the project, over and over in another order. */
function makeText(): Buffer {
  const folder = new URL('../../src/', import.meta.url);
  const names = fs.readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
  const files = names.filter(name => name.endsWith('.js'));
  const texts = files.map(name => fs.readFileSync(new URL(name, folder)));
  const once = Buffer.concat(texts);
  return Buffer.concat(
    Array.from({ length: Math.ceil(size / once.length) }, () => once),
    size,
  );
}

const executable = Buffer.alloc(size);
const fd = fs.openSync(process.execPath, 'r');
fs.readSync(fd, executable, 0, size, size);
fs.closeSync(fd);
const contents = { text: makeText(), 'machine code': executable, noise: noise(1, size) };

function writesOf(content: Buffer): Buffer[] {
  return Array.from({ length: size / writeSize }, (_, i) =>
    content.subarray(i * writeSize, (i + 1) * writeSize),
  );
}

for (const [content, bytes] of Object.entries(contents)) {
  const writes = writesOf(bytes);
  measure({ name: 'packing: does it look random?', content }, { bytes: size, runs: 15 }, () =>
    writes.map(looksRandom),
  );
  for (const codec of codecs) {
    const pack = async (): Promise<Buffer[]> => {
      const packer = new Packer(codec, { level: undefined, checksum: false });
      const packed = await Promise.all(writes.map(write => packer.pack(write) ?? write));
      packer.close();
      return packed;
    };
    const packed = await pack();
    const bytesPacked = packed.reduce((sum, { length }) => sum + length, 0);
    const options = { bytes: size, runs: 3 };
    const fields = { content, codec, bytesPacked };
    await measureAsync({ name: 'packing: pack', ...fields }, options, pack);
    if (bytesPacked === size) continue;
    const unpack = async (): Promise<Buffer> => {
      const unpacker = new Unpacker(allFeatures);
      const parts: Buffer[] = [];
      for (const frame of packed)
        parts.push(await unpacker.unpack(frame.subarray(frameHeaderSize)));
      unpacker.close();
      return Buffer.concat(parts);
    };
    if (!(await unpack()).equals(bytes)) throw new Error('unpacked is not what was packed');
    await measureAsync({ name: 'packing: unpack', ...fields }, options, unpack);
  }
  const alone = (): Promise<Buffer[]> => Promise.all(writes.map(write => brotli(write, quality)));
  const bytesPacked = (await alone()).reduce((sum, { length }) => sum + length, 0);
  const fields = { content, codec: 'brotli', bytesPacked };
  const options = { bytes: size, runs: 3 };
  await measureAsync({ name: 'packing: each write alone', ...fields }, options, alone);
}
