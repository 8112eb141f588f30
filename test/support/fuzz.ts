// Seeded fuzzing: of the frame decoder and the codec by mutation, of whole sessions by a grammar
// that mostly says what can be said, so that what follows a lie is reached too.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { blockId, zeroBlockId } from '../../src/blocks/block-id.ts';
import { encodePatch } from '../../src/blocks/block-patch.ts';
import { ReplicaError } from '../../src/errors.ts';
import { payloadSizeMax } from '../../src/limits.ts';
import { Connection } from '../../src/net/connection.ts';
import { memoryDuplexPair } from '../../src/net/memory-duplex.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import { type Entry, type NodeId, noStamp, rootId } from '../../src/snapshot/entry.ts';
import type { Name } from '../../src/snapshot/name.ts';
import { decodeMessage, encodeMessage } from '../../src/wire/codec.ts';
import { encodeFrame, FrameChecksum } from '../../src/wire/frame.ts';
import { FrameDecoder } from '../../src/wire/frame-decoder.ts';
import {
  type Message,
  MessageType,
  type Operation,
  type Piece,
  type Welcome,
} from '../../src/wire/messages.ts';
import { FakeSender } from './fake-sender.ts';
import { helloOf, name, nodeId, randomMessage } from './messages.ts';
import { readModelTree } from './model-tree.ts';
import { pick, randomBytes, randomInteger, seededRandom } from './random.ts';
import { frameOf, RawPeer } from './raw-peer.ts';
import { collectingLog, listEntries, receiverDefaults } from './receivers.ts';

type Random = () => number;

/** Some bytes replaced, left out, doubled, or put in; also by numbers at the end of their range. */
export function mutateBytes(random: Random, bytes: Buffer): Buffer {
  const at = randomInteger(random, bytes.length + 1);
  const size = 1 + randomInteger(random, pick(random, [1, 2, 8, 40]));
  const rest = bytes.subarray(Math.min(at + size, bytes.length));
  switch (pick(random, ['replace', 'drop', 'insert', 'cut', 'ends', 'flip'] as const)) {
    case 'replace':
      return Buffer.concat([bytes.subarray(0, at), randomBytes(random, size), rest]);
    case 'drop':
      return Buffer.concat([bytes.subarray(0, at), rest]);
    case 'insert':
      return Buffer.concat([bytes.subarray(0, at), randomBytes(random, size), bytes.subarray(at)]);
    case 'cut':
      return bytes.subarray(0, at);
    case 'ends': {
      const value = pick(random, [0, 1, 0x7f, 0x80, 0xff]);
      return Buffer.concat([bytes.subarray(0, at), Buffer.alloc(size, value), rest]);
    }
    case 'flip': {
      const copy = Buffer.from(bytes);
      if (at < copy.length) copy[at] = (copy[at] ?? 0) ^ (1 << randomInteger(random, 8));
      return copy;
    }
  }
}

/** Undefined for ERR_PROTOCOL; anything else is thrown on. */
function orBreach<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (error instanceof ReplicaError && error.code === 'ERR_PROTOCOL') return undefined;
    throw error;
  }
}

/** Damaged payloads: a message comes out, of which there is one encoding, or ERR_PROTOCOL. */
export function fuzzCodec(seed: number, count: number): void {
  const random = seededRandom(seed);
  for (let i = 0; i < count; i++) {
    const { type, bytes } = damagedMessage(random);
    const message = orBreach(() => decodeMessage(type, bytes));
    // Texts come out printable, and a Hello of another version is cut short.
    if (!message || 'label' in message || 'message' in message) continue;
    assert(encodeMessage(message).equals(bytes), `a second encoding of type ${type}`);
  }
}

function damagedMessage(random: Random): { type: number; bytes: Buffer } {
  const message = randomMessage(random);
  const type = random() < 0.05 ? randomInteger(random, 256) : message.type;
  let bytes = encodeMessage(message);
  for (let n = randomInteger(random, 4); n > 0; n--) bytes = mutateBytes(random, bytes);
  return { type, bytes: bytes.subarray(0, payloadSizeMax) };
}

/** A stream of frames, damaged somewhere and cut into chunks anyhow: frames, then ERR_PROTOCOL. */
export function fuzzDecoder(seed: number, count: number): void {
  const random = seededRandom(seed);
  const checksum = random() < 0.5 ? new FrameChecksum() : undefined;
  const good = Array.from({ length: count }, () => encodeFrame(randomMessage(random), checksum));
  const stream = Buffer.concat(good);
  const damaged = random() < 0.8 ? mutateBytes(random, stream) : stream;
  const decoder = new FrameDecoder({ checksum: checksum !== undefined });
  decoder.setPayloadSizeMax(payloadSizeMax);
  let frames = 0;
  let isOver = false;
  for (let at = 0; at < damaged.length && !isOver; ) {
    const size = 1 + randomInteger(random, pick(random, [1, 7, 300, 5000]));
    decoder.push(Buffer.from(damaged.subarray(at, at + size)));
    at += size;
    for (;;) {
      const frame = orBreach(() => decoder.next() ?? 'more');
      isOver = frame === undefined;
      if (frame === undefined || frame === 'more') break;
      frames++;
      orBreach(() => decodeMessage(frame.type, frame.payload));
    }
  }
  if (damaged === stream) assert.equal(frames, count, 'frames of an undamaged stream');
}

// Receiver sessions

const names = ['a', 'b', 'c', 'd', 'e', 'f'].map(name);

/** What a fuzzing sender believes to have said. */
class World {
  readonly random: Random;
  readonly directories: NodeId[] = [rootId];
  readonly files: { id: NodeId; version: number; bytes: Buffer }[] = [];
  readonly places: { parent: NodeId; name: Name; entry: Entry }[] = [];
  stages: { stage: number; id: NodeId; filled: number; hasBase: boolean }[] = [];
  /** How often it says what cannot be, in this session. */
  wildness = 0;
  lastStage = 0;
  secret: Buffer = Buffer.alloc(32);
  nextId = 2;
  commit = 1n;
  operations = 0;

  constructor(random: Random) {
    this.random = random;
  }

  chance(share: number): boolean {
    return this.random() < share;
  }

  isWild(): boolean {
    return this.random() < this.wildness;
  }

  begin({ secret, watermark, nextId }: Welcome): void {
    this.secret = secret;
    this.commit = watermark + 1n;
    this.nextId = Math.max(this.nextId, nextId);
    this.operations = 0;
    this.stages = [];
    this.wildness = pick(this.random, [0, 0, 0.005, 0.1]);
  }

  message(): Message {
    const { random } = this;
    if (this.isWild()) return randomMessage(random);
    const wild = this.isWild() ? BigInt(randomInteger(random, 3)) - 1n : 0n;
    const commit = this.commit + wild > 0n ? this.commit + wild : 1n;
    const kind = pick(random, kinds);
    const open = this.stages.length > 0 ? pick(random, this.stages) : undefined;
    const stage = this.isWild() ? randomInteger(random, 40) : (open?.stage ?? 0);
    switch (open || kind !== 'data' ? kind : 'open') {
      case 'operations': {
        const count = Math.min(1 + randomInteger(random, 5), 250 - this.operations);
        const all = Array.from({ length: Math.max(count, 1) }, () => this.operation());
        this.operations += all.length;
        return { type: MessageType.Operations, commit, operations: all };
      }
      case 'end': {
        const operationCount = this.isWild() ? 7 : Math.min(this.operations, 256);
        this.operations = 0;
        this.commit++;
        return { type: MessageType.CommitEnd, commit, operationCount };
      }
      case 'offer': {
        const ids = Array.from({ length: 1 + randomInteger(random, 20) }, () => {
          const { bytes } = this.file();
          return blockId(this.secret, bytes);
        });
        return { type: MessageType.Offer, batch: 1, ids: Buffer.concat(ids) };
      }
      case 'grains': {
        const grainSize = pick(random, [64, 512, 1024]);
        const files = Array.from({ length: 1 + randomInteger(random, 3) }, () => {
          const { id, version, bytes } = this.file();
          const ranges = Array.from({ length: 1 + randomInteger(random, 3) }, () => {
            const offset = randomInteger(random, this.isWild() ? 2 ** 40 : bytes.length);
            const size = 1 + randomInteger(random, this.isWild() ? 4_000_000 : 9000);
            return { offset, size };
          });
          return { id, version, ranges };
        });
        return { type: MessageType.GetGrains, batch: 1, factor: 5n, grainSize, files };
      }
      case 'open': {
        const { id, version } = this.file();
        const size = this.isWild() ? 100 : pick(random, [3_000_000, 5_000_000, 2 ** 53 - 1]);
        const baseVersion = this.chance(0.5) ? version : 0;
        const fresh = this.isWild() ? stage : ++this.lastStage;
        if (this.stages.length > 20) return { type: MessageType.InSync };
        this.stages.push({ stage: fresh, id, filled: 0, hasBase: baseVersion > 0 });
        return { type: MessageType.StageOpen, stage: fresh, id, size, baseVersion };
      }
      case 'data': {
        const pieces = this.pieces({ hasBase: open?.hasBase === true });
        if (open) for (const piece of pieces) open.filled += sizeOf(piece);
        return { type: MessageType.StageData, stage, pieces };
      }
      case 'abort':
        if (!open) return { type: MessageType.InSync };
        this.stages = this.stages.filter(one => one !== open);
        return { type: MessageType.StageAbort, stage };
      case 'ask':
        return pick<Message>(random, [
          { type: MessageType.ListDigests },
          { type: MessageType.GetListing, ids: [pick(random, this.directories)] },
          { type: MessageType.InSync },
          { type: MessageType.Ping, token: 1n },
        ]);
    }
  }

  operation(): Operation {
    const { random } = this;
    const parent = this.chance(0.01)
      ? nodeId(1 + randomInteger(random, 99))
      : pick(random, this.directories);
    const at = { parent, name: pick(random, names) };
    const known = this.places.length > 0 ? pick(random, this.places) : undefined;
    const kind = pick(random, operationKinds);
    switch (kind) {
      case 'directory': {
        const entry = this.entry('directory', this.id(known?.entry.id));
        this.directories.push(entry.id);
        return this.place({ kind, ...at, entry });
      }
      case 'link':
        return this.place({ kind, ...at, entry: this.entry('link', this.id(known?.entry.id)) });
      case 'file': {
        const staged = this.chance(0.2) ? this.stages.shift() : undefined;
        if (staged) {
          const { stage, id, filled } = staged;
          const size = this.isWild() ? 77 : filled;
          const entry = { ...this.entry('file', id), size, version: 1 + randomInteger(random, 9) };
          return this.place({ kind, ...at, entry, content: { kind: 'stage', stage } });
        }
        const file = this.chance(0.5) ? this.file() : this.newFile();
        const baseVersion = this.chance(0.5) ? file.version : 0;
        const pieces = this.pieces({ content: file.bytes, hasBase: baseVersion > 0 });
        if (this.chance(0.5)) file.version++;
        const size = pieces.reduce((sum, piece) => sum + sizeOf(piece), 0);
        const entry = { ...this.entry('file', file.id), size, version: file.version };
        const content = { kind: 'inline', baseVersion, pieces } as const;
        return this.place({ kind, ...at, entry, content });
      }
      case 'hardlink': {
        const { id, version, bytes } = this.file();
        const entry = { ...this.entry('file', id), version, size: bytes.length };
        return this.place({ kind, ...at, entry });
      }
      case 'rename': {
        const from = known ?? { ...at, entry: this.entry('link', this.id(undefined)) };
        return { kind, fromParent: from.parent, fromName: from.name, ...at, entry: from.entry };
      }
      case 'remove':
        return { kind, ...(known ?? at), id: known?.entry.id ?? nodeId(9) };
      case 'attributes': {
        if (known) return { kind, ...known, entry: { ...known.entry, mtimeNs: 5n } };
        const entry = { ...this.entry('directory', rootId), mode: 0o755 };
        return { kind, parent: 0, name: '', entry };
      }
    }
  }

  /** Mostly a new one. */
  id(known: NodeId | undefined): NodeId {
    if (known !== undefined && this.chance(0.1)) return known;
    return nodeId(this.nextId++);
  }

  entry(kind: Entry['kind'], id: NodeId): Entry {
    const { random } = this;
    const target = kind === 'link' ? pick(random, ['..', '/', 'a', '../outside']) : '';
    const modes = { file: 0o644, directory: 0o755, link: 0o777 };
    return {
      ...{ kind, id, size: target.length, target, version: kind === 'file' ? 1 : 0 },
      mode: kind !== 'link' && this.chance(0.1) ? randomInteger(random, 0o10000) : modes[kind],
      mtimeNs: pick(random, [0n, 1_600_000_000_000_000_000n, -1n, 2n ** 63n - 1n, -(2n ** 63n)]),
      stamp: noStamp,
    };
  }

  place<T extends Operation & { parent: NodeId; name: Name; entry: Entry }>(operation: T): T {
    const { parent, name: at, entry } = operation;
    this.places.push({ parent, name: at, entry });
    if (this.places.length > 40) this.places.shift();
    return operation;
  }

  file(): { id: NodeId; version: number; bytes: Buffer } {
    return this.files.length > 0 && this.chance(0.9)
      ? pick(this.random, this.files)
      : this.newFile();
  }

  newFile(): { id: NodeId; version: number; bytes: Buffer } {
    const size = pick(this.random, [1, 255, 300, 9000]);
    const file = { id: this.id(undefined), version: 1, bytes: randomBytes(this.random, size) };
    this.files.push(file);
    if (this.files.length > 20) this.files.shift();
    return file;
  }

  pieces(of: { readonly content?: Buffer; readonly hasBase: boolean }): readonly Piece[] {
    return Array.from({ length: randomInteger(this.random, 4) }, () => this.piece(of));
  }

  piece({ content = this.file().bytes, hasBase }: { content?: Buffer; hasBase: boolean }): Piece {
    const { random, secret } = this;
    const size = content.length;
    const id = this.chance(0.97) ? blockId(secret, content) : randomBytes(random, 16);
    const all = ['data', 'data', 'block', 'block', 'zero', 'copy', 'patch'] as const;
    switch (pick(random, hasBase || this.isWild() ? all : all.slice(0, 5))) {
      case 'data':
        return { kind: 'data', id, bytes: content };
      case 'block':
        return { kind: 'block', id, size: this.chance(0.95) ? size : 1 };
      case 'zero':
        return { kind: 'zero', id: this.isWild() ? id : zeroBlockId(secret, 300), size: 300 };
      case 'copy':
        return {
          kind: 'copy',
          from: randomInteger(random, 3),
          count: 1 + randomInteger(random, 2),
        };
      case 'patch': {
        const copies = size > 2 ? [{ at: 1, from: randomInteger(random, 9), size: size - 2 }] : [];
        return { kind: 'patch', id, size, patch: encodePatch(content, copies) };
      }
    }
  }
}

const kinds = [
  ...(['operations', 'operations', 'operations', 'end', 'end', 'offer', 'grains', 'open'] as const),
  ...(['data', 'data', 'abort', 'ask'] as const),
] as const;
const operationKinds = [
  ...(['directory', 'link', 'file', 'file', 'file', 'hardlink', 'rename', 'rename'] as const),
  ...(['remove', 'attributes'] as const),
] as const;

/** Of a copy nobody knows it here. */
function sizeOf(piece: Piece): number {
  if (piece.kind === 'copy') return 9000;
  return piece.kind === 'data' ? piece.bytes.length : piece.size;
}

export interface FuzzedReceiver {
  readonly messages: number;
  readonly sessions: number;
  /** By how they ended. */
  readonly endings: Readonly<Record<string, number>>;
}

/**
 * Sessions with one receiver of its own below `folder`, an empty one. Throws for an internal error,
 * for records that are not what the tree holds, and when a good sender is not served after each.
 */
export async function fuzzReceiver(options: {
  readonly folder: string;
  readonly seed: number;
  readonly sessions: number;
}): Promise<FuzzedReceiver> {
  const { folder, seed, sessions } = options;
  const root = `${folder}/root`;
  fs.mkdirSync(root);
  fs.writeFileSync(`${folder}/outside`, 'untouched');
  const outside = fs.statSync(`${folder}/outside`, { bigint: true }).ctimeNs;
  const { log, lines } = collectingLog();
  const receiver = await Receiver.open({ ...receiverDefaults, root, fsync: 'off', keepMs: 0, log });
  // A verification's pauses hold no process open; a listener would.
  const holding = setInterval(() => {}, 1000);
  try {
    return await fuzzSessions(receiver, { root, seed, sessions, lines });
  } finally {
    clearInterval(holding);
    await receiver.close();
    assert.equal(fs.statSync(`${folder}/outside`, { bigint: true }).ctimeNs, outside);
    assert.deepEqual(fs.readdirSync(folder).sort(), ['outside', 'root']);
  }
}

async function fuzzSessions(
  receiver: Receiver,
  options: {
    readonly root: string;
    readonly seed: number;
    readonly sessions: number;
    readonly lines: readonly string[];
  },
): Promise<FuzzedReceiver> {
  const { root, seed, sessions, lines } = options;
  const random = seededRandom(seed);
  const world = new World(random);
  const endings: Record<string, number> = {};
  let messages = 0;
  for (let i = 0; i < sessions; i++) {
    const { count, ending } = await oneSession(receiver, world);
    messages += count;
    endings[ending] = (endings[ending] ?? 0) + 1;
    const bad = lines.filter(line => line.startsWith('error'));
    assert.deepEqual(bad, [], `session ${i}`);
    if (i % 10 === 9 || i === sessions - 1) await audit(receiver, root);
  }
  return { messages, sessions, endings };
}

async function oneSession(
  receiver: Receiver,
  world: World,
): Promise<{ readonly count: number; readonly ending: string }> {
  const { random } = world;
  const [stream, theirs] = memoryDuplexPair();
  const served = receiver.serve(Connection.over(theirs, { checksum: false, peer: 'fuzz' }));
  const peer = new RawPeer(stream);
  const role = random() < 0.9 ? 'sender' : 'verifier';
  const ids = { sourceId: Buffer.alloc(16, 1), instanceId: Buffer.alloc(16, 2) };
  await peer.send(helloOf(role, ids));
  const welcome = await peer.until(MessageType.Welcome);
  let count = 1;
  if (welcome) world.begin(welcome);
  for (const end = 5 + randomInteger(random, 40); count < end; count++) {
    const message = role === 'sender' ? world.message() : verifierMessage(world);
    const good = encodeMessage(message);
    const payload = world.isWild() ? mutateBytes(random, good) : good;
    await peer.write(frameOf(message.type, payload));
  }
  const ending = random() < 0.8 ? await lastWord(peer) : 'cut';
  peer.close();
  await served;
  return { count, ending };
}

/** Once everything before was handled. */
async function lastWord(peer: RawPeer): Promise<string> {
  await peer.send({ type: MessageType.Ping, token: 77n });
  for (;;) {
    const message = await peer.next();
    if (message === undefined) return 'closed';
    if (message.type === MessageType.Failure) return message.code;
    if (message.type === MessageType.Pong && message.token === 77n) return 'alive';
  }
}

function verifierMessage(world: World): Message {
  const { random } = world;
  if (random() < 0.1) return randomMessage(random);
  if (random() < 0.5) {
    return { type: MessageType.Verify, content: true, ids: [pick(random, world.directories)] };
  }
  const known = world.places.map(({ parent, name: at, entry }) => {
    return { parent, name: at, id: entry.id, isOther: random() < 0.5 };
  });
  return { type: MessageType.Mistrust, entries: known.slice(0, randomInteger(random, 4)) };
}

/** A good sender is served, and what it is told is what the tree holds. */
async function audit(receiver: Receiver, root: string): Promise<void> {
  const sender = await FakeSender.open(receiver);
  const fresh = sender.file(rootId, 'audit', `${sender.nextCommit}`);
  assert.deepEqual((await sender.commit([fresh])).rejected, []);
  const entries = await listEntries(sender);
  await sender.close();
  const paths = new Map<NodeId, string>([[rootId, '']]);
  const told = new Map<string, string>();
  // A directory may be listed before its parent is.
  for (let before = -1; told.size > before; ) {
    before = told.size;
    for (const { parent, name: at, entry } of entries) {
      const folder = paths.get(parent);
      if (folder === undefined) continue;
      const path = folder === '' ? at : `${folder}/${at}`;
      // The size of a file is what the sender said, and it may have lied.
      told.set(path, `${entry.kind} ${entry.target}`);
      if (entry.kind === 'directory') paths.set(entry.id, path);
    }
  }
  assert.equal(told.size, entries.length, 'each record has a path, and each path one record');
  const found = new Map<string, string>();
  for (const [path, text] of readModelTree(root)) {
    if (path === '.replica' || path.startsWith('.replica/')) continue;
    const [kind, , , , target] = text.split(' ');
    found.set(path, `${kind} ${target}`);
  }
  assert.deepEqual([...told].sort(), [...found].sort(), 'the records and the tree');
}
