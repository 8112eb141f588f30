// Messages for tests of the wire and of connections: one fixed sample of each type, and random ones.
import { blockSizeMax } from '../../src/limits.ts';
import { type Entry, type NodeId, nodeIdMax } from '../../src/snapshot/entry.ts';
import { isName, type Name } from '../../src/snapshot/name.ts';
import { noId, type Owner } from '../../src/snapshot/owner.ts';
import { packXattrs } from '../../src/snapshot/xattrs.ts';
import {
  type CheckedEntry,
  type Content,
  type Hello,
  type Message,
  MessageType,
  type Operation,
  type Piece,
  protocolMagic,
  type Welcome,
} from '../../src/wire/messages.ts';
import { pick, randomBytes, randomInteger } from './random.ts';

export function nodeId(number: number): NodeId {
  return number as NodeId;
}

export function name(text: string): Name {
  if (!isName(text)) throw new RangeError(text);
  return text;
}

export function helloOf(role: Hello['role'], changes: Partial<Hello> = {}): Hello {
  return {
    type: MessageType.Hello,
    magic: protocolMagic,
    major: 1,
    minor: 0,
    features: 0n,
    role,
    sourceId: Buffer.alloc(16, 0xaa),
    instanceId: Buffer.alloc(16, 0xbb),
    label: 'host:/srv',
    takeOver: false,
    ...changes,
  };
}

export const welcome: Welcome = {
  type: MessageType.Welcome,
  epoch: Buffer.alloc(16, 0xcc),
  watermark: 7n,
  digest: Buffer.alloc(16, 0xdd),
  entryCount: 8n,
  nextId: nodeId(9),
  secret: Buffer.alloc(32, 0xee),
};

export function randomMessage(random: () => number): Message {
  const type = pick(random, Object.values(MessageType));
  switch (type) {
    case MessageType.Hello:
      return helloOf(pick(random, ['sender', 'receiver'] as const), {
        minor: randomInteger(random, 0x10000),
        features: randomU64(random),
        sourceId: randomBytes(random, 16),
        label: randomText(random),
        takeOver: random() < 0.5,
      });
    case MessageType.Welcome:
      return {
        type,
        epoch: randomBytes(random, 16),
        watermark: randomU64(random),
        digest: randomBytes(random, 16),
        entryCount: randomU64(random),
        nextId: randomId(random),
        secret: randomBytes(random, 32),
      };
    case MessageType.Failure: {
      const codes = [
        ...(['version', 'protocol', 'foreign', 'fenced', 'busy', 'io', 'bug', 'unable'] as const),
      ];
      return { type, code: pick(random, codes), message: randomText(random) };
    }
    case MessageType.Ping:
    case MessageType.Pong:
      return { type, token: randomU64(random) };
    case MessageType.Credit:
      return { type, handledBytes: randomU64(random) };
    case MessageType.ListDigests:
    case MessageType.InSync:
      return { type };
    case MessageType.DirectoryDigests:
      return {
        type,
        last: random() < 0.5,
        directories: many(random, 0, () => ({
          id: randomId(random),
          digest: randomBytes(random, 16),
        })),
      };
    case MessageType.GetListing:
      return { type, ids: many(random, 1, () => randomId(random)) };
    case MessageType.Listing:
      return {
        type,
        last: random() < 0.5,
        entries: many(random, 0, () => ({
          parent: randomId(random),
          name: randomName(random),
          entry: randomEntry(random),
        })),
      };
    case MessageType.Offer:
      return { type, batch: randomU32(random), ids: randomBytes(random, 16 * some(random, 1)) };
    case MessageType.Need:
      return { type, batch: randomU32(random), bitmap: randomBytes(random, some(random, 1)) };
    case MessageType.GetGrains:
      return {
        ...{ type, batch: randomU32(random), factor: randomU64(random) },
        grainSize: 64 + randomInteger(random, 961),
        files: many(random, 1, () => ({
          ...{ id: randomId(random), version: 1 + randomInteger(random, 0xffffffff) },
          ranges: many(random, 1, () => {
            return {
              offset: randomInteger(random, 2 ** 48),
              size: 1 + randomInteger(random, 9999),
            };
          }),
        })),
      };
    case MessageType.Grains: {
      const ranges = many(random, 1, () => randomBytes(random, 4 * some(random, 0)));
      return { type, batch: randomU32(random), ranges };
    }
    case MessageType.Operations:
      return {
        type,
        commit: randomU64(random) + 1n,
        operations: many(random, 1, () => randomOperation(random)),
      };
    case MessageType.CommitEnd:
      return { type, commit: 3n, operationCount: randomInteger(random, 257) };
    case MessageType.Durable:
      return { type, commit: randomU64(random) + 1n };
    case MessageType.Rejected: {
      const reason = pick(random, ['gone', 'base', 'blocks', 'refused', 'xattrs'] as const);
      return {
        type,
        commit: 1n,
        index: randomInteger(random, 256),
        reason,
        message: randomText(random),
      };
    }
    case MessageType.Lost:
      return {
        type,
        entries: many(random, 1, () => ({
          parent: randomId(random),
          name: randomName(random),
          id: randomId(random),
        })),
      };
    case MessageType.StageOpen:
      return {
        type,
        stage: randomU32(random),
        id: randomId(random),
        size: randomSize(random),
        baseVersion: randomU32(random),
      };
    case MessageType.StageData:
      return { type, stage: randomU32(random), pieces: many(random, 0, () => randomPiece(random)) };
    case MessageType.StageAbort:
      return { type, stage: randomU32(random) };
    case MessageType.StageRefused:
      return { type, stage: randomU32(random), message: randomText(random) };
    case MessageType.Verify:
      return { type, content: random() < 0.5, ids: many(random, 1, () => randomId(random)) };
    case MessageType.Checked:
      return {
        type,
        last: random() < 0.5,
        entries: many(random, 0, () => randomChecked(random)),
        extras: many(random, 0, () => ({ parent: randomId(random), name: randomName(random) })),
      };
    case MessageType.Mistrust:
      return {
        type,
        entries: many(random, 1, () => ({
          parent: randomId(random),
          name: randomName(random),
          id: random() < 0.2 ? 0 : randomId(random),
          isOther: random() < 0.5,
        })),
      };
    case MessageType.Forgotten:
      return { type, count: randomU32(random), hasSender: random() < 0.5 };
  }
}

export function randomEntry(random: () => number, kind?: Entry['kind']): Entry {
  const chosen = kind ?? pick(random, ['file', 'directory', 'link'] as const);
  const target = chosen === 'link' ? randomLatin1(random, 1 + randomInteger(random, 60)) : '';
  const sizes = { file: randomSize(random), directory: 0, link: target.length };
  const entry: Entry = {
    kind: chosen,
    id: randomId(random),
    mode: chosen === 'link' ? 0o777 : randomInteger(random, 0o10000),
    size: sizes[chosen],
    mtimeNs: randomI64(random),
    stamp: {
      ctimeNs: randomI64(random),
      ino: randomU64(random),
      birthtimeNs: randomI64(random),
    },
    version: chosen === 'file' ? 1 + randomInteger(random, 0xffffffff) : 0,
    target,
  };
  const owned = random() < 0.3 ? { ...entry, owner: randomOwner(random) } : entry;
  return chosen === 'link' || random() < 0.7 ? owned : { ...owned, xattrs: randomXattrs(random) };
}

function randomXattrs(random: () => number): string {
  const names = new Set(many(random, 0, () => `n${randomInteger(random, 1000)}`));
  const value = () => randomBytes(random, randomInteger(random, 20));
  return packXattrs([...names].map(name => ({ name, value: value() }))) ?? '';
}

/** At least one of user and group is kept. */
function randomOwner(random: () => number): Owner {
  const which = randomInteger(random, 3);
  const [uid, user] = which === 0 ? [noId, ''] : randomAccount(random);
  const [gid, group] = which === 1 ? [noId, ''] : randomAccount(random);
  return { uid, gid, user, group };
}

function randomAccount(random: () => number): [id: number, name: string] {
  const name = pick(random, ['', 'ann', 'WORK\\ann b', '\xe9ric', 'x'.repeat(255)]);
  return [randomInteger(random, noId), name];
}

function randomChecked(random: () => number): CheckedEntry {
  const entry = randomEntry(random);
  const isFile = entry.kind === 'file';
  return {
    parent: randomId(random),
    name: randomName(random),
    entry,
    finding: pick(random, [
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
    ]),
    from: isFile ? randomU32(random) : 0,
    blocks: randomBytes(random, isFile ? 18 * some(random, 0) : 0),
  };
}

export function randomName(random: () => number): Name {
  for (;;) {
    const text = randomLatin1(random, 1 + randomInteger(random, pick(random, [1, 12, 255])));
    if (isName(text)) return text;
  }
}

function randomOperation(random: () => number): Operation {
  const parent = randomId(random);
  const kinds = [
    'directory',
    'link',
    'file',
    'hardlink',
    'rename',
    'remove',
    'attributes',
  ] as const;
  const kind = pick(random, kinds);
  const at = { parent, name: randomName(random) };
  switch (kind) {
    case 'directory':
    case 'link':
      return { kind, ...at, entry: randomEntry(random, kind) };
    case 'hardlink':
      return { kind, ...at, entry: randomEntry(random, 'file') };
    case 'file':
      return { kind, ...at, entry: randomEntry(random, 'file'), content: randomContent(random) };
    case 'rename': {
      const from = { fromParent: randomId(random), fromName: randomName(random) };
      return { kind, ...from, ...at, entry: randomEntry(random) };
    }
    case 'remove':
      return { kind, ...at, id: randomId(random) };
    case 'attributes': {
      if (random() < 0.7) return { kind, ...at, entry: randomEntry(random) };
      const entry = { ...randomEntry(random, 'directory'), id: nodeId(1) };
      return { kind, parent: 0, name: '', entry };
    }
  }
}

function randomContent(random: () => number): Content {
  if (random() < 0.3) return { kind: 'stage', stage: randomU32(random) };
  const pieces = many(random, 0, () => randomPiece(random));
  return { kind: 'inline', baseVersion: randomU32(random), pieces };
}

function randomPiece(random: () => number): Piece {
  const id = randomBytes(random, 16);
  const size = 1 + randomInteger(random, pick(random, [1, 200, blockSizeMax]));
  switch (pick(random, ['copy', 'block', 'data', 'zero', 'patch'] as const)) {
    case 'copy':
      return { kind: 'copy', from: randomU32(random) >>> 1, count: 1 + (randomU32(random) >>> 2) };
    case 'block':
      return { kind: 'block', id, size };
    case 'data':
      return { kind: 'data', id, bytes: randomBytes(random, Math.min(size, 300)) };
    case 'zero':
      return { kind: 'zero', id, size };
    case 'patch':
      return { kind: 'patch', id, size, patch: randomBytes(random, Math.min(size, 100)) };
  }
}

function many<T>(random: () => number, min: number, item: () => T): readonly T[] {
  return Array.from({ length: some(random, min) }, item);
}

function some(random: () => number, min: number): number {
  return min + randomInteger(random, pick(random, [1, 4, 12]));
}

function randomId(random: () => number): NodeId {
  return nodeId(pick(random, [2, nodeIdMax, 2 + randomInteger(random, 2 ** 40)]));
}

function randomSize(random: () => number): number {
  return pick(random, [0, 1, Number.MAX_SAFE_INTEGER, randomInteger(random, 2 ** 50)]);
}

function randomU32(random: () => number): number {
  return pick(random, [0, 0xffffffff, randomInteger(random, 2 ** 32)]);
}

function randomU64(random: () => number): bigint {
  return pick(random, [0n, 2n ** 64n - 2n, randomBytes(random, 8).readBigUInt64BE() >> 1n]);
}

function randomI64(random: () => number): bigint {
  const ends = [0n, -1n, 2n ** 63n - 1n, -(2n ** 63n)];
  return pick(random, [...ends, randomBytes(random, 8).readBigInt64BE()]);
}

function randomText(random: () => number): string {
  return pick(random, ['', 'disk full', 'Grüße aus Köln \u{1f600}', 'a\\x1b', 'x'.repeat(1024)]);
}

/** Bytes 1 to 255 but the slash. */
function randomLatin1(random: () => number, length: number): string {
  const codes = Array.from({ length }, () => 1 + randomInteger(random, 255));
  return codes.map(code => String.fromCharCode(code === 0x2f ? 0x5f : code)).join('');
}
