// Frames out of a stream, at the pace of whoever takes them: the stream flows only while somebody
// waits for a frame that is not there yet.
import type { Duplex } from 'node:stream';
import { type Frame, FrameDecoder } from '../wire/frame-decoder.ts';
import type { LinkClock } from './link-clock.ts';

export class Inbox {
  readonly #stream: Duplex;
  readonly #clock: LinkClock;
  readonly #decoder: FrameDecoder;
  /** Decoded and not taken: at most one while the stream lives. */
  #frames: Frame[] = [];
  #fault: unknown;
  #bytes = 0;
  #hasEnded = false;
  #isDiscarding = false;
  /** Set while somebody waits. */
  #wake: (() => void) | undefined;

  constructor(stream: Duplex, options: { readonly checksum: boolean; readonly clock: LinkClock }) {
    this.#stream = stream;
    this.#clock = options.clock;
    this.#decoder = new FrameDecoder(options);
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
    return this.#hasEnded;
  }

  /** True while a frame has begun and is not complete. */
  get isPartial(): boolean {
    return this.#decoder.isPartial;
  }

  setPayloadSizeMax(max: number): void {
    this.#decoder.setPayloadSizeMax(max);
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
    this.#clock.startReading(performance.now(), this.#decoder.isPartial);
    await new Promise<void>(resolve => {
      this.#wake = resolve;
      this.#stream.resume();
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
    this.#stream.resume();
  }

  #onData(chunk: Buffer): void {
    if (this.#isDiscarding) return;
    this.#bytes += chunk.length;
    this.#decoder.push(chunk);
    if (!this.#wake) {
      this.#stream.pause();
      return;
    }
    this.#decode();
    this.#clock.heard(performance.now(), this.#decoder.isPartial);
    if (this.#frames.length > 0 || this.#fault) this.wake();
  }

  /** Sees to it that there is a frame or a fault, if there are bytes enough. */
  #decode(): void {
    if (this.#frames.length === 0) this.#decodeNext();
  }

  #decodeNext(): void {
    if (this.#fault) return;
    try {
      const frame = this.#decoder.next();
      if (frame) this.#frames.push(frame);
    } catch (error) {
      this.#fault = error;
    }
  }
}
