// The bare end of a connection with a valid key: says anything byte by byte, and hears frames.
import { once } from 'node:events';
import type net from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { payloadSizeMax } from '../../src/limits.ts';
import { identityOf, type Psk, pskOf, pskTlsOptions } from '../../src/net/psk.ts';
import { decodeMessage } from '../../src/wire/codec.ts';
import { encodeFrame, frameHeaderSize } from '../../src/wire/frame.ts';
import { FrameDecoder } from '../../src/wire/frame-decoder.ts';
import type { Message, Welcome } from '../../src/wire/messages.ts';

const host = '127.0.0.1';

export class RawPeer {
  readonly socket: Duplex;
  /** Of a receiver that greeted. */
  welcome: Welcome | undefined;
  readonly #decoder = new FrameDecoder({ checksum: false });
  #hasEnded = false;
  #wake: () => void = () => {};

  static async dial(port: number, key: Psk): Promise<RawPeer> {
    const psk = { psk: pskOf(key), identity: identityOf(key) };
    const socket = tls.connect({
      ...pskTlsOptions,
      host,
      port,
      ca: [],
      pskCallback: () => psk,
    });
    await once(socket, 'secureConnect');
    return new RawPeer(socket);
  }

  constructor(socket: Duplex) {
    this.socket = socket;
    this.#decoder.setPayloadSizeMax(payloadSizeMax);
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      this.#decoder.push(chunk);
      this.#wake();
    });
    const end = (): void => {
      this.#hasEnded = true;
      this.#wake();
    };
    socket.on('end', end).on('close', end);
  }

  /** Resolves when the system took it, or never will. */
  async write(...parts: readonly Buffer[]): Promise<void> {
    if (this.socket.destroyed) return;
    await new Promise<void>(resolve => {
      this.socket.once('close', resolve);
      this.socket.write(Buffer.concat(parts), () => {
        this.socket.off('close', resolve);
        resolve();
      });
    });
  }

  send(...messages: readonly Message[]): Promise<void> {
    return this.write(...messages.map(message => encodeFrame(message)));
  }

  /** The next message, or undefined once the peer ended the connection. */
  async next(): Promise<Message | undefined> {
    for (;;) {
      const frame = this.#decoder.next();
      if (frame) return decodeMessage(frame.type, frame.payload);
      if (this.#hasEnded) return undefined;
      await new Promise<void>(resolve => {
        this.#wake = resolve;
      });
    }
  }

  /** Takes what comes up to the first message of `type`, or to the end. */
  async until<T extends Message['type']>(
    ...types: readonly T[]
  ): Promise<Extract<Message, { type: T }> | undefined> {
    for (;;) {
      const message = await this.next();
      if (message === undefined) return undefined;
      // Its type was just compared.
      if (types.some(type => type === message.type)) return message as never;
    }
  }

  close(): void {
    this.socket.destroy();
  }
}

/** A frame of anything. */
export function frameOf(type: number, payload: Buffer, announced = payload.length): Buffer {
  const head = Buffer.alloc(frameHeaderSize);
  head.writeUInt32BE(announced);
  head.writeUInt8(type, 4);
  return Buffer.concat([head, payload]);
}

/** Accepts connections with the key, one after the other, and hands each to `serve`. */
export async function rawServer(
  key: Psk,
  serve: (peer: RawPeer) => Promise<void>,
): Promise<{ readonly port: number; readonly close: () => Promise<void> }> {
  const peers = new Set<RawPeer>();
  const server = tls.createServer({ ...pskTlsOptions, pskCallback: () => pskOf(key) });
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  server.on('secureConnection', socket => {
    const peer = new RawPeer(socket);
    peers.add(peer);
    socket.on('close', () => peers.delete(peer));
    void serve(peer);
  });
  server.listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo; // It listens on TCP.
  return {
    port,
    async close() {
      for (const peer of peers) peer.close();
      server.close();
      await once(server, 'close');
    },
  };
}
