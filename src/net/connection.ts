// Messages over any Duplex: a TLS socket, a plain one, a child's stdio, or memory.
//
// Nothing is read but at the consumer's pace, so that memory per connection is bounded whatever
// the peer sends: one frame under way, one chunk, and what the stream itself buffers.
import assert from 'node:assert/strict';
import type { Duplex } from 'node:stream';
import { ReplicaError, systemCode } from '../errors.ts';
import {
  closeLingerMs,
  creditIdleMs,
  creditStepBytes,
  deadAfterMs,
  frameMs,
  handshakeMs,
  helloPayloadSizeMax,
  pingAfterMs,
  tlsRecordsMax,
  tlsRecordsWorn,
  windowBytesMax,
  writeQueueBytesMax,
} from '../limits.ts';
import { decodeMessage, encodedSize, protocolMajor, protocolMinor } from '../wire/codec.ts';
import { type Frame, FrameDecoder } from '../wire/frame-decoder.ts';
import { type Failure, type Message, MessageType } from '../wire/messages.ts';
import { PeerSession } from '../wire/session-state.ts';
import { CreditMeter } from './credit-meter.ts';
import { memoryDuplexPair } from './memory-duplex.ts';
import { Outbox } from './outbox.ts';

export interface Timings {
  /** The Hello must be through by then (absolute, from the start). */
  readonly helloMs: number;
  /** Having sent nothing for this long, a side sends a Ping: its peer hears that it lives. */
  readonly pingAfterMs: number;
  /** A side that wants to read and hears nothing for this long gives the link up. */
  readonly deadAfterMs: number;
  /** A frame that began must be complete by then (absolute; not counted while nobody reads). */
  readonly frameMs: number;
  readonly creditIdleMs: number;
  readonly closeLingerMs: number;
}

const defaultTimings: Timings = {
  helloMs: handshakeMs,
  pingAfterMs,
  deadAfterMs,
  frameMs,
  creditIdleMs,
  closeLingerMs,
};

export interface ConnectionOptions {
  /** True where nothing else protects the bytes. */
  readonly checksum: boolean;
  /** Who is at the other end, for messages to people. */
  readonly peer: string;
  readonly peerKeyId?: string | undefined;
  /** Closes the connection when it aborts. */
  readonly signal?: AbortSignal | undefined;
  readonly timings?: Partial<Timings> | undefined;
}

interface Waiter {
  readonly isOver: () => boolean;
  readonly resolve: () => void;
  readonly reject: (error: ReplicaError) => void;
}

const done = Promise.resolve();

export class Connection {
  readonly peer: string;
  readonly peerKeyId: string | undefined;
  /** True once setPayloadLimit raised the limit, false if the connection ended before. */
  readonly greeted: Promise<boolean>;
  /** Resolves when the stream is gone. Never rejects. */
  readonly closed: Promise<void>;

  readonly #stream: Duplex;
  readonly #timings: Timings;
  readonly #outbox: Outbox;
  readonly #decoder: FrameDecoder;
  readonly #session = new PeerSession();
  readonly #meter = new CreditMeter();
  #settleGreeted: (isGreeted: boolean) => void = () => {};

  /** Why no more can be sent. */
  #failure: ReplicaError | undefined;
  #closing: Promise<void> | undefined;
  #waiters: Waiter[] = [];

  #isConsumed = false;
  #hasEnded = false;
  #isOver = false;
  #frame: Frame | undefined;
  #fault: unknown;
  /** Set while the consumer waits for bytes. */
  #wake: (() => void) | undefined;
  #bytesReceived = 0;
  #handledBytes = 0;
  #creditedBytes = 0;
  #pongToken: bigint | undefined;

  readonly #startedAt = performance.now();
  #isGreeted = false;
  #lastSentAt = this.#startedAt;
  #lastHeardAt = this.#startedAt;
  #frameSince: number | undefined;
  #isSuspect = false;
  #watchTimer: NodeJS.Timeout | undefined;
  #creditTimer: NodeJS.Timeout | undefined;

  /** Starts with the first frame; both sides send a Hello. The connection owns `stream`. */
  static over(stream: Duplex, options: ConnectionOptions): Connection {
    return new Connection(stream, options);
  }

  private constructor(stream: Duplex, options: ConnectionOptions) {
    this.peer = options.peer;
    this.peerKeyId = options.peerKeyId;
    this.#stream = stream;
    this.#timings = { ...defaultTimings, ...options.timings };
    this.#outbox = new Outbox(stream, {
      checksum: options.checksum,
      onWritten: () => this.#onWritten(),
    });
    this.#decoder = new FrameDecoder(options);
    this.greeted = new Promise(resolve => {
      this.#settleGreeted = resolve;
    });
    this.closed = new Promise(resolve => {
      stream.once('close', () => {
        this.#break(this.#lost());
        resolve();
      });
    });
    stream.on('data', (chunk: Buffer) => this.#onData(chunk));
    stream.pause();
    stream.once('end', () => this.#onEnd());
    stream.on('error', error => this.#break(this.#lost(error)));
    this.#followSignal(options.signal);
    this.#watch();
  }

  /** Sent and not yet credited by the peer, in bytes of payload. */
  get inFlightBytes(): number {
    return this.#meter.inFlightBytes;
  }

  /** Smoothed rate at which the peer handles what is sent, while there is something; 0: unknown. */
  get creditBytesPerSecond(): number {
    return this.#meter.bytesPerSecond;
  }

  /** Bytes of frames. */
  get bytesSent(): number {
    return this.#outbox.bytes;
  }

  get bytesReceived(): number {
    return this.#bytesReceived;
  }

  /** True when the key has encrypted 64 GiB: reconnect where it suits; it breaks at 256 GiB. */
  get isWorn(): boolean {
    return this.#outbox.records >= tlsRecordsWorn;
  }

  /**
   * Queues a copy of `message`, in order; its Buffers may change as soon as this returns. Resolves
   * when more may be sent; rejects with why the connection broke or was closed. A consumer of
   * messages() that awaits send() while the peer does the same can wait forever once both windows
   * are full: answer large requests from a second task.
   */
  send(message: Message): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#closing) return Promise.reject(this.#closedError());
    this.#add(message);
    if (this.#hasRoom()) return done;
    return this.#until(() => this.#hasRoom());
  }

  /** Resolves when at most `inFlightMax` bytes are sent and not yet credited. */
  waitForCredit(inFlightMax: number): Promise<void> {
    return this.#until(() => this.#meter.inFlightBytes <= inFlightMax);
  }

  /** Writes what was sent now rather than at the end of this turn of the event loop. */
  flush(): void {
    this.#outbox.flush();
  }

  /** The peer is accepted: longer payloads are allowed and the Hello's deadline is over. */
  setPayloadLimit(max: number): void {
    this.#decoder.setPayloadSizeMax(max);
    if (max <= helloPayloadSizeMax) return;
    this.#isGreeted = true;
    this.#settleGreeted(true);
  }

  /**
   * Messages in order, for one consumer. A message counts as handled when the next one is asked
   * for; Buffers in it stay valid while they are referenced. Returns when either side closed, a
   * Failure being the last message then; throws ERR_SOCKET when the link broke and ERR_PROTOCOL
   * when the peer broke the protocol (which the peer is told).
   */
  async *messages(): AsyncGenerator<Message, void, void> {
    assert(!this.#isConsumed, 'messages() has one consumer');
    this.#isConsumed = true;
    for (;;) {
      const frame = this.#takeFrame() ?? (await this.#waitForFrame());
      if (!frame) return;
      const message = this.#receive(frame);
      if (!message) continue;
      yield message;
      this.#handled(frame.payload.length);
    }
  }

  /**
   * Sends `failure` if given, what was sent before it, and an end; resolves when the stream is
   * gone, at most closeLingerMs later. Nothing is read any more.
   */
  close(failure?: Omit<Failure, 'type'>): Promise<void> {
    this.#closing ??= this.#shut(failure);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #shut(failure: Omit<Failure, 'type'> | undefined): Promise<void> {
    if (failure && !this.#failure) this.#add({ type: MessageType.Failure, ...failure });
    this.#outbox.flush();
    this.#settle(this.#failure ?? this.#closedError());
    if (this.#stream.destroyed) return this.closed;
    this.#stream.end();
    // Unread bytes at the time of closing would make the system reset the link, and the peer might
    // lose the Failure.
    this.#stream.resume();
    const timer = setTimeout(() => this.#stream.destroy(), this.#timings.closeLingerMs);
    await this.closed;
    clearTimeout(timer);
  }

  /** Ends everything that waits: senders with `error`, the consumer by asking again. */
  #settle(error: ReplicaError): void {
    clearTimeout(this.#watchTimer);
    clearTimeout(this.#creditTimer);
    this.#settleGreeted(false);
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.reject(error);
    this.#wakeConsumer();
  }

  /** The link cannot be used any more. */
  #break(error: ReplicaError): void {
    if (!this.#failure && !this.#closing) this.#failure = error;
    this.#outbox.close();
    this.#settle(this.#failure ?? this.#closedError());
    this.#stream.destroy();
  }

  #lost(cause?: Error): ReplicaError {
    const why = cause ? ` (${systemCode(cause) ?? cause.message})` : '';
    return new ReplicaError('ERR_SOCKET', `connection to ${this.peer} lost${why}`, { cause });
  }

  #closedError(): ReplicaError {
    return new ReplicaError('ERR_SOCKET', `connection to ${this.peer} is closed`);
  }

  #followSignal(signal: AbortSignal | undefined): void {
    if (!signal) return;
    const abort = () => void this.close();
    if (signal.aborted) queueMicrotask(abort);
    signal.addEventListener('abort', abort, { once: true });
    void this.closed.then(() => signal.removeEventListener('abort', abort));
  }

  // Sending

  #add(message: Message): void {
    if (!isControl(message.type)) this.#meter.sent(encodedSize(message), performance.now());
    this.#outbox.add(message);
    this.#lastSentAt = performance.now();
    if (this.#outbox.records < tlsRecordsMax) return;
    this.#break(new ReplicaError('ERR_SOCKET', `connection to ${this.peer} used its key up`));
  }

  #hasRoom(): boolean {
    return (
      this.#outbox.queuedBytes <= writeQueueBytesMax && this.#meter.inFlightBytes <= windowBytesMax
    );
  }

  #until(isOver: () => boolean): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#closing) return Promise.reject(this.#closedError());
    if (isOver()) return done;
    return new Promise((resolve, reject) => this.#waiters.push({ isOver, resolve, reject }));
  }

  #onWritten(): void {
    this.#answerPing();
    this.#releaseWaiters();
  }

  #releaseWaiters(): void {
    if (this.#waiters.length === 0) return;
    const waiting: Waiter[] = [];
    for (const waiter of this.#waiters) {
      if (waiter.isOver()) waiter.resolve();
      else waiting.push(waiter);
    }
    this.#waiters = waiting;
  }

  /** One Pong at a time, the newest, and only while the peer takes them: a flood is not queued. */
  #answerPing(): void {
    if (this.#pongToken === undefined || this.#closing || this.#failure) return;
    if (this.#outbox.queuedBytes > writeQueueBytesMax) return;
    const token = this.#pongToken;
    this.#pongToken = undefined;
    this.#add({ type: MessageType.Pong, token });
  }

  // Receiving

  #onData(chunk: Buffer): void {
    if (this.#closing) return;
    this.#bytesReceived += chunk.length;
    this.#lastHeardAt = performance.now();
    this.#isSuspect = false;
    this.#decoder.push(chunk);
    if (!this.#wake) {
      this.#stream.pause();
      return;
    }
    this.#decode();
    if (this.#frame || this.#fault) this.#wakeConsumer();
  }

  #onEnd(): void {
    this.#hasEnded = true;
    this.#wakeConsumer();
  }

  #wakeConsumer(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  /** Completes #frame or #fault if there are bytes enough. */
  #decode(): void {
    if (this.#frame || this.#fault) return;
    try {
      this.#frame = this.#decoder.next();
    } catch (error) {
      this.#fault = error;
    }
    if (this.#frame || !this.#decoder.isPartial) this.#frameSince = undefined;
    else this.#frameSince ??= performance.now();
  }

  /** The next frame if it is there; undefined also when there will be none. */
  #takeFrame(): Frame | undefined {
    if (this.#isOver || this.#closing) return undefined;
    this.#decode();
    const frame = this.#frame;
    this.#frame = undefined;
    if (!frame && this.#fault) throw this.#breach(this.#fault);
    return frame;
  }

  /** The next frame, or undefined when the peer or this side ended the connection. */
  async #waitForFrame(): Promise<Frame | undefined> {
    for (;;) {
      if (this.#isOver || this.#closing) return undefined;
      if (this.#hasEnded) return this.#finish();
      if (this.#failure) throw this.#failure;
      this.#creditWhenIdle();
      this.#frameSince = this.#decoder.isPartial ? performance.now() : undefined;
      this.#lastHeardAt = performance.now();
      this.#isSuspect = false;
      await new Promise<void>(resolve => {
        this.#wake = resolve;
        this.#stream.resume();
      });
      const frame = this.#takeFrame();
      if (frame) return frame;
    }
  }

  #finish(): undefined {
    this.#isOver = true;
    if (!this.#decoder.isPartial) return undefined;
    throw new ReplicaError('ERR_SOCKET', `${this.peer} ended the connection within a frame`);
  }

  /** The message in `frame`, or undefined if it was for the connection itself. */
  #receive(frame: Frame): Message | undefined {
    let message: Message;
    try {
      this.#session.check(frame.type);
      message = decodeMessage(frame.type, frame.payload);
      this.#session.advance(message);
      if (message.type === MessageType.Credit) {
        this.#meter.credited(message.handledBytes, performance.now());
      }
    } catch (error) {
      throw this.#breach(error);
    }
    switch (message.type) {
      case MessageType.Credit:
        this.#releaseWaiters();
        return undefined;
      case MessageType.Ping:
        this.#pongToken = message.token;
        this.#answerPing();
        return undefined;
      case MessageType.Pong:
        return undefined;
      case MessageType.Hello:
        if (message.major !== protocolMajor) throw this.#refuseVersion(message);
        return message;
      case MessageType.Failure:
        this.#isOver = true;
        this.#failure ??= failureError(message, this.peer);
        this.#settle(this.#failure);
        return message;
      default:
        return message;
    }
  }

  /** The peer broke the protocol: it is told, and the connection ends. A bug of ours ends it too. */
  #breach(error: unknown): unknown {
    const isPeers = error instanceof ReplicaError;
    const message = isPeers ? error.message : 'internal error';
    void this.close({ code: isPeers ? 'protocol' : 'bug', message });
    return error;
  }

  #refuseVersion(hello: { readonly major: number; readonly minor: number }): ReplicaError {
    const message =
      `protocol version ${hello.major}.${hello.minor} at one end, ` +
      `${protocolMajor}.${protocolMinor} at the other: install the same release of replica on both`;
    void this.close({ code: 'version', message });
    return new ReplicaError('ERR_PROTOCOL', message);
  }

  #handled(size: number): void {
    this.#handledBytes += size;
    if (this.#handledBytes - this.#creditedBytes >= creditStepBytes) this.#credit();
  }

  #credit(): void {
    clearTimeout(this.#creditTimer);
    this.#creditTimer = undefined;
    if (this.#closing || this.#failure || this.#handledBytes === this.#creditedBytes) return;
    this.#creditedBytes = this.#handledBytes;
    this.#add({ type: MessageType.Credit, handledBytes: BigInt(this.#handledBytes) });
  }

  #creditWhenIdle(): void {
    if (this.#handledBytes === this.#creditedBytes) return;
    this.#creditTimer ??= setTimeout(() => this.#credit(), this.#timings.creditIdleMs);
  }

  // Deadlines

  /** Checks what is overdue and comes back when the next thing may be. */
  #watch(): void {
    if (this.#failure || this.#closing) return;
    const now = performance.now();
    const error = this.#overdue(now);
    if (error) {
      this.#break(error);
      return;
    }
    const timings = this.#timings;
    if (now - this.#lastSentAt >= timings.pingAfterMs) {
      this.#lastSentAt = now;
      // What is queued already will be heard as well as a Ping.
      if (this.#isGreeted && this.#outbox.queuedBytes === 0) {
        this.#add({ type: MessageType.Ping, token: BigInt(Math.floor(now)) });
      }
    }
    const due = Math.min(
      this.#lastSentAt + timings.pingAfterMs,
      this.#wake ? this.#lastHeardAt + timings.deadAfterMs : now + timings.deadAfterMs,
      (this.#frameSince ?? now) + timings.frameMs,
      this.#isGreeted ? Number.POSITIVE_INFINITY : this.#startedAt + timings.helloMs,
    );
    const delayMs = Math.max(due - now, this.#isSuspect ? 50 : 1);
    this.#watchTimer = setTimeout(() => this.#watch(), delayMs);
  }

  #overdue(now: number): ReplicaError | undefined {
    const { helloMs, deadAfterMs: deadMs, frameMs: wholeMs } = this.#timings;
    if (!this.#isGreeted && now - this.#startedAt >= helloMs) {
      return new ReplicaError(
        'ERR_SOCKET',
        `no greeting from ${this.peer} for ${seconds(helloMs)}`,
      );
    }
    if (!this.#wake) return undefined;
    if (this.#frameSince !== undefined && now - this.#frameSince >= wholeMs) {
      const text = `${this.peer} did not complete a frame within ${seconds(wholeMs)}`;
      return new ReplicaError('ERR_SOCKET', text);
    }
    if (now - this.#lastHeardAt < deadMs) return undefined;
    // After this process was held up, what came meanwhile is still to be read: look twice.
    const wasSuspect = this.#isSuspect;
    this.#isSuspect = true;
    if (!wasSuspect) return undefined;
    return new ReplicaError('ERR_SOCKET', `no answer from ${this.peer} for ${seconds(deadMs)}`);
  }
}

/** What a peer's Failure means to this side. */
export function failureError(failure: Failure, peer: string): ReplicaError {
  const text = `${peer}: ${failure.message}`;
  switch (failure.code) {
    case 'version':
    case 'protocol':
    case 'bug':
      return new ReplicaError('ERR_PROTOCOL', text);
    case 'foreign':
      return new ReplicaError('ERR_FOREIGN', text);
    case 'fenced':
      return new ReplicaError('ERR_FENCED', text);
    case 'io':
      return new ReplicaError('ERR_IO', text);
    case 'busy':
    case 'shutdown':
      return new ReplicaError('ERR_SOCKET', text);
  }
}

/** Two connections within this process, with the same frames and checks as over a network. */
export function memoryPair(): [Connection, Connection] {
  const [left, right] = memoryDuplexPair();
  const options = { checksum: false, peer: 'this process' };
  return [Connection.over(left, options), Connection.over(right, options)];
}

/** Not counted by the window. */
function isControl(type: MessageType): boolean {
  return (
    type === MessageType.Ping ||
    type === MessageType.Pong ||
    type === MessageType.Credit ||
    type === MessageType.Failure
  );
}

function seconds(ms: number): string {
  return `${ms / 1000} s`;
}
