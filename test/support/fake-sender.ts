// A sender by hand: says exactly what a test wants said, and collects what comes back.
import assert from 'node:assert/strict';
import { blockId, zeroBlockId } from '../../src/blocks/block-id.ts';
import { payloadSizeMax } from '../../src/limits.ts';
import type { Connection } from '../../src/net/connection.ts';
import { memoryPair } from '../../src/net/memory-pair.ts';
import type { Receiver } from '../../src/receiver/receiver.ts';
import { type Entry, type NodeId, noStamp, rootId } from '../../src/snapshot/entry.ts';
import { type Name, toName } from '../../src/snapshot/name.ts';
import {
  type Hello,
  type Lost,
  type Message,
  MessageType,
  type Operation,
  type Piece,
  protocolMagic,
  protocolMajor,
  protocolMinor,
  type Rejected,
  type Welcome,
} from '../../src/wire/messages.ts';

export interface Outcome {
  readonly rejected: readonly Rejected[];
  readonly lost: readonly Lost['entries'][number][];
}

export const mtimeNs = 1_600_000_000_123_456_000n;

export class FakeSender {
  readonly connection: Connection;
  readonly served: Promise<void>;
  /** Everything received and not taken yet. */
  readonly #inbox: Message[] = [];
  #wake: () => void = () => {};
  #isOver = false;
  #error: unknown;
  welcome: Welcome | undefined;
  nextCommit = 1n;
  nextId = 2;
  #batch = 0;

  static connect(receiver: Receiver): FakeSender {
    const [ours, theirs] = memoryPair();
    return new FakeSender(ours, receiver.serve(theirs));
  }

  private constructor(connection: Connection, served: Promise<void>) {
    this.connection = connection;
    this.served = served;
    void this.#read();
  }

  /** Over any connection, such as one through a socket. */
  static over(connection: Connection): FakeSender {
    return new FakeSender(connection, connection.closed);
  }

  /** Connects and is welcomed. */
  static async open(receiver: Receiver, hello: Partial<Hello> = {}): Promise<FakeSender> {
    const sender = FakeSender.connect(receiver);
    await sender.greet(hello);
    return sender;
  }

  /** Says hello and is welcomed. */
  async greet(hello: Partial<Hello> = {}): Promise<void> {
    await this.hello(hello);
    await this.next(MessageType.Hello);
    this.welcome = await this.next(MessageType.Welcome);
    this.nextCommit = this.welcome.watermark + 1n;
    this.nextId = this.welcome.nextId;
  }

  async hello(hello: Partial<Hello> = {}): Promise<void> {
    this.connection.setPayloadLimit(payloadSizeMax);
    await this.connection.send({
      type: MessageType.Hello,
      magic: protocolMagic,
      major: protocolMajor,
      minor: protocolMinor,
      features: 0n,
      role: 'sender',
      sourceId: Buffer.alloc(16, 1),
      instanceId: Buffer.alloc(16, 2),
      label: 'test:/source',
      takeOver: false,
      ...hello,
    });
  }

  get secret(): Buffer {
    assert(this.welcome);
    return this.welcome.secret;
  }

  id(): NodeId {
    return this.nextId++ as NodeId;
  }

  /** Sends one commit without waiting. */
  async send(operations: readonly Operation[]): Promise<bigint> {
    const commit = this.nextCommit++;
    const { connection } = this;
    if (operations.length > 0) {
      await connection.send({ type: MessageType.Operations, commit, operations });
    }
    const operationCount = operations.length;
    await connection.send({ type: MessageType.CommitEnd, commit, operationCount });
    return commit;
  }

  /** Sends one commit and waits until it is durable. */
  async commit(operations: readonly Operation[]): Promise<Outcome> {
    return this.durable(await this.send(operations));
  }

  async durable(commit: bigint): Promise<Outcome> {
    const rejected: Rejected[] = [];
    const lost: Lost['entries'][number][] = [];
    for (;;) {
      const message = await this.any();
      if (message.type === MessageType.Rejected) rejected.push(message);
      else if (message.type === MessageType.Lost) lost.push(...message.entries);
      else if (message.type === MessageType.Durable && message.commit === commit) break;
      else if (message.type !== MessageType.Durable) {
        throw new Error(`message of type ${message.type}: ${JSON.stringify(message, replacer)}`);
      }
    }
    return { rejected, lost };
  }

  /** Which of the blocks are to be sent. */
  async offer(ids: readonly Buffer[]): Promise<boolean[]> {
    const batch = this.#batch++;
    await this.connection.send({ type: MessageType.Offer, batch, ids: Buffer.concat(ids) });
    const need = await this.next(MessageType.Need);
    assert.equal(need.batch, batch);
    return ids.map((_, i) => ((need.bitmap[i >> 3] ?? 0) & (1 << (i & 7))) !== 0);
  }

  /** The next message, which must be of that type. */
  async next<T extends Message['type']>(type: T): Promise<Extract<Message, { type: T }>> {
    const message = await this.any();
    const text = JSON.stringify(message, replacer);
    assert.equal(message.type, type, `expected a message of type ${type}: ${text}`);
    // Its type was just compared.
    return message as Extract<Message, { type: T }>;
  }

  async any(): Promise<Message> {
    for (;;) {
      const message = this.#inbox.shift();
      if (message) return message;
      if (this.#error) throw this.#error;
      if (this.#isOver) throw new Error('the receiver closed the connection');
      await new Promise<void>(resolve => {
        this.#wake = resolve;
      });
    }
  }

  async close(): Promise<void> {
    await this.connection.close();
    await this.served;
  }

  async #read(): Promise<void> {
    try {
      for await (const message of this.connection.messages()) {
        this.#inbox.push(message);
        this.#wake();
      }
    } catch (error) {
      this.#error = error;
    }
    this.#isOver = true;
    this.#wake();
  }

  // Operations

  directory(parent: NodeId, name: string, entry: Partial<Entry> = {}): Operation & Placed {
    const id = this.id();
    const full = { ...base, kind: 'directory', mode: 0o755, id, ...entry } as const;
    return { kind: 'directory', parent, name: toName(name), entry: full };
  }

  link(parent: NodeId, name: string, target: string): Operation & Placed {
    const size = target.length;
    const entry = { ...base, kind: 'link', mode: 0o777, id: this.id(), size, target } as const;
    return { kind: 'link', parent, name: toName(name), entry };
  }

  file(
    parent: NodeId,
    name: string,
    bytes: Buffer | string,
    entry: Partial<Entry> = {},
  ): Operation & Placed {
    const content = Buffer.from(bytes);
    return {
      kind: 'file',
      parent,
      name: toName(name),
      entry: this.fileEntry(content.length, entry),
      content: { kind: 'inline', baseVersion: 0, pieces: this.data(content) },
    };
  }

  fileEntry(size: number, entry: Partial<Entry> = {}): Entry {
    const id = entry.id ?? this.id();
    return { ...base, kind: 'file', mode: 0o644, size, version: 1, ...entry, id };
  }

  /** Bytes as blocks of at most 8 KiB. */
  data(bytes: Buffer, blockSize = 8192): Piece[] {
    const pieces: Piece[] = [];
    for (let at = 0; at < bytes.length; at += blockSize) {
      const part = bytes.subarray(at, at + blockSize);
      pieces.push({ kind: 'data', id: blockId(this.secret, part), bytes: part });
    }
    return pieces;
  }

  block(bytes: Buffer): Piece {
    return { kind: 'block', id: blockId(this.secret, bytes), size: bytes.length };
  }

  zero(size: number): Piece {
    return { kind: 'zero', id: zeroBlockId(this.secret, size), size };
  }
}

export interface Placed {
  readonly parent: NodeId;
  readonly name: Name;
  readonly entry: Entry;
}

const base = { mtimeNs, size: 0, stamp: noStamp, version: 0, target: '' } as const;

export function remove(parent: NodeId, name: string, id: NodeId): Operation {
  return { kind: 'remove', parent, name: toName(name), id };
}

/** The node at one place goes to another. */
export function rename(from: Placed, parent: NodeId, name: string): Operation & Placed {
  const { parent: fromParent, name: fromName, entry } = from;
  return { kind: 'rename', fromParent, fromName, parent, name: toName(name), entry };
}

export { rootId };

function replacer(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `${value}n` : value;
}
