// Frames out of a stream, at the pace of whoever takes them: the stream flows only while somebody
// waits for a frame that is not there yet.
import type { Duplex } from 'node:stream';
import { ReplicaError } from '../errors.ts';
import { payloadSizeMax } from '../limits.ts';
import { type Frame, FrameDecoder } from '../wire/frame-decoder.ts';
import { packedType } from '../wire/packed.ts';
import type { OnRead } from './connection-options.ts';
import type { LinkClock } from './link-clock.ts';
import type { Unpacker } from './packing.ts';

export class Inbox {
  readonly #stream: Duplex;
  readonly #clock: LinkClock;
  readonly #onRead: OnRead | undefined;
  readonly #decoder: FrameDecoder;
  readonly #checksum: boolean;
  /** Set once packed frames may come. */
  #unpacker: Unpacker | undefined;
  /** Frames that were packed. */
  #unpacked: FrameDecoder | undefined;
  #isUnpacking = false;
  #isClosed = false;
  /** Decoded and not taken: at most one while the stream lives. */
  #frames: Frame[] = [];
  #fault: unknown;
  #bytes = 0;
  #hasEnded = false;
  #isDiscarding = false;
  /** Set while somebody waits. */
  #wake: (() => void) | undefined;

  constructor(
    stream: Duplex,
    options: {
      readonly checksum: boolean;
      readonly clock: LinkClock;
      readonly onRead?: OnRead | undefined;
    },
  ) {
    this.#stream = stream;
    this.#clock = options.clock;
    this.#onRead = options.onRead;
    this.#decoder = new FrameDecoder(options);
    this.#checksum = options.checksum;
    stream.on('data', (chunk: Buffer) => this.#onData(chunk));
    stream.pause();
    stream.once('end', () => {
      this.#hasEnded = true;
      this.wake();
    });
  }

  /** Bytes read so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** True when the peer has ended the stream; frames may be left. */
  get hasEnded(): boolean {
    return this.#hasEnded && !this.#isUnpacking;
  }

  /** True while frames are being unpacked: more() waits for them, even when the stream is gone. */
  get isUnpacking(): boolean {
    return this.#isUnpacking;
  }

  /** True while a frame has begun and is not complete. */
  get isPartial(): boolean {
    return this.#decoder.isPartial;
  }

  setPayloadSizeMax(max: number): void {
    this.#decoder.setPayloadSizeMax(max);
  }

  /** Packed frames may come from now on. */
  unpack(unpacker: Unpacker): void {
    this.#unpacker = unpacker;
    this.#unpacked = new FrameDecoder({ checksum: this.#checksum });
    this.#unpacked.setPayloadSizeMax(payloadSizeMax);
  }

  /** Nothing is read any more but what is there. */
  close(): void {
    this.#isClosed = true;
    this.#closeUnpacker();
  }

  /** Once there is nothing left for it. */
  #closeUnpacker(): void {
    if (!this.#isClosed || this.#isUnpacking) return;
    const isLeft = this.#decoder.isPartial || this.#unpacked?.isPartial === true;
    if (!isLeft || this.#isDiscarding) this.#unpacker?.close();
  }

  /** The next frame if it is there. Throws what the decoder refused. */
  take(): Frame | undefined {
    this.#decode();
    const frame = this.#frames.shift();
    if (!frame && this.#fault) throw this.#fault;
    return frame;
  }

  /** The stream is gone: the frames that are left, which take() gives as before. */
  rest(): readonly Frame[] {
    for (let count = -1; this.#frames.length > count; ) {
      count = this.#frames.length;
      this.#decodeNext();
    }
    return this.#frames;
  }

  /** Lets the stream flow until there is a frame or the end, or wake() is called. */
  async more(): Promise<void> {
    this.#clock.startReading(performance.now(), this.#decoder.partialSize);
    await new Promise<void>(resolve => {
      this.#wake = resolve;
      if (!this.#isUnpacking) this.#stream.resume();
    });
  }

  /** Ends more(). */
  wake(): void {
    this.#clock.stopReading();
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  /** Reads on to the end, for nobody. */
  discard(): void {
    this.#isDiscarding = true;
    this.#closeUnpacker();
    this.#stream.resume();
  }

  #onData(chunk: Buffer): void {
    if (this.#isDiscarding) return;
    this.#bytes += chunk.length;
    this.#onRead?.(chunk.length);
    this.#decoder.push(chunk);
    if (!this.#wake) {
      this.#stream.pause();
      return;
    }
    this.#decode();
    this.#clock.heard(performance.now(), this.#decoder.partialSize);
    if (this.#frames.length > 0 || this.#fault) this.wake();
    else if (this.#isUnpacking) this.#stream.pause();
  }

  /** Sees to it that there is a frame or a fault, if there are bytes enough. */
  #decode(): void {
    if (this.#frames.length === 0) this.#decodeNext();
  }

  #decodeNext(): void {
    if (this.#fault || this.#isUnpacking) return;
    try {
      const unpacked = this.#unpacked?.next();
      // Whole frames, none of them packed.
      if (!unpacked && this.#unpacked?.isPartial) {
        throw new ReplicaError('ERR_PROTOCOL', 'packed frames are cut off');
      }
      const frame = unpacked ?? this.#decoder.next();
      if (!frame) {
        if (this.#isClosed) this.#unpacker?.close();
        return;
      }
      if (!unpacked && frame.type === packedType && this.#unpacker && this.#unpacked) {
        void this.#unpackFrame(frame.payload, this.#unpacker, this.#unpacked);
      } else this.#frames.push(frame);
    } catch (error) {
      this.#fault = error;
    }
  }

  async #unpackFrame(payload: Buffer, unpacker: Unpacker, decoder: FrameDecoder): Promise<void> {
    this.#isUnpacking = true;
    try {
      decoder.push(await unpacker.unpack(payload));
    } catch (error) {
      this.#fault = error;
    }
    this.#isUnpacking = false;
    this.#closeUnpacker();
    this.wake();
  }
}
