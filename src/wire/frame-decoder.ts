// Bytes in, frames out, however the bytes were split. No I/O. A payload that lies within one chunk
// is a view of it; one that spans chunks is copied together once.
import { ReplicaError } from '../errors.ts';
import { helloPayloadSizeMax } from '../limits.ts';
import { printable } from '../snapshot/name.ts';
import { checksumSize, FrameChecksum, frameHeaderSize } from './frame.ts';

export interface Frame {
  readonly type: number;
  /** Valid while it is referenced. */
  readonly payload: Buffer;
}

export class FrameDecoder {
  readonly #checksum: FrameChecksum | undefined;
  #payloadSizeMax = helloPayloadSizeMax;
  /** Chunks not consumed; #offset is where the first one goes on. */
  readonly #chunks: Buffer[] = [];
  #offset = 0;
  #bufferedBytes = 0;
  /** The header of the frame under way, and how much of it is there. */
  readonly #header = Buffer.alloc(frameHeaderSize);
  #headerFilled = 0;
  /** Payload and checksum of a frame that spans chunks. */
  #body: Buffer | undefined;
  #bodyFilled = 0;
  #isFirst = true;

  constructor(options: { readonly checksum: boolean }) {
    this.#checksum = options.checksum ? new FrameChecksum() : undefined;
  }

  /** Refuses longer payloads from the next header on. Small until the peer said who it is. */
  setPayloadSizeMax(max: number): void {
    this.#payloadSizeMax = max;
  }

  /** Takes the chunk over: it must not change afterwards. */
  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#bufferedBytes += chunk.length;
  }

  /** Bytes pushed that no frame has used yet. */
  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  /** True while a frame has begun and is not complete. */
  get isPartial(): boolean {
    return this.#headerFilled > 0 || this.#bufferedBytes > 0;
  }

  /** Bytes of the frame that has begun, if it is not complete: 1 until its length is there, 0: none. */
  get partialSize(): number {
    if (!this.isPartial) return 0;
    return this.#headerFilled < frameHeaderSize
      ? 1
      : frameHeaderSize + this.#header.readUInt32BE(0);
  }

  /**
   * The next complete frame, or undefined until more is pushed. Throws ERR_PROTOCOL for an
   * over-long frame as soon as its 4 length bytes are there, and for a damaged one.
   */
  next(): Frame | undefined {
    if (!this.#readHeader()) return undefined;
    const length = this.#header.readUInt32BE(0);
    const bodySize = length + (this.#checksum ? checksumSize : 0);
    const body = this.#readBody(bodySize);
    if (!body) return undefined;
    const type = this.#header.readUInt8(4);
    const payload = body.subarray(0, length);
    if (
      this.#checksum &&
      !this.#checksum.digest(this.#header, payload).equals(body.subarray(length))
    ) {
      throw new ReplicaError('ERR_PROTOCOL', `damaged frame (type ${type}, ${length} bytes)`);
    }
    this.#headerFilled = 0;
    this.#isFirst = false;
    return { type, payload };
  }

  /** Completes #header; false until it is. */
  #readHeader(): boolean {
    while (this.#headerFilled < frameHeaderSize) {
      const chunk = this.#chunks[0];
      if (!chunk) return false;
      const count = Math.min(frameHeaderSize - this.#headerFilled, chunk.length - this.#offset);
      chunk.copy(this.#header, this.#headerFilled, this.#offset, this.#offset + count);
      this.#headerFilled += count;
      this.#consume(count);
      if (this.#headerFilled >= 4) this.#checkLength();
    }
    return true;
  }

  #checkLength(): void {
    const length = this.#header.readUInt32BE(0);
    if (length <= this.#payloadSizeMax) return;
    const foreign = this.#isFirst ? foreignSpeech(this.#header.subarray(0, 4)) : undefined;
    const text = foreign ?? `damaged or over-long frame: ${length} bytes announced`;
    throw new ReplicaError('ERR_PROTOCOL', text);
  }

  /** The next `size` bytes, or undefined until they are there. */
  #readBody(size: number): Buffer | undefined {
    if (!this.#body) {
      if (size === 0) return Buffer.alloc(0);
      const chunk = this.#chunks[0];
      if (chunk && chunk.length - this.#offset >= size) {
        const view = chunk.subarray(this.#offset, this.#offset + size);
        this.#consume(size);
        return view;
      }
      // Bounded by #payloadSizeMax. Every byte is written before the body is handed out.
      this.#body = Buffer.allocUnsafe(size);
      this.#bodyFilled = 0;
    }
    const body = this.#body;
    while (this.#bodyFilled < size) {
      const chunk = this.#chunks[0];
      if (!chunk) return undefined;
      const count = Math.min(size - this.#bodyFilled, chunk.length - this.#offset);
      chunk.copy(body, this.#bodyFilled, this.#offset, this.#offset + count);
      this.#bodyFilled += count;
      this.#consume(count);
    }
    this.#body = undefined;
    return body;
  }

  /** `count` bytes of the first chunk were used. */
  #consume(count: number): void {
    this.#offset += count;
    this.#bufferedBytes -= count;
    if (this.#offset < (this.#chunks[0]?.length ?? 0)) return;
    this.#chunks.shift();
    this.#offset = 0;
  }
}

/** What a peer speaks whose first 4 bytes cannot be a Hello's length. */
function foreignSpeech(start: Buffer): string | undefined {
  const [first, second] = start;
  if (first !== undefined && first >= 0x14 && first <= 0x17 && second === 0x03) {
    return 'the peer speaks TLS: it was not started with --insecure';
  }
  const text = start.toString('latin1');
  if (!/^[\x20-\x7e]{4}$/.test(text)) return undefined;
  return `the peer is not replica: it began with "${printable(text)}"`;
}
