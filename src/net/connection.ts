// Messages over any Duplex: a TLS socket, a plain one, a child's stdio, or memory.
//
// Nothing is read but at the consumer's pace, so that memory per connection is bounded whatever
// the peer sends: one frame under way, one chunk, and what the stream itself buffers.
import assert from 'node:assert/strict';
import type { Duplex } from 'node:stream';
import { ReplicaError, systemCode } from '../errors.ts';
import {
  creditStepBytes,
  helloPayloadSizeMax,
  windowBytesMax,
  writeQueueBytesMax,
} from '../limits.ts';
import { decodeMessage, encodedSize } from '../wire/codec.ts';
import type { Frame } from '../wire/frame-decoder.ts';
import {
  type Failure,
  type Hello,
  type Message,
  MessageType,
  protocolMajor,
} from '../wire/messages.ts';
import { PeerSession } from '../wire/session-state.ts';
import {
  type ConnectionLimits,
  type ConnectionOptions,
  defaultLimits,
} from './connection-options.ts';
import { CreditMeter, isCounted } from './credit-meter.ts';
import { failureError, lastFailure, otherVersion } from './failure-error.ts';
import { Inbox } from './inbox.ts';
import { LinkClock } from './link-clock.ts';
import { Outbox } from './outbox.ts';
import { type Compression, featuresOf, noCompression, packerFor, Unpacker } from './packing.ts';
import { Waiters } from './waiters.ts';

export class Connection {
  readonly peer: string;
  readonly peerKeyId: string | undefined;
  /** True once setPayloadLimit raised the limit, false if the connection ended before. */
  readonly greeted: Promise<boolean>;
  /** Resolves when the stream is gone. Never rejects. */
  readonly closed: Promise<void>;
  /** For this side's Hello. */
  readonly features: bigint;

  readonly #stream: Duplex;
  readonly #limits: ConnectionLimits;
  readonly #outbox: Outbox;
  readonly #inbox: Inbox;
  readonly #session = new PeerSession();
  readonly #meter = new CreditMeter();
  readonly #waiters = new Waiters();
  readonly #clock: LinkClock;
  readonly #compression: Compression;
  readonly #checksum: boolean;
  readonly #wearsOut: boolean;
  #settleGreeted: (isGreeted: boolean) => void = () => {};

  /** Why no more can be sent. */
  #failure: ReplicaError | undefined;
  #closing: Promise<void> | undefined;

  #isConsumed = false;
  /** The last message was yielded. */
  #isOver = false;
  #peerRole: Hello['role'] | undefined;
  #peerFeatures = 0n;
  #handledBytes = 0;
  #creditedBytes = 0;
  #pongToken: bigint | undefined;

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
    this.#limits = { ...defaultLimits, ...options.limits };
    this.#clock = new LinkClock(this.#limits, performance.now());
    const { checksum, onRead } = options;
    this.#checksum = checksum;
    this.#wearsOut = options.wearsOut ?? !checksum;
    this.#compression = options.compression ?? noCompression;
    this.features = featuresOf(this.#compression);
    const { throttle } = options;
    this.#outbox = new Outbox(stream, { checksum, throttle, onWritten: () => this.#onWritten() });
    this.#inbox = new Inbox(stream, { checksum, clock: this.#clock, onRead });
    this.greeted = new Promise(resolve => {
      this.#settleGreeted = resolve;
    });
    this.closed = new Promise(resolve => {
      stream.once('close', () => {
        this.#break(this.#lost());
        resolve();
      });
    });
    stream.on('error', error => this.#break(this.#lost(error)));
    this.#followSignal(options.signal);
    this.#watch();
  }

  /** Sent and not yet credited, in bytes of payload; 0 to a sender, which gives no credit. */
  get inFlightBytes(): number {
    return this.#peerRole === 'receiver' ? this.#meter.inFlightBytes : 0;
  }

  /** Smoothed rate at which the peer handles what is sent, while there is something; 0: unknown. */
  get creditBytesPerSecond(): number {
    return this.#meter.bytesPerSecond;
  }

  /** The shortest time lately from sending a byte to its credit, queues included; 0 while unknown. */
  get creditRoundTripMs(): number {
    return this.#meter.roundTripMs;
  }

  /** Of its Hello; 0 before. */
  get peerFeatures(): bigint {
    return this.#peerFeatures;
  }

  /** Bytes of frames. */
  get bytesSent(): number {
    return this.#outbox.bytes;
  }

  get bytesReceived(): number {
    return this.#inbox.bytes;
  }

  /** True when the key has encrypted 64 GiB: the next one must not wear out. It breaks at 256 GiB. */
  get isWorn(): boolean {
    return this.#wearsOut && this.#outbox.records >= this.#limits.tlsRecordsWorn;
  }

  /**
   * Queues a copy of `message`, in order; its Buffers may change as soon as this returns. Resolves
   * when more may be sent; rejects with why the connection broke or was closed. A sender's consumer
   * of messages() must not wait for it: credit comes by that way.
   */
  send(message: Message): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#closing) return Promise.reject(this.#closedError());
    this.#add(message);
    return this.#waiters.until(() => this.#hasRoom());
  }

  /** Resolves when at most `inFlightMax` bytes are sent and not yet credited. */
  waitForCredit(inFlightMax: number): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#closing) return Promise.reject(this.#closedError());
    return this.#waiters.until(() => this.inFlightBytes <= inFlightMax);
  }

  /** Writes what was sent now rather than at the end of this turn of the event loop. */
  flush(): void {
    this.#outbox.flush();
  }

  /** The peer is accepted: longer payloads are allowed and the Hello's deadline is over. */
  setPayloadLimit(max: number): void {
    this.#inbox.setPayloadSizeMax(max);
    if (max <= helloPayloadSizeMax) return;
    this.#clock.greet();
    this.#settleGreeted(true);
  }

  /**
   * Messages in order, for one consumer. A message counts as handled when the next one is asked
   * for; Buffers in it stay valid while they are referenced. Returns when either side closed, a
   * Failure being the last message then; throws ERR_SOCKET when the link broke or ended before a
   * Hello, and ERR_PROTOCOL when the peer broke the protocol (which the peer is told).
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
    if (failure && !this.#stream.destroyed) this.#add({ type: MessageType.Failure, ...failure });
    this.#settle(this.#failure ?? this.#closedError());
    // Unread bytes at the time of closing would make the system reset the link, and the peer might
    // lose the Failure.
    this.#inbox.discard();
    if (this.#stream.destroyed) return this.closed;
    this.#outbox.end();
    const timer = setTimeout(() => this.#stream.destroy(), this.#limits.closeLingerMs);
    await this.closed;
    clearTimeout(timer);
  }

  /** Ends everything that waits: senders with `error`, the consumer by asking again. */
  #settle(error: ReplicaError): void {
    clearTimeout(this.#watchTimer);
    clearTimeout(this.#creditTimer);
    this.#settleGreeted(false);
    this.#waiters.rejectAll(error);
    this.#inbox.wake();
  }

  /** The link cannot be used any more. */
  #break(error: ReplicaError): void {
    if (!this.#failure && !this.#closing) {
      this.#failure = lastFailure(this.#inbox.rest(), this.peer) ?? error;
    }
    this.#outbox.close();
    this.#inbox.close();
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

  #add(message: Message): void {
    if (isCounted(message.type)) this.#meter.sent(encodedSize(message), performance.now());
    this.#outbox.add(message);
    if (message.type === MessageType.Welcome) this.#pack();
    this.#clock.sent(performance.now());
    if (!this.#wearsOut || this.#outbox.records < this.#limits.tlsRecordsMax) return;
    this.#break(new ReplicaError('ERR_SOCKET', `connection to ${this.peer} used its key up`));
  }

  /** The Welcome is through: what follows it may be packed, both ways. */
  #pack(): void {
    if (this.features !== 0n) this.#inbox.unpack(new Unpacker(this.features));
    const packing = packerFor(this.#compression, this.#peerFeatures, this.#checksum);
    if (packing) this.#outbox.pack(packing.packer, packing.always);
  }

  #hasRoom(): boolean {
    return this.#outbox.queuedBytes <= writeQueueBytesMax && this.inFlightBytes <= windowBytesMax;
  }

  #onWritten(): void {
    this.#answerPing();
    this.#waiters.release();
  }

  /** One Pong at a time, the newest, and only while the peer takes them: a flood is not queued. */
  #answerPing(): void {
    if (this.#pongToken === undefined || this.#closing || this.#failure) return;
    if (this.#outbox.queuedBytes > writeQueueBytesMax) return;
    const token = this.#pongToken;
    this.#pongToken = undefined;
    this.#add({ type: MessageType.Pong, token });
  }

  /** The next frame if it is there; undefined also when there will be none. */
  #takeFrame(): Frame | undefined {
    if (this.#isOver || this.#closing) return undefined;
    try {
      return this.#inbox.take();
    } catch (error) {
      throw this.#breach(error);
    }
  }

  /** The next frame, or undefined when the peer or this side ended the connection. */
  async #waitForFrame(): Promise<Frame | undefined> {
    for (;;) {
      if (this.#isOver || this.#closing) return undefined;
      if (this.#inbox.hasEnded) return this.#finish();
      if (this.#failure && !this.#inbox.isUnpacking) throw this.#failure;
      this.#creditWhenIdle();
      await this.#inbox.more();
      const frame = this.#takeFrame();
      if (frame) return frame;
    }
  }

  #finish(): undefined {
    this.#isOver = true;
    const isEarly = this.#session.state === 'greeting';
    if (!this.#inbox.isPartial && !isEarly) return undefined;
    const when = isEarly ? 'without a greeting' : 'within a frame';
    throw new ReplicaError('ERR_SOCKET', `${this.peer} ended the connection ${when}`);
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
        this.#waiters.release();
        return undefined;
      case MessageType.Ping:
        this.#pongToken = message.token;
        this.#answerPing();
        return undefined;
      case MessageType.Pong:
        return undefined;
      case MessageType.Hello:
        if (message.major !== protocolMajor) throw this.#breach(otherVersion(message), 'version');
        this.#peerRole = message.role;
        this.#peerFeatures = message.features;
        return message;
      case MessageType.Welcome:
        this.#pack();
        return message;
      case MessageType.Failure:
        this.#isOver = true;
        this.#failure = failureError(message, this.peer);
        this.#settle(this.#failure);
        return message;
      default:
        return message;
    }
  }

  /** The peer broke the protocol: it is told, and the connection ends. A bug of ours ends it too. */
  #breach(error: unknown, code: Failure['code'] = 'protocol'): unknown {
    const failure = error instanceof ReplicaError ? error : undefined;
    this.#failure ??= failure;
    void this.close(failure ? { code, message: failure.message } : bug);
    return error;
  }

  #handled(size: number): void {
    if (this.#peerRole === undefined || this.#peerRole === 'receiver') return;
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
    this.#creditTimer ??= setTimeout(() => this.#credit(), this.#limits.creditIdleMs);
  }

  /** Looks at the clock and comes back when the next thing may be due. */
  #watch(): void {
    if (this.#failure || this.#closing) return;
    const verdict = this.#clock.check(performance.now());
    if (verdict.kind === 'dead') {
      this.#break(new ReplicaError('ERR_SOCKET', `${this.peer} ${verdict.why}`));
      return;
    }
    // What is queued already will be heard as well as a Ping.
    if (verdict.kind === 'ping' && this.#outbox.queuedBytes === 0) {
      this.#add({ type: MessageType.Ping, token: BigInt(Math.floor(performance.now())) });
    }
    this.#watchTimer = setTimeout(() => this.#watch(), verdict.againMs);
  }
}

const bug = { code: 'bug', message: 'internal error' } as const;
