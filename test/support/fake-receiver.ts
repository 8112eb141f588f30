// A receiver in memory, behind real frames: ModelReceiver for names, Maps for content. It keeps
// the sender honest: every reference it makes must be one the receiver has.
import assert from 'node:assert/strict';
import { blockId, entryDigest } from '../../src/blocks/block-id.ts';
import { applyPatch } from '../../src/blocks/block-patch.ts';
import { grainsOf } from '../../src/blocks/grains-plain.ts';
import { payloadSizeMax } from '../../src/limits.ts';
import type { Connection } from '../../src/net/connection.ts';
import type { NodeId } from '../../src/snapshot/entry.ts';
import { encodeEntry } from '../../src/snapshot/entry-codec.ts';
import {
  givesGrains,
  type Message,
  MessageType,
  type Operation,
  type Piece,
  protocolMagic,
  protocolMajor,
  protocolMinor,
} from '../../src/wire/messages.ts';
import { ModelReceiver } from './model.ts';

interface Version {
  readonly version: number;
  readonly blocks: readonly Buffer[];
}

export class FakeReceiver {
  readonly model = new ModelReceiver();
  readonly files = new Map<NodeId, Version>();
  readonly blocks = new Map<string, Buffer>();
  readonly secret = Buffer.alloc(32, 9);
  /** Of its Hello: it answers GetGrains. */
  features = givesGrains;
  epoch = Buffer.alloc(16, 3);
  watermark = 0n;
  operationCount = 0;
  /** Called for each operation before it is applied: a reason rejects it. */
  refuse: (operation: Operation) => 'gone' | 'base' | 'blocks' | 'refused' | undefined = () =>
    undefined;
  /** Content that comes out wrong is rejected, as a receiver does; otherwise it is a bug of the sender. */
  isLenient = false;
  /** Everything it says goes through this; what comes out is said instead. */
  lie: (message: Message) => readonly Message[] = message => [message];
  #stages = new Map<number, { base: Version | undefined; blocks: Buffer[] }>();

  digest(): Buffer {
    const digest = Buffer.alloc(16);
    for (const one of this.#directoryDigests().values()) xor(digest, one);
    return digest;
  }

  #directoryDigests(): Map<NodeId, Buffer> {
    const digests = new Map<NodeId, Buffer>();
    for (const [parent, names] of this.model.names) {
      const digest = Buffer.alloc(16);
      for (const [name, entry] of names) {
        xor(digest, entryDigest(this.secret, parent, encodeEntry(name, entry)));
      }
      digests.set(parent, digest);
    }
    return digests;
  }

  async serve(connection: Connection): Promise<void> {
    const waiting: Operation[] = [];
    this.#stages.clear();
    for await (const message of connection.messages()) {
      await this.#handle(connection, message, waiting);
      connection.flush();
    }
  }

  async #handle(connection: Connection, message: Message, waiting: Operation[]): Promise<void> {
    switch (message.type) {
      case MessageType.Hello:
        await this.#welcome(connection);
        break;
      case MessageType.ListDigests: {
        const directories = [...this.#directoryDigests()].map(([id, digest]) => ({ id, digest }));
        await this.#send(connection, {
          type: MessageType.DirectoryDigests,
          last: true,
          directories,
        });
        break;
      }
      case MessageType.GetListing: {
        const entries = message.ids.flatMap(parent =>
          [...(this.model.names.get(parent) ?? [])]
            .sort(([a], [b]) => (a < b ? -1 : 1))
            .map(([name, entry]) => ({ parent, name, entry })),
        );
        await this.#send(connection, { type: MessageType.Listing, last: true, entries });
        break;
      }
      case MessageType.Offer: {
        const count = message.ids.length / 16;
        const bitmap = Buffer.alloc(Math.ceil(count / 8));
        for (let i = 0; i < count; i++) {
          const id = message.ids.subarray(i * 16, i * 16 + 16).toString('hex');
          if (!this.blocks.has(id)) bitmap[i >> 3] = (bitmap[i >> 3] ?? 0) | (1 << (i & 7));
        }
        await this.#send(connection, { type: MessageType.Need, batch: message.batch, bitmap });
        break;
      }
      case MessageType.GetGrains: {
        const { batch, files, factor, grainSize } = message;
        const ranges = files.flatMap(({ id, version, ranges: asked }) => {
          const old = Buffer.concat(this.#base(id, version)?.blocks ?? []);
          return asked.map(({ offset, size }) => {
            assert(offset + size <= old.length, 'a range that the version does not have');
            return grainsOf(old.subarray(offset, offset + size), grainSize, factor).swap32();
          });
        });
        await this.#send(connection, { type: MessageType.Grains, batch, ranges });
        break;
      }
      case MessageType.StageOpen: {
        const base = this.#base(message.id, message.baseVersion);
        this.#stages.set(message.stage, { base, blocks: [] });
        break;
      }
      case MessageType.StageData: {
        const stage = this.#stages.get(message.stage);
        assert(stage !== undefined, 'data for a stage that is not open');
        for (const piece of message.pieces) stage.blocks.push(...this.#build(piece, stage.base));
        break;
      }
      case MessageType.InSync:
        break;
      case MessageType.StageAbort:
        this.#stages.delete(message.stage);
        break;
      case MessageType.Operations:
        assert.equal(message.commit, this.watermark + 1n);
        waiting.push(...message.operations);
        break;
      case MessageType.CommitEnd:
        assert.equal(message.operationCount, waiting.length);
        await this.#commit(connection, waiting.splice(0));
        break;
      default:
        assert.fail(`message ${message.type}`);
    }
  }

  async #send(connection: Connection, message: Message): Promise<void> {
    for (const one of this.lie(message)) await connection.send(one);
  }

  async #welcome(connection: Connection): Promise<void> {
    await this.#send(connection, {
      type: MessageType.Hello,
      magic: protocolMagic,
      major: protocolMajor,
      minor: protocolMinor,
      features: this.features,
      role: 'receiver',
      sourceId: Buffer.alloc(16),
      instanceId: Buffer.alloc(16, 5),
      label: 'fake',
      takeOver: false,
    });
    connection.setPayloadLimit(payloadSizeMax);
    let nextId = 2;
    for (const names of this.model.names.values()) {
      for (const entry of names.values()) nextId = Math.max(nextId, entry.id + 1);
    }
    await this.#send(connection, {
      type: MessageType.Welcome,
      epoch: this.epoch,
      watermark: this.watermark,
      digest: this.digest(),
      entryCount: BigInt(this.model.tree().size),
      nextId: nextId as NodeId, // One past every id in use.
      secret: this.secret,
    });
  }

  async #commit(connection: Connection, operations: readonly Operation[]): Promise<void> {
    const commit = ++this.watermark;
    const accepted: Operation[] = [];
    const indexes: number[] = [];
    for (const [index, operation] of operations.entries()) {
      this.operationCount++;
      const reason = this.refuse(operation) ?? this.#take(operation);
      if (reason !== undefined) {
        await this.#send(connection, {
          type: MessageType.Rejected,
          commit,
          index,
          reason,
          message: 'no',
        });
        continue;
      }
      accepted.push(operation);
      indexes.push(index);
    }
    for (const i of this.model.commit(accepted)) {
      const index = indexes[i] ?? 0;
      await this.#send(connection, {
        type: MessageType.Rejected,
        commit,
        index,
        reason: 'gone',
        message: 'gone',
      });
    }
    await this.#send(connection, { type: MessageType.Durable, commit });
  }

  #take(operation: Operation): 'base' | undefined {
    if (operation.kind !== 'file') return undefined;
    try {
      this.#store(operation);
      return undefined;
    } catch (error) {
      if (!this.isLenient) throw error;
      return 'base';
    }
  }

  #store(operation: Extract<Operation, { kind: 'file' }>): void {
    const { content, entry } = operation;
    let blocks: readonly Buffer[];
    if (content.kind === 'stage') {
      const stage = this.#stages.get(content.stage);
      assert(stage !== undefined, 'a stage that is not open');
      this.#stages.delete(content.stage);
      blocks = stage.blocks;
    } else {
      const base = this.#base(entry.id, content.baseVersion);
      blocks = content.pieces.flatMap(piece => this.#build(piece, base));
    }
    assert.equal(
      blocks.reduce((sum, block) => sum + block.length, 0),
      entry.size,
      'size of a file',
    );
    this.files.set(entry.id, { version: entry.version, blocks });
  }

  /** What pieces may copy from: only what the sender said. */
  #base(id: NodeId, version: number): Version | undefined {
    if (version === 0) return undefined;
    const base = this.files.get(id);
    assert.equal(base?.version, version);
    return base;
  }

  #build(piece: Piece, base: Version | undefined): readonly Buffer[] {
    switch (piece.kind) {
      case 'copy': {
        assert(base !== undefined && piece.from + piece.count <= base.blocks.length);
        return base.blocks.slice(piece.from, piece.from + piece.count);
      }
      case 'block': {
        const block = this.blocks.get(piece.id.toString('hex'));
        assert(block?.length === piece.size, 'a block that was never sent');
        return [block];
      }
      case 'zero':
        return [Buffer.alloc(piece.size)];
      case 'patch': {
        assert(base !== undefined);
        const old = Buffer.concat(base.blocks);
        const block = applyPatch(piece.patch, piece.size, (from, into) => {
          assert.equal(old.copy(into, 0, from, from + into.length), into.length);
        });
        assert.deepEqual(blockId(this.secret, block), Buffer.from(piece.id), 'the id of a block');
        this.blocks.set(piece.id.toString('hex'), block);
        return [block];
      }
      case 'data': {
        const block = Buffer.from(piece.bytes);
        assert.deepEqual(blockId(this.secret, block), Buffer.from(piece.id), 'the id of a block');
        this.blocks.set(piece.id.toString('hex'), block);
        return [block];
      }
    }
  }

  /** Content of a file by path. */
  content(id: NodeId): Buffer {
    return Buffer.concat(this.files.get(id)?.blocks ?? []);
  }
}

function xor(target: Buffer, bytes: Buffer): void {
  for (let i = 0; i < 16; i++) target[i] = (target[i] ?? 0) ^ (bytes[i] ?? 0);
}
