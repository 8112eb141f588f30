// Bytes of what a verifier asks and is told. PROTOCOL.md has the tables.
import { checkedBlocksMax, listingEntriesMax, verifyIdsMax } from '../limits.ts';
import { type NodeId, nodeIdMax, rootId } from '../snapshot/entry.ts';
import {
  encodedEntrySize,
  readEntryOrRoot,
  readName,
  readNodeId,
} from '../snapshot/entry-codec.ts';
import type { FieldReader } from '../snapshot/field-reader.ts';
import type { FieldWriter } from '../snapshot/field-writer.ts';
import { readMany, writeCount } from './counts.ts';
import {
  type Checked,
  type CheckedEntry,
  type Finding,
  type Forgotten,
  MessageType,
  type Mistrust,
  type MistrustedName,
  type Verify,
} from './messages.ts';

export type VerifyMessage = Verify | Checked | Mistrust | Forgotten;

const nodeIdSize = 6;
const blockSize = 18;
const findings: readonly Finding[] = [
  'same',
  'missing',
  'type',
  'content',
  'mode',
  'time',
  'unreadable',
  'owner',
  'xattrs',
  'hard link',
];

export function isVerifyType(type: number): type is VerifyMessage['type'] {
  const { Verify, Checked, Mistrust, Forgotten } = MessageType;
  return type === Verify || type === Checked || type === Mistrust || type === Forgotten;
}

/** Bytes an entry takes in a Checked: at most payloadSizeMax a message. */
export function checkedEntrySize({ name, entry, blocks }: CheckedEntry): number {
  return nodeIdSize + encodedEntrySize(name, entry) + 7 + blocks.length;
}

export function verifyMessageSize(message: VerifyMessage): number {
  switch (message.type) {
    case MessageType.Verify:
      return 3 + message.ids.length * nodeIdSize;
    case MessageType.Checked: {
      const extras = message.extras.reduce((size, { name }) => size + 7 + name.length, 0);
      return message.entries.reduce((size, one) => size + checkedEntrySize(one), 5 + extras);
    }
    case MessageType.Mistrust:
      return message.entries.reduce((size, { name }) => size + 14 + name.length, 2);
    case MessageType.Forgotten:
      return 5;
  }
}

export function writeVerifyMessage(message: VerifyMessage, writer: FieldWriter): void {
  switch (message.type) {
    case MessageType.Verify:
      writer.flag(message.content);
      writeCount(writer, message.ids.length, 1, verifyIdsMax);
      for (const id of message.ids) writer.u48(id);
      return;
    case MessageType.Checked:
      writer.flag(message.last);
      writeCount(writer, message.entries.length, 0, listingEntriesMax);
      for (const { parent, name, entry, finding, from, blocks } of message.entries) {
        writer.u48(parent);
        writer.entry(name, entry);
        writer.u8(findings.indexOf(finding) + 1);
        writer.u32(from);
        writeCount(writer, blocks.length / blockSize, 0, checkedBlocksMax);
        writer.bytes(blocks, blocks.length);
      }
      writeCount(writer, message.extras.length, 0, listingEntriesMax);
      for (const { parent, name } of message.extras) {
        writer.u48(parent);
        writer.u8(name.length);
        writer.latin1(name);
      }
      return;
    case MessageType.Mistrust:
      writeCount(writer, message.entries.length, 0, listingEntriesMax);
      for (const { parent, name, id, isOther } of message.entries) {
        writer.u48(parent);
        writer.u8(name.length);
        writer.latin1(name);
        writer.u48(id);
        writer.flag(isOther);
      }
      return;
    case MessageType.Forgotten:
      writer.u32(message.count);
      writer.flag(message.hasSender);
  }
}

export function readVerifyMessage(type: VerifyMessage['type'], reader: FieldReader): VerifyMessage {
  switch (type) {
    case MessageType.Verify: {
      const content = reader.flag('content');
      const bounds = { min: 1, max: verifyIdsMax, itemSizeMin: nodeIdSize };
      return { type, content, ids: readMany(reader, bounds, () => readNodeId(reader, 'id')) };
    }
    case MessageType.Checked: {
      const last = reader.flag('last');
      const bounds = { min: 0, max: listingEntriesMax };
      const entries = readMany(reader, { ...bounds, itemSizeMin: 70 }, () => readChecked(reader));
      const extras = readMany(reader, { ...bounds, itemSizeMin: 8 }, () => ({
        parent: readNodeId(reader, 'parent'),
        name: readName(reader),
      }));
      return { type, last, entries, extras };
    }
    case MessageType.Mistrust: {
      const bounds = { min: 0, max: listingEntriesMax, itemSizeMin: 15 };
      return { type, entries: readMany(reader, bounds, () => readMistrusted(reader)) };
    }
    case MessageType.Forgotten:
      return { type, count: reader.u32('count'), hasSender: reader.flag('has sender') };
  }
}

function readChecked(reader: FieldReader): CheckedEntry {
  const parent = readNodeId(reader, 'parent');
  const placed = readEntryOrRoot(reader);
  if (placed.name === '' && parent !== rootId) reader.fail('name', 'is empty');
  const finding = findings[reader.u8('finding', 1, findings.length) - 1] ?? 'unreadable';
  const from = reader.u32('from');
  const count = reader.u16('block count', 0, checkedBlocksMax);
  if (placed.entry.kind !== 'file' && from + count > 0) reader.fail('block count', "is no file's");
  return { parent, ...placed, finding, from, blocks: reader.bytes('blocks', count * blockSize) };
}

function readMistrusted(reader: FieldReader): MistrustedName {
  const parent = readNodeId(reader, 'parent');
  const name = readName(reader);
  // 0 or a node id: both are checked.
  const id = reader.u48('id', 0, nodeIdMax) as NodeId | 0;
  return { parent, name, id, isOther: reader.flag('is other') };
}
