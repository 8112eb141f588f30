// One compressed stream, fed in pieces: everything that a piece becomes is there when its turn
// ends. The work is done by the system's thread pool.
import type { Transform } from 'node:stream';
import zlib from 'node:zlib';
import { ReplicaError } from '../errors.ts';
import type { Codec } from '../wire/packed.ts';

/** What comes out does so in parts of this size: it may exceed what is allowed by one of them. */
const partSize = 64 * 1024;

export class CodecStream {
  readonly #stream: Transform;
  #turn: Turn | undefined;
  #error: Error | undefined;

  constructor(stream: Transform) {
    this.#stream = stream;
    stream.on('data', (part: Buffer) => this.#take(part));
    stream.on('error', error => this.#fail(error));
    stream.on('end', () => this.#fail(new Error('the compressed stream ended')));
    stream.on('close', () => this.#fail(new Error('closed')));
  }

  /** One at a time. Rejects when the bytes make no sense, or more than `sizeMax`. */
  run(bytes: Buffer, sizeMax: number): Promise<readonly Buffer[]> {
    return new Promise((resolve, reject) => {
      this.#turn = { parts: [], size: 0, sizeMax, reject };
      const turn = this.#turn;
      if (this.#error) return this.#fail(this.#error);
      this.#stream.write(bytes, () => {
        // Whatever is left comes by 'data'.
        while (this.#turn && this.#stream.read() !== null);
        this.#turn = undefined;
        resolve(turn.parts);
      });
    });
  }

  close(): void {
    this.#stream.destroy();
  }

  #take(part: Buffer): void {
    const turn = this.#turn;
    if (!turn) return;
    turn.size += part.length;
    turn.parts.push(part);
    if (turn.size <= turn.sizeMax) return;
    const text = `compressed bytes become more than the ${turn.sizeMax} announced`;
    this.#fail(new ReplicaError('ERR_PROTOCOL', text));
    this.close();
  }

  #fail(error: Error): void {
    this.#error ??= error;
    this.#turn?.reject(error);
    this.#turn = undefined;
  }
}

interface Turn {
  readonly parts: Buffer[];
  readonly sizeMax: number;
  readonly reject: (error: Error) => void;
  size: number;
}

type Create = (options: object) => Transform;
// Not in the declarations of Node 20, and not in Node 20: it came with 22.15.
const zstd = zlib as unknown as {
  readonly createZstdCompress?: Create;
  readonly createZstdDecompress?: Create;
  readonly constants: { readonly [name: string]: number };
};

/** What this Node can do, best first. */
export const codecs: readonly Codec[] =
  zstd.createZstdCompress && zstd.createZstdDecompress ? ['zstd', 'brotli'] : ['brotli'];

/** Of the quality, in the codec's own measure; window in bits, of which the encoder takes up to twice. */
const defaults = { brotli: { level: 5, window: 24 }, zstd: { level: 9, window: 24 } } as const;
const levelMax: { readonly [codec in Codec]: number } = { brotli: 11, zstd: 19 };

export function compressor(codec: Codec, level?: number): CodecStream {
  const quality = Math.min(level ?? defaults[codec].level, levelMax[codec]);
  const { window } = defaults[codec];
  if (codec === 'brotli') {
    const {
      BROTLI_OPERATION_FLUSH: flush,
      BROTLI_PARAM_QUALITY,
      BROTLI_PARAM_LGWIN,
      BROTLI_PARAM_SIZE_HINT,
    } = zlib.constants;
    const params = {
      [BROTLI_PARAM_QUALITY]: quality,
      [BROTLI_PARAM_LGWIN]: window,
      // From 1 MiB on it has tables for more: the first piece it sees is short, the stream is not.
      [BROTLI_PARAM_SIZE_HINT]: 2 ** window,
    };
    return new CodecStream(zlib.createBrotliCompress({ flush, chunkSize: partSize, params }));
  }
  const { ZSTD_e_flush, ZSTD_c_compressionLevel = 100, ZSTD_c_windowLog = 101 } = zstd.constants;
  const params = { [ZSTD_c_compressionLevel]: quality, [ZSTD_c_windowLog]: window };
  return new CodecStream(created(zstd.createZstdCompress, { flush: ZSTD_e_flush, params }));
}

/** Refuses windows beyond 16 MiB: a peer cannot make it take more memory. */
export function decompressor(codec: Codec): CodecStream {
  if (codec === 'brotli') {
    const { BROTLI_OPERATION_FLUSH: flush } = zlib.constants;
    return new CodecStream(zlib.createBrotliDecompress({ flush, chunkSize: partSize }));
  }
  const { ZSTD_d_windowLogMax = 100 } = zstd.constants;
  return new CodecStream(
    created(zstd.createZstdDecompress, { params: { [ZSTD_d_windowLogMax]: 24 } }),
  );
}

function created(create: Create | undefined, options: object): Transform {
  if (!create) throw new Error('this Node has no zstd');
  return create({ chunkSize: partSize, ...options });
}
