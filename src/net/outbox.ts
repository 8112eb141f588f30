// Gathers frames into big writes. Each frame is encoded once, straight into the memory that is
// written; small frames of one turn of the event loop share a write.
import type { Duplex } from 'node:stream';
import { writeSizeMax } from '../limits.ts';
import { FrameChecksum, frameSize, writeFrame } from '../wire/frame.ts';
import type { Message } from '../wire/messages.ts';

/** Write buffers that went out, for the next connection that needs one: at most 8 in the process. */
const spareBuffers: Buffer[] = [];
const spareBuffersMax = 8;
const tlsRecordSize = 16 * 1024;

export class Outbox {
  readonly #stream: Duplex;
  readonly #checksum: FrameChecksum | undefined;
  /** Called after each write that the stream is done with. */
  readonly #onWritten: () => void;
  #buffer: Buffer | undefined;
  #filled = 0;
  #immediate: NodeJS.Immediate | undefined;
  #bytes = 0;
  #records = 0;

  constructor(
    stream: Duplex,
    options: { readonly checksum: boolean; readonly onWritten: () => void },
  ) {
    this.#stream = stream;
    this.#checksum = options.checksum ? new FrameChecksum() : undefined;
    this.#onWritten = options.onWritten;
  }

  /** Bytes of all frames so far, written or not. */
  get bytes(): number {
    return this.#bytes;
  }

  /** TLS records these bytes took. */
  get records(): number {
    return this.#records;
  }

  /** Bytes that the system has not taken yet. */
  get queuedBytes(): number {
    return this.#filled + this.#stream.writableLength;
  }

  /** Takes a copy of `message`; it is written when the buffer is full or the turn ends. */
  add(message: Message): void {
    const size = frameSize(message, this.#checksum);
    if (this.#buffer && this.#filled + size > this.#buffer.length) this.flush();
    this.#buffer ??= takeBuffer(size);
    const target = { bytes: this.#buffer, offset: this.#filled };
    this.#filled = writeFrame(message, target, this.#checksum);
    this.#bytes += size;
    if (this.#filled > writeSizeMax - tlsRecordSize) this.flush();
    else this.#immediate ??= setImmediate(() => this.flush());
  }

  /** Writes what was gathered. */
  flush(): void {
    if (this.#immediate) clearImmediate(this.#immediate);
    this.#immediate = undefined;
    const buffer = this.#buffer;
    const size = this.#filled;
    if (!buffer || size === 0) return;
    this.#buffer = undefined;
    this.#filled = 0;
    this.#records += Math.ceil(size / tlsRecordSize);
    if (this.#stream.destroyed || this.#stream.writableEnded) return;
    this.#stream.write(buffer.subarray(0, size), error => {
      // Only memory that is certainly out of use may be written to again.
      if (!error) giveBuffer(buffer);
      this.#onWritten();
    });
  }

  /** Drops what was not written. */
  close(): void {
    if (this.#immediate) clearImmediate(this.#immediate);
    this.#immediate = undefined;
    this.#buffer = undefined;
    this.#filled = 0;
  }
}

function takeBuffer(size: number): Buffer {
  // Only what frames were written to is ever sent.
  if (size > writeSizeMax) return Buffer.allocUnsafeSlow(size);
  return spareBuffers.pop() ?? Buffer.allocUnsafeSlow(writeSizeMax);
}

function giveBuffer(buffer: Buffer): void {
  if (buffer.length === writeSizeMax && spareBuffers.length < spareBuffersMax) {
    spareBuffers.push(buffer);
  }
}
