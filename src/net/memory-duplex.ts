// Two connected in-process streams, for a receiver in the sender's own process and for tests.
import { Duplex } from 'node:stream';

class MemoryDuplex extends Duplex {
  peer: MemoryDuplex | undefined;
  /** Ends the peer's write once there is room again. */
  #onRoom: (() => void) | undefined;

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    const peer = this.peer;
    if (!peer || peer.destroyed) {
      done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
      return;
    }
    // Like a kernel's socket buffer: the writer may reuse its memory once `done` is called.
    if (peer.push(Buffer.from(chunk))) done();
    else peer.#onRoom = done;
  }

  override _read(): void {
    const done = this.#onRoom;
    this.#onRoom = undefined;
    done?.();
  }

  override _final(done: (error?: Error) => void): void {
    this.peer?.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const peer = this.peer;
    this._read();
    // What a socket's peer sees: an end if this side ended, a reset otherwise.
    if (peer && !peer.destroyed && !this.writableFinished) {
      const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
      setImmediate(() => peer.destroy(reset));
    }
    done(error);
  }
}

/** Bytes written to one come out of the other; a write waits while the reader has enough. */
export function memoryDuplexPair(): [Duplex, Duplex] {
  const options = { allowHalfOpen: false, highWaterMark: 256 * 1024 };
  const left = new MemoryDuplex(options);
  const right = new MemoryDuplex(options);
  left.peer = right;
  right.peer = left;
  return [left, right];
}
