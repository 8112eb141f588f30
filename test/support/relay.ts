// A TCP relay between a sender and a receiver that throttles, cuts, stalls and flips bits.
import { once } from 'node:events';
import net from 'node:net';

export interface RelayOptions {
  readonly targetPort: number;
  /** Each way; undefined: as fast as it goes. */
  readonly bytesPerSecond?: number;
  /** Cuts each connection after this many bytes from the dialler. */
  readonly cutAfter?: (connection: number) => number | undefined;
  /** Flips the lowest bit of the byte at this offset of what the dialler sends. */
  readonly flipAt?: (connection: number) => number | undefined;
  /** The same of what the listener answers. */
  readonly flipAnswerAt?: (connection: number) => number | undefined;
}

export class Relay {
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  readonly #options: RelayOptions;
  connections = 0;
  bytesUp = 0;
  bytesDown = 0;
  isStalled = false;

  private constructor(server: net.Server, options: RelayOptions) {
    this.#server = server;
    this.#options = options;
    server.on('connection', socket => this.#relay(socket));
  }

  static async open(options: RelayOptions): Promise<Relay> {
    const server = net.createServer();
    const relay = new Relay(server, options);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return relay;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('not listening');
    return address.port;
  }

  #relay(near: net.Socket): void {
    const number = this.connections++;
    const far = net.connect(this.#options.targetPort, '127.0.0.1');
    for (const socket of [near, far]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    const cut = this.#options.cutAfter?.(number);
    const flip = this.#options.flipAt?.(number);
    const flipAnswer = this.#options.flipAnswerAt?.(number);
    let seen = 0;
    let answered = 0;
    const spoil = (chunk: Buffer): Buffer | undefined => {
      const start = seen;
      seen += chunk.length;
      this.bytesUp += chunk.length;
      flipBit(chunk, flip, start);
      if (cut !== undefined && seen >= cut) {
        const kept = chunk.subarray(0, Math.max(cut - start, 0));
        far.end(kept, () => far.destroy());
        near.destroy();
        return undefined;
      }
      return chunk;
    };
    this.#pump(near, far, spoil);
    this.#pump(far, near, chunk => {
      flipBit(chunk, flipAnswer, answered);
      answered += chunk.length;
      this.bytesDown += chunk.length;
      return chunk;
    });
  }

  #pump(from: net.Socket, to: net.Socket, spoil: (chunk: Buffer) => Buffer | undefined): void {
    const rate = this.#options.bytesPerSecond;
    let freeAtMs = 0;
    from.on('data', (chunk: Buffer) => {
      if (this.isStalled) return;
      const kept = spoil(chunk);
      if (kept === undefined) return;
      if (rate === undefined) {
        if (!to.write(kept)) {
          from.pause();
          to.once('drain', () => from.resume());
        }
        return;
      }
      // The time the link takes for the chunk; nothing more is read meanwhile.
      const nowMs = performance.now();
      freeAtMs = Math.max(freeAtMs, nowMs) + (kept.length / rate) * 1000;
      from.pause();
      setTimeout(() => {
        if (!to.destroyed) to.write(kept);
        from.resume();
      }, freeAtMs - nowMs);
    });
    from.on('end', () => to.end());
  }

  /** Cuts every connection now. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** `chunk` begins at offset `start`. */
function flipBit(chunk: Buffer, offset: number | undefined, start: number): void {
  if (offset === undefined || offset < start || offset >= start + chunk.length) return;
  chunk[offset - start] = (chunk[offset - start] ?? 0) ^ 1;
}
