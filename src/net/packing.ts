// Whether and how what is written is compressed, and what was so is read.
import { ReplicaError } from '../errors.ts';
import { packedSizeMax, packedSizeMin } from '../limits.ts';
import { FrameChecksum } from '../wire/frame.ts';
import {
  type Codec,
  codecFeatures,
  decodePacked,
  encodePacked,
  packedWanted,
} from '../wire/packed.ts';
import { type CodecStream, codecs, compressor, decompressor } from './codec-stream.ts';

export interface Compression {
  /**
   * never: nothing is packed, whoever wants it. unpack: only what comes. spare: what goes out as
   * well, while the link leaves time for it. always: everything that is not noise.
   */
  readonly when: 'never' | 'unpack' | 'spare' | 'always';
  /** The only codec to be used; otherwise the best that both sides have. */
  readonly codec?: Codec | undefined;
  /** In the codec's own measure. */
  readonly level?: number | undefined;
}

export const noCompression: Compression = { when: 'never' };

/** Between two ends on one machine the compressor only takes time from them, unless it is asked for. */
export function compressionFor(given: Compression | undefined, isNear: boolean): Compression {
  const compression = given ?? { when: 'spare' };
  return isNear && compression.when === 'spare' ? { ...compression, when: 'unpack' } : compression;
}

/** The codecs that a side with these settings offers, as bits of Hello's features. */
export function featuresOf({ when, codec }: Compression): bigint {
  if (when === 'never') return 0n;
  const offered = codec === undefined ? codecs : codecs.filter(one => one === codec);
  const wanted = when === 'always' ? packedWanted : 0n;
  return offered.reduce((bits, one) => bits | codecFeatures[one], wanted);
}

/** The best codec that both sides offer. */
function commonCodec(features: bigint, peerFeatures: bigint): Codec | undefined {
  return codecs.find(codec => (features & peerFeatures & codecFeatures[codec]) !== 0n);
}

/** What a connection is to send is packed by this; undefined: nothing is. */
export function packerFor(
  compression: Compression,
  peerFeatures: bigint,
  checksum: boolean,
): { readonly packer: Packer; readonly always: boolean } | undefined {
  const always = compression.when === 'always' || (peerFeatures & packedWanted) !== 0n;
  const codec = commonCodec(featuresOf(compression), peerFeatures);
  if (codec === undefined || (compression.when === 'unpack' && !always)) return undefined;
  return { packer: new Packer(codec, { level: compression.level, checksum }), always };
}

/** Compresses what is written. */
export class Packer {
  readonly #codec: Codec;
  readonly #stream: CodecStream;
  readonly #checksum: FrameChecksum | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(codec: Codec, options: { level: number | undefined; checksum: boolean }) {
    this.#codec = codec;
    this.#stream = compressor(codec, options.level);
    this.#checksum = options.checksum ? new FrameChecksum() : undefined;
  }

  /** A packed frame of whole frames, or undefined if they are better written as they are. */
  pack(frames: Buffer): Promise<Buffer> | undefined {
    const size = frames.length;
    const isWorthIt = size >= packedSizeMin && size <= packedSizeMax && !looksRandom(frames);
    if (!isWorthIt) return undefined;
    const packed = this.#last.then(async () => {
      const parts = await this.#stream.run(frames, Number.POSITIVE_INFINITY);
      return encodePacked({ codec: this.#codec, size, parts }, this.#checksum);
    });
    this.#last = packed.catch(() => {});
    return packed;
  }

  close(): void {
    this.#stream.close();
  }
}

/** Decompresses what is read: one stream, whose codec the first packed frame names. */
export class Unpacker {
  readonly #features: bigint;
  #codec: Codec | undefined;
  #stream: CodecStream | undefined;

  /** `features`: the codecs that were offered. */
  constructor(features: bigint) {
    this.#features = features;
  }

  /** The frames in a packed frame. Rejects with ERR_PROTOCOL when it is not what it says. */
  async unpack(payload: Buffer): Promise<Buffer> {
    const { codec, size, bytes } = decodePacked(payload);
    if ((this.#features & codecFeatures[codec]) === 0n || codec !== (this.#codec ?? codec)) {
      throw new ReplicaError('ERR_PROTOCOL', `packed by ${codec}, which was not agreed on`);
    }
    this.#codec = codec;
    this.#stream ??= decompressor(codec);
    const frames = Buffer.concat(await this.#run(this.#stream, bytes, size));
    if (frames.length === size) return frames;
    const text = `packed frames of ${size} bytes announced, ${frames.length} came`;
    throw new ReplicaError('ERR_PROTOCOL', text);
  }

  async #run(stream: CodecStream, bytes: Buffer, size: number): Promise<readonly Buffer[]> {
    try {
      return await stream.run(bytes, size);
    } catch (error) {
      if (error instanceof ReplicaError) throw error;
      const options = { cause: error };
      throw new ReplicaError('ERR_PROTOCOL', 'packed frames that cannot be unpacked', options);
    }
  }

  close(): void {
    this.#stream?.close();
  }
}

const samples = 16;
const sampleSize = 256;
/** Bits a byte: noise measures 7.95 by so many samples, text 5, machine code 6.5. */
const randomBits = 7.75;

/** Does it look as if compressing were in vain? Judged by how often bytes occur in samples. */
export function looksRandom(bytes: Buffer): boolean {
  if (bytes.length < samples * sampleSize) return false;
  const counts = new Uint32Array(256);
  const step = Math.floor((bytes.length - sampleSize) / (samples - 1));
  for (let i = 0; i < samples; i++) {
    const from = i * step;
    for (let at = from; at < from + sampleSize; at++) {
      const byte = bytes[at] ?? 0;
      counts[byte] = (counts[byte] ?? 0) + 1;
    }
  }
  const total = samples * sampleSize;
  let bits = 0;
  for (const count of counts) if (count > 0) bits += count * Math.log2(total / count);
  return bits / total > randomBits;
}
