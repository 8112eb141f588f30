// Two pipes as one stream: a child's stdout and stdin, or this process's stdin and stdout.
import { Duplex, type Readable, type Writable } from 'node:stream';

class PipeDuplex extends Duplex {
  readonly #readable: Readable;
  readonly #writable: Writable;
  #isWanted = false;

  constructor(readable: Readable, writable: Writable) {
    super();
    this.#readable = readable;
    this.#writable = writable;
    readable.on('readable', () => {
      if (this.#isWanted) this._read();
    });
    readable.once('end', () => this.push(null));
    readable.once('close', () => {
      if (!readable.readableEnded) this.destroy(brokenPipe());
    });
    for (const pipe of [readable, writable]) pipe.on('error', error => this.destroy(error));
  }

  override _read(): void {
    for (;;) {
      const chunk: Buffer | null = this.#readable.read();
      this.#isWanted = chunk === null;
      if (chunk === null || !this.push(chunk)) return;
    }
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void) {
    if (this.#writable.destroyed) done(brokenPipe());
    else this.#writable.write(chunk, encoding, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#writable.destroyed) done(brokenPipe());
    else this.#writable.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#readable.destroy();
    this.#writable.destroy();
    done(error);
  }
}

function brokenPipe(): Error {
  return Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
}

/**
 * Reads from one, writes to the other. A write is done when the system has its bytes, as with a
 * socket: with Duplex.from it is while they are queued, and their memory may be written to again.
 */
export function pipeDuplex(readable: Readable, writable: Writable): Duplex {
  return new PipeDuplex(readable, writable);
}
