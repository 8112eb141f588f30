// Gathers frames into big writes. Each frame is encoded once, straight into the memory that is
// written; small frames of one turn of the event loop share a write. One write is under way at a
// time: of several, node:tls would make one by copying them.
import type { Duplex } from 'node:stream';
import { writeSizeMax } from '../limits.ts';
import { FrameChecksum, frameSize, writeFrame } from '../wire/frame.ts';
import { type Message, MessageType } from '../wire/messages.ts';
import type { Packer } from './packing.ts';
import type { Throttle } from './throttle.ts';

/** Write buffers that went out, for the next connection that needs one: at most 8 in the process. */
const spareBuffers: Buffer[] = [];
const spareBuffersMax = 8;
const tlsRecordSize = 16 * 1024;
/** Buffers that may wait to be packed while the stream waits for them, unless all are packed. */
const packingMax = 2;

interface Gathered {
  readonly frames: Buffer;
  /** What is written in place of them, if they are packed. */
  readonly packed: Promise<Buffer> | undefined;
}

export class Outbox {
  readonly #stream: Duplex;
  readonly #checksum: FrameChecksum | undefined;
  /** Called after each write that the stream is done with. */
  readonly #onWritten: () => void;
  readonly #throttle: Throttle | undefined;
  /** Being filled. */
  #buffer: Buffer | undefined;
  #filled = 0;
  /** Full, to be written in turn; with #isEnding, the end comes after them. */
  #queue: Gathered[] = [];
  #queuedBytes = 0;
  /** One of the queue is being packed or written. */
  #isBusy = false;
  #isWriting = false;
  #isEnding = false;
  #immediate: NodeJS.Immediate | undefined;
  #bytes = 0;
  #records = 0;
  #packer: Packer | undefined;
  #packsAll = false;
  #packingCount = 0;

  constructor(
    stream: Duplex,
    options: {
      readonly checksum: boolean;
      readonly onWritten: () => void;
      readonly throttle?: Throttle | undefined;
    },
  ) {
    this.#stream = stream;
    this.#checksum = options.checksum ? new FrameChecksum() : undefined;
    this.#onWritten = options.onWritten;
    this.#throttle = options.throttle;
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

  /**
   * What is added from now on is packed; unless `always`, not what the stream is ready for before
   * the packer is.
   */
  pack(packer: Packer, always: boolean): void {
    this.flush();
    this.#packer = packer;
    this.#packsAll = always;
  }

  /** Takes a copy of `message`; it is written when the buffer is full or the turn ends. */
  add(message: Message): void {
    const size = frameSize(message, this.#checksum);
    const isLast = message.type === MessageType.Failure;
    if (isLast) this.flush();
    if (this.#buffer && this.#filled + size > this.#buffer.length) this.flush();
    this.#buffer ??= takeBuffer(size);
    const target = { bytes: this.#buffer, offset: this.#filled };
    this.#filled = writeFrame(message, target, this.#checksum);
    this.#bytes += size;
    // Last words are written plain, to be understood whatever became of the stream.
    if (isLast) this.#gather(undefined);
    else if (this.#filled > writeSizeMax - tlsRecordSize) this.flush();
    else this.#immediate ??= setImmediate(() => this.flush());
  }

  /** Writes what was gathered. */
  flush(): void {
    const isPacked = this.#packsAll || this.#isWriting || this.#packingCount < packingMax;
    this.#gather(isPacked ? this.#packer : undefined);
  }

  #gather(packer: Packer | undefined): void {
    if (this.#immediate) clearImmediate(this.#immediate);
    this.#immediate = undefined;
    const buffer = this.#buffer;
    const size = this.#filled;
    if (!buffer || size === 0) return;
    this.#buffer = undefined;
    this.#filled = 0;
    const frames = buffer.subarray(0, size);
    this.#queue.push({ frames, packed: packer && this.#packed(packer, frames) });
    this.#queuedBytes += size;
    this.#write();
  }

  #packed(packer: Packer, frames: Buffer): Promise<Buffer> | undefined {
    const packed = packer.pack(frames);
    if (!packed) return undefined;
    this.#packingCount++;
    const done = () => void this.#packingCount--;
    packed.then(done, done);
    return packed;
  }

  #write(): void {
    const next = this.#isBusy ? undefined : this.#queue.shift();
    if (!next) {
      if (this.#isEnding && !this.#isBusy) this.#stream.end();
      return;
    }
    this.#isBusy = true;
    if (!next.packed) this.#pace(next.frames, next.frames);
    else {
      next.packed.then(
        bytes => this.#pace(bytes, next.frames),
        error => this.#stream.destroy(error),
      );
    }
  }

  /** Writes `bytes`, which stand for `frames`, piece by piece where there is a limit. */
  #pace(bytes: Buffer, frames: Buffer): void {
    const throttle = this.#throttle;
    if (throttle === undefined || throttle.bytesPerSecond === Number.POSITIVE_INFINITY) {
      this.#put(bytes, frames);
      return;
    }
    void throttle.ready().then(() => {
      const piece = bytes.subarray(0, throttle.pieceSize);
      throttle.pass(piece.length);
      if (piece.length === bytes.length) this.#put(piece, frames);
      else this.#put(piece, frames, bytes.subarray(piece.length));
    });
  }

  /** `rest` follows. */
  #put(bytes: Buffer, frames: Buffer, rest?: Buffer): void {
    if (this.#stream.destroyed || this.#stream.writableEnded) return;
    this.#records += Math.ceil(bytes.length / tlsRecordSize);
    this.#isWriting = true;
    this.#stream.write(bytes, error => {
      this.#isWriting = false;
      if (rest !== undefined && !error) {
        this.#pace(rest, frames);
        return;
      }
      this.#isBusy = false;
      this.#queuedBytes -= frames.length;
      // Only memory that is certainly out of use may be written to again.
      if (error) return;
      giveBuffer(frames);
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
    this.#packer?.close();
    this.#packer = undefined;
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
