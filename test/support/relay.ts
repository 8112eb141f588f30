// A TCP relay between a sender and a receiver that throttles, cuts, stalls and flips bits.
import { once } from 'node:events';
import net from 'node:net';

export interface RelayOptions {
  readonly targetPort: number;
  /** Each way; undefined: as fast as it goes. */
  readonly bytesPerSecond?: number;
  /** Cuts each connection after this many bytes from the dialler. */
  readonly cutAfter?: (connection: number) => number | undefined;
  /** The same after this many bytes of the answers. */
  readonly cutAnswerAfter?: (connection: number) => number | undefined;
  /** Called as it cuts. */
  readonly onCut?: () => void;
  /** Keeps what the dialler of this connection sends. */
  readonly isRecorded?: (connection: number) => boolean;
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
  /** What the dialler sent on the connections to be recorded. */
  readonly recorded: Buffer[] = [];

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
    const cutAnswer = this.#options.cutAnswerAfter?.(number);
    const isRecorded = this.#options.isRecorded?.(number) === true;
    let seen = 0;
    let answered = 0;
    /** The rest of what `to` gets; nothing goes either way any more. */
    const cutOff = (from: net.Socket, to: net.Socket, rest: Buffer): undefined => {
      if (!from.destroyed) this.#options.onCut?.();
      to.end(rest, () => to.destroy());
      from.destroy();
    };
    const spoil = (chunk: Buffer): Buffer | undefined => {
      const start = seen;
      seen += chunk.length;
      this.bytesUp += chunk.length;
      if (isRecorded) this.recorded.push(Buffer.from(chunk));
      flipBit(chunk, flip, start);
      if (cut === undefined || seen < cut) return chunk;
      return cutOff(near, far, chunk.subarray(0, Math.max(cut - start, 0)));
    };
    this.#pump(near, far, spoil);
    this.#pump(far, near, chunk => {
      flipBit(chunk, flipAnswer, answered);
      const start = answered;
      answered += chunk.length;
      this.bytesDown += chunk.length;
      if (cutAnswer === undefined || answered < cutAnswer) return chunk;
      return cutOff(far, near, chunk.subarray(0, Math.max(cutAnswer - start, 0)));
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
