// Gathers frames into big writes. Each frame is encoded once, straight into the memory that is
// written; small frames of one turn of the event loop share a write. One write is under way at a
// time: of several, node:tls would make one by copying them.
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
  /** Being filled. */
  #buffer: Buffer | undefined;
  #filled = 0;
  /** Full, to be written in turn; with #isEnding, the end comes after them. */
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #isWriting = false;
  #isEnding = false;
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
    return this.#filled + this.#queuedBytes;
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
    this.#queue.push(buffer.subarray(0, size));
    this.#queuedBytes += size;
    this.#write();
  }

  #write(): void {
    const bytes = this.#isWriting ? undefined : this.#queue.shift();
    if (!bytes) {
      if (this.#isEnding && !this.#isWriting) this.#stream.end();
      return;
    }
    if (this.#stream.destroyed || this.#stream.writableEnded) return;
    this.#isWriting = true;
    this.#stream.write(bytes, error => {
      this.#isWriting = false;
      this.#queuedBytes -= bytes.length;
      // Only memory that is certainly out of use may be written to again.
      if (error) return;
      giveBuffer(bytes);
      this.#write();
      this.#onWritten();
    });
  }

  /** Writes what was gathered, then ends the stream. */
  end(): void {
    this.flush();
    this.#isEnding = true;
    this.#write();
  }

  /** Drops what was not written. */
  close(): void {
    this.#queue = [];
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

/** Takes back the buffer that `bytes` is the beginning of. */
function giveBuffer(bytes: Buffer): void {
  if (bytes.buffer.byteLength !== writeSizeMax || spareBuffers.length >= spareBuffersMax) return;
  spareBuffers.push(Buffer.from(bytes.buffer));
}
