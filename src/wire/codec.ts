// Messages to bytes and back. Layouts are fixed and big endian; PROTOCOL.md has the tables.
//
// decodeMessage returns a message or throws ERR_PROTOCOL naming the field, whatever the bytes are:
// counts are checked against a bound and against the bytes left before anything is built.
// Law: decodeMessage(m.type, encodeMessage(m)) = m, and there is one encoding of each message.
import assert from 'node:assert/strict';
import { ReplicaError } from '../errors.ts';
import {
  commitOperationsMax,
  getListingIdsMax,
  listingEntriesMax,
  payloadSizeMax,
} from '../limits.ts';
import type { NodeId, PlacedEntry } from '../snapshot/entry.ts';
import { encodedEntrySize, readEntry, readName, readNodeId } from '../snapshot/entry-codec.ts';
import { FieldReader } from '../snapshot/field-reader.ts';
import { FieldWriter } from '../snapshot/field-writer.ts';
import type { Name } from '../snapshot/name.ts';
import { blockMessageSize, readBlockMessage, writeBlockMessage } from './block-codec.ts';
import { readMany, writeCount } from './counts.ts';
import {
  type Failure,
  type Hello,
  type Lost,
  type Message,
  MessageType,
  protocolMagic,
  protocolMajor,
  type Rejected,
} from './messages.ts';
import {
  operationSize,
  piecesSize,
  readOperation,
  readPieces,
  writeOperation,
  writePieces,
} from './operation-codec.ts';
import { readText, textBytes, writeText } from './text.ts';
import {
  isVerifyType,
  readVerifyMessage,
  verifyMessageSize,
  writeVerifyMessage,
} from './verify-codec.ts';

const nodeIdSize = 6;
const digestSize = 16;
const secretSize = 32;
const roles: readonly Hello['role'][] = ['sender', 'receiver', 'verifier'];
const failureCodes: readonly Failure['code'][] = [
  'version',
  'protocol',
  'foreign',
  'fenced',
  'busy',
  'io',
  'shutdown',
  'bug',
  'unable',
];
const rejections: readonly Rejected['reason'][] = ['gone', 'blocks', 'refused', 'base', 'xattrs'];

/** The payload of `message` in a new Buffer. */
export function encodeMessage(message: Message): Buffer {
  const bytes = Buffer.allocUnsafe(encodedSize(message));
  assert.equal(writeMessage(message, bytes, 0), bytes.length);
  return bytes;
}

/** Bytes of the payload of `message`. At most payloadSizeMax may be sent. */
export function encodedSize(message: Message): number {
  switch (message.type) {
    case MessageType.Hello:
      return 52 + textBytes(message.label).length + replicaSize(message);
    case MessageType.Welcome:
      return 16 + 8 + digestSize + 8 + nodeIdSize + secretSize;
    case MessageType.Failure:
      return 3 + textBytes(message.message).length;
    case MessageType.Ping:
    case MessageType.Pong:
    case MessageType.Credit:
    case MessageType.Durable:
      return 8;
    case MessageType.ListDigests:
    case MessageType.InSync:
      return 0;
    case MessageType.DirectoryDigests:
      return 3 + message.directories.length * (nodeIdSize + digestSize);
    case MessageType.GetListing:
      return 2 + message.ids.length * nodeIdSize;
    case MessageType.Listing:
      return message.entries.reduce((size, placed) => size + placedEntrySize(placed), 3);
    case MessageType.Offer:
    case MessageType.Need:
    case MessageType.GetGrains:
    case MessageType.Grains:
      return blockMessageSize(message);
    case MessageType.Operations:
      return message.operations.reduce((size, operation) => size + operationSize(operation), 10);
    case MessageType.CommitEnd:
      return 12;
    case MessageType.Rejected:
      return 13 + textBytes(message.message).length;
    case MessageType.Lost:
      return message.entries.reduce((size, lost) => size + 13 + lost.name.length, 2);
    case MessageType.StageOpen:
      return 22;
    case MessageType.StageData:
      return 4 + piecesSize(message.pieces);
    case MessageType.StageAbort:
      return 4;
    case MessageType.StageRefused:
      return 6 + textBytes(message.message).length;
    default:
      return verifyMessageSize(message);
  }
}

/** Bytes an entry takes in a Listing: at most listingEntriesMax and payloadSizeMax a message. */
function placedEntrySize(placed: PlacedEntry): number {
  return nodeIdSize + encodedEntrySize(placed.name, placed.entry);
}

/**
 * Writes the payload of `message`, which takes encodedSize(message) bytes, at `offset`; returns the
 * offset behind it. Everything is copied: Buffers of the message may change afterwards.
 */
export function writeMessage(message: Message, bytes: Buffer, offset: number): number {
  const writer = new FieldWriter(bytes, offset);
  writeFields(message, writer);
  return writer.offset;
}

function writeFields(message: Message, writer: FieldWriter): void {
  switch (message.type) {
    case MessageType.Hello:
      writer.u32(message.magic);
      writer.u16(message.major);
      writer.u16(message.minor);
      writer.u64(message.features);
      writer.u8(roles.indexOf(message.role) + 1);
      writer.flag(message.takeOver);
      writer.bytes(message.sourceId, 16);
      writer.bytes(message.instanceId, 16);
      writeText(writer, message.label);
      if (message.replica !== undefined) writeText(writer, message.replica);
      return;
    case MessageType.Welcome:
      writer.bytes(message.epoch, 16);
      writer.u64(message.watermark);
      writer.bytes(message.digest, digestSize);
      writer.u64(message.entryCount);
      writer.u48(message.nextId);
      writer.bytes(message.secret, secretSize);
      return;
    case MessageType.Failure:
      writer.u8(failureCodes.indexOf(message.code) + 1);
      writeText(writer, message.message);
      return;
    case MessageType.Ping:
    case MessageType.Pong:
      writer.u64(message.token);
      return;
    case MessageType.Credit:
      writer.u64(message.handledBytes);
      return;
    case MessageType.ListDigests:
    case MessageType.InSync:
      return;
    case MessageType.DirectoryDigests:
      writer.flag(message.last);
      writeCount(writer, message.directories.length, 0, listingEntriesMax);
      for (const { id, digest } of message.directories) {
        writer.u48(id);
        writer.bytes(digest, digestSize);
      }
      return;
    case MessageType.GetListing:
      writeCount(writer, message.ids.length, 1, getListingIdsMax);
      for (const id of message.ids) writer.u48(id);
      return;
    case MessageType.Listing:
      writer.flag(message.last);
      writeCount(writer, message.entries.length, 0, listingEntriesMax);
      for (const { parent, name, entry } of message.entries) {
        writer.u48(parent);
        writer.entry(name, entry);
      }
      return;
    case MessageType.Offer:
    case MessageType.Need:
    case MessageType.GetGrains:
    case MessageType.Grains:
      writeBlockMessage(message, writer);
      return;
    case MessageType.Operations:
      writer.u64(message.commit);
      writeCount(writer, message.operations.length, 1, commitOperationsMax);
      for (const operation of message.operations) writeOperation(writer, operation);
      return;
    case MessageType.CommitEnd:
      writer.u64(message.commit);
      writer.u32(message.operationCount);
      return;
    case MessageType.Durable:
      writer.u64(message.commit);
      return;
    case MessageType.Rejected:
      writer.u64(message.commit);
      writer.u16(message.index);
      writer.u8(rejections.indexOf(message.reason) + 1);
      writeText(writer, message.message);
      return;
    case MessageType.Lost:
      writeCount(writer, message.entries.length, 1, listingEntriesMax);
      for (const { parent, name, id } of message.entries) {
        writer.u48(parent);
        writer.u8(name.length);
        writer.latin1(name);
        writer.u48(id);
      }
      return;
    case MessageType.StageOpen:
      writer.u32(message.stage);
      writer.u48(message.id);
      writer.size(message.size);
      writer.u32(message.baseVersion);
      return;
    case MessageType.StageData:
      writer.u32(message.stage);
      writePieces(writer, message.pieces);
      return;
    case MessageType.StageAbort:
      writer.u32(message.stage);
      return;
    case MessageType.StageRefused:
      writer.u32(message.stage);
      writeText(writer, message.message);
      return;
    default:
      writeVerifyMessage(message, writer);
  }
}

/**
 * The message in `payload`. Its Buffers are views of `payload`: they stay valid while they are
 * referenced, and keep all of it in memory. Texts come out printable: nothing in them controls a
 * terminal. Throws ERR_PROTOCOL.
 *
 * A Hello of another major version is cut short behind its features: the rest may mean anything.
 */
export function decodeMessage(type: number, payload: Buffer): Message {
  if (payload.length > payloadSizeMax) {
    throw new ReplicaError('ERR_PROTOCOL', `payload of ${payload.length} bytes`);
  }
  const reader = new FieldReader(payload);
  const message = readMessage(type, reader);
  const isForeignHello = message.type === MessageType.Hello && message.major !== protocolMajor;
  if (!isForeignHello) reader.end();
  return message;
}

function readMessage(type: number, reader: FieldReader): Message {
  switch (type) {
    case MessageType.Hello:
      return readHello(reader);
    case MessageType.Welcome:
      return {
        type,
        epoch: reader.bytes('epoch', 16),
        watermark: reader.u64('watermark'),
        digest: reader.bytes('digest', digestSize),
        entryCount: reader.u64('entry count'),
        nextId: readNodeId(reader, 'next id'),
        secret: reader.bytes('secret', secretSize),
      };
    case MessageType.Failure: {
      const code = failureCodes[reader.u8('failure code', 1, failureCodes.length) - 1];
      return { type, code: code ?? 'bug', message: readText(reader, 'message') };
    }
    case MessageType.Ping:
    case MessageType.Pong:
      return { type, token: reader.u64('token') };
    case MessageType.Credit:
      return { type, handledBytes: reader.u64('handled bytes') };
    case MessageType.ListDigests:
    case MessageType.InSync:
      return { type };
    case MessageType.DirectoryDigests:
      return {
        type,
        last: reader.flag('last'),
        directories: readMany(
          reader,
          { min: 0, max: listingEntriesMax, itemSizeMin: nodeIdSize + digestSize },
          () => ({ id: readNodeId(reader, 'id'), digest: reader.bytes('digest', digestSize) }),
        ),
      };
    case MessageType.GetListing:
      return {
        type,
        ids: readMany(reader, { min: 1, max: getListingIdsMax, itemSizeMin: nodeIdSize }, () =>
          readNodeId(reader, 'id'),
        ),
      };
    case MessageType.Listing:
      return {
        type,
        last: reader.flag('last'),
        entries: readMany(reader, { min: 0, max: listingEntriesMax, itemSizeMin: 63 }, () => ({
          parent: readNodeId(reader, 'parent'),
          ...readEntry(reader),
        })),
      };
    case MessageType.Offer:
    case MessageType.Need:
    case MessageType.GetGrains:
    case MessageType.Grains:
      return readBlockMessage(type, reader);
    case MessageType.Operations:
      return {
        type,
        commit: readCommit(reader),
        operations: readMany(reader, { min: 1, max: commitOperationsMax, itemSizeMin: 15 }, () =>
          readOperation(reader),
        ),
      };
    case MessageType.CommitEnd:
      return {
        type,
        commit: readCommit(reader),
        operationCount: reader.u32('operation count', 0, commitOperationsMax),
      };
    case MessageType.Durable:
      return { type, commit: readCommit(reader) };
    case MessageType.Rejected:
      return {
        type,
        commit: readCommit(reader),
        index: reader.u16('index', 0, commitOperationsMax - 1),
        reason: rejections[reader.u8('reason', 1, rejections.length) - 1] ?? 'refused',
        message: readText(reader, 'message'),
      };
    case MessageType.Lost:
      return {
        type,
        entries: readMany(reader, { min: 1, max: listingEntriesMax, itemSizeMin: 14 }, () =>
          readLostEntry(reader),
        ),
      };
    case MessageType.StageOpen:
      return {
        type,
        stage: reader.u32('stage'),
        id: readNodeId(reader, 'id'),
        size: reader.size('size'),
        baseVersion: reader.u32('base version'),
      };
    case MessageType.StageData:
      return { type, stage: reader.u32('stage'), pieces: readPieces(reader) };
    case MessageType.StageAbort:
      return { type, stage: reader.u32('stage') };
    case MessageType.StageRefused:
      return { type, stage: reader.u32('stage'), message: readText(reader, 'message') };
    default:
      if (isVerifyType(type)) return readVerifyMessage(type, reader);
      throw new ReplicaError('ERR_PROTOCOL', `message of unknown type ${type}`);
  }
}

/** The name takes no room where there is none: so it was before there were names. */
function replicaSize({ replica }: Hello): number {
  return replica === undefined ? 0 : 2 + textBytes(replica).length;
}

const noId = Buffer.alloc(16);

function readHello(reader: FieldReader): Hello {
  const type = MessageType.Hello;
  const magic = reader.u32('magic');
  if (magic !== protocolMagic) reader.fail('magic', 'is not that of replica');
  const major = reader.u16('major');
  const minor = reader.u16('minor');
  const features = reader.u64('features');
  if (major !== protocolMajor) {
    const unread = { sourceId: noId, instanceId: noId, label: '', takeOver: false };
    return { type, magic, major, minor, features, role: 'sender', ...unread };
  }
  const hello = {
    type,
    magic,
    major,
    minor,
    features,
    role: roles[reader.u8('role', 1, roles.length) - 1] ?? 'sender',
    takeOver: reader.flag('take over'),
    sourceId: reader.bytes('source id', 16),
    instanceId: reader.bytes('instance id', 16),
    label: readText(reader, 'label'),
  };
  if (reader.left === 0) return hello;
  const replica = readText(reader, 'replica');
  return replica === '' ? reader.fail('replica', 'is empty') : { ...hello, replica };
}

function readLostEntry(reader: FieldReader): Lost['entries'][number] {
  const parent: NodeId = readNodeId(reader, 'parent');
  const name: Name = readName(reader);
  return { parent, name, id: readNodeId(reader, 'id') };
}

function readCommit(reader: FieldReader): bigint {
  const commit = reader.u64('commit');
  if (commit === 0n) reader.fail('commit', 'is 0');
  return commit;
}
