// Frames from a peer that holds the key: in the wrong state, of no known type, cut, over-long,
// packed to burst, and with names that no directory can hold.

import { brotliCompressSync, constants } from 'node:zlib';
import t from 'tap';
import { packedSizeMax, payloadSizeMax } from '../../src/limits.ts';
import { type Entry, noStamp, rootId } from '../../src/snapshot/entry.ts';
import { encodeMessage } from '../../src/wire/codec.ts';
import { type Message, MessageType, type Operation } from '../../src/wire/messages.ts';
import { packedType } from '../../src/wire/packed.ts';
import { allowedMessages } from '../../src/wire/session-state.ts';
import { HostileScene, hostileHello, xattrFeatures } from '../support/hostile-scene.ts';
import { name, nodeId, randomMessage, welcome } from '../support/messages.ts';
import { seededRandom } from '../support/random.ts';
import { frameOf, type RawPeer } from '../support/raw-peer.ts';
import { ownShare } from '../support/seeds.ts';

type Role = 'sender' | 'verifier' | 'stranger';

interface Row {
  readonly what: string;
  readonly role: Role;
  readonly say: (peer: RawPeer) => Promise<void>;
  /** Undefined: it ends without a word. */
  readonly code: 'protocol' | undefined;
}

const types = [0, ...Object.values(MessageType), 8, 9, 23, 99, 255];

function statesOf(role: Role): readonly Row[] {
  const allowed: ReadonlySet<number> =
    role === 'stranger' ? allowedMessages.sender.greeting : allowedMessages[role].open;
  return types
    .filter(type => !allowed.has(type))
    .map(type => ({
      ...{ what: `type ${type} from a ${role}`, role, code: 'protocol' },
      say: peer => peer.write(frameOf(type, payloadOf(type))),
    }));
}

/** A good one, so that nothing but the state is wrong. */
function payloadOf(type: number): Buffer {
  if (!Object.values<number>(MessageType).includes(type)) return Buffer.alloc(0);
  for (let seed = 1; ; seed++) {
    const message = randomMessage(seededRandom(seed));
    if (message.type === type) return encodeMessage(message);
  }
}

const hello = encodeMessage(hostileHello('sender'));
/** 64 MiB from a few bytes. */
const bomb = brotliCompressSync(Buffer.alloc(64 * 1024 * 1024), {
  params: { [constants.BROTLI_PARAM_QUALITY]: 1 },
});
const packed = (size: number, bytes: Buffer, codec = 1): Buffer => {
  const head = Buffer.from([codec, 0, 0, 0, 0]);
  head.writeUInt32BE(size, 1);
  return frameOf(packedType, Buffer.concat([head, bytes]));
};
/** Greets as one that packs, and goes on at once. */
const packing = (...frames: readonly Buffer[]): Row['say'] => {
  return async peer => {
    await peer.send({ ...hostileHello('sender'), features: 1n | xattrFeatures });
    await peer.until(MessageType.Welcome);
    await peer.write(...frames);
  };
};

const frames: readonly Row[] = [
  ...statesOf('stranger'),
  ...statesOf('sender'),
  ...statesOf('verifier'),
  row('a second hello', 'sender', frameOf(MessageType.Hello, hello)),
  row('a hello within 4 KiB and over', 'stranger', frameOf(1, Buffer.alloc(0), 4097)),
  row('a frame of 1 MiB and a byte', 'sender', frameOf(41, Buffer.alloc(0), payloadSizeMax + 1)),
  row('a frame of 4 GiB', 'sender', frameOf(41, Buffer.alloc(0), 2 ** 32 - 1)),
  row('a frame of 2 GiB', 'stranger', frameOf(1, Buffer.alloc(0), 2 ** 31)),
  row('HTTP', 'stranger', Buffer.from('GET / HTTP/1.1\r\n\r\n')),
  row('packed frames before the hello', 'stranger', packed(100, bomb)),
  row('packed frames that nobody asked for', 'sender', packed(100, bomb, 3)),
  { what: 'a bomb', role: 'stranger', code: 'protocol', say: packing(packed(packedSizeMax, bomb)) },
  {
    ...{ what: 'a bomb that says how large it is', role: 'stranger', code: 'protocol' },
    say: packing(packed(2 ** 32 - 1, bomb)),
  },
  {
    ...{ what: 'packed frames of no codec', role: 'stranger', code: 'protocol' },
    say: packing(packed(100, bomb, 9)),
  },
  {
    ...{ what: 'packed noise', role: 'stranger', code: 'protocol' },
    say: packing(packed(100, Buffer.from('not brotli at all'))),
  },
  {
    ...{ what: 'packed frames in packed frames', role: 'stranger', code: 'protocol' },
    say: packing(packed(packed(9, bomb).length, brotliCompressSync(packed(9, bomb)))),
  },
  {
    ...{ what: 'an end within a frame', role: 'sender', code: undefined },
    say: async peer => {
      await peer.write(frameOf(MessageType.Offer, Buffer.alloc(3), 22));
      peer.socket.end();
    },
  },
  {
    ...{ what: 'an end without a word', role: 'stranger', code: undefined },
    say: async peer => void peer.socket.end(),
  },
  {
    ...{ what: 'a commit after its Failure', role: 'sender', code: undefined },
    say: async peer => {
      const commit = (peer.welcome?.watermark ?? 0n) + 1n;
      await peer.send(
        { type: MessageType.Failure, code: 'shutdown', message: '' },
        { type: MessageType.CommitEnd, commit, operationCount: 0 },
      );
    },
  },
];

function row(what: string, role: Role, bytes: Buffer): Row {
  return { what, role, code: 'protocol', say: peer => peer.write(bytes) };
}

/** In latin1. The first is what stands for the others while they are encoded. */
const badNames = ['', '.', '..', 'a/b', '/', '\0', 'a\0b', '../x', `${'n'.repeat(254)}/`];
const reserved = '.replica';
const standIn = 'Q';

/** Every message that names something, with a place for the name. */
function namingMessages(commit: bigint): readonly { role: Role; message: Message }[] {
  const at = { parent: rootId, name: name(standIn) };
  const entry: Entry = {
    ...{ kind: 'file', id: nodeId(900), mode: 0o644, size: 0, mtimeNs: 0n, stamp: noStamp },
    ...{ version: 1, target: '' },
  };
  const folder = { ...entry, kind: 'directory', version: 0 } as const;
  const link = { ...entry, kind: 'link', mode: 0o777, version: 0, size: 1, target: 'x' } as const;
  const content = { kind: 'inline', baseVersion: 0, pieces: [] } as const;
  const other = { parent: rootId, name: name('other') };
  const all: readonly Operation[] = [
    { kind: 'directory', ...at, entry: folder },
    { kind: 'link', ...at, entry: link },
    { kind: 'file', ...at, entry, content },
    { kind: 'hardlink', ...at, entry },
    { kind: 'rename', fromParent: rootId, fromName: name('other'), ...at, entry },
    { kind: 'rename', fromParent: rootId, fromName: name(standIn), ...other, entry },
    { kind: 'remove', ...at, id: entry.id },
    { kind: 'attributes', ...at, entry },
  ];
  const messages = all.map(operation => ({
    role: 'sender' as const,
    message: { type: MessageType.Operations, commit, operations: [operation] } as const,
  }));
  const entries = [{ ...at, id: entry.id, isOther: false }];
  return [...messages, { role: 'verifier', message: { type: MessageType.Mistrust, entries } }];
}

/** `u8 1, standIn` becomes another name with its length. */
function named(message: Message, text: string): Buffer {
  const payload = encodeMessage(message);
  const at = payload.indexOf(Buffer.from([1, standIn.charCodeAt(0)]));
  const bytes = Buffer.concat([Buffer.from([text.length]), Buffer.from(text, 'latin1')]);
  return Buffer.concat([payload.subarray(0, at), bytes, payload.subarray(at + 2)]);
}

const names: readonly Row[] = namingMessages(1n).flatMap(({ role, message }, i) => {
  // What is not below the root may be called so; Mistrust of it is answered, not obeyed.
  const bad = role === 'sender' ? [...badNames, reserved] : badNames;
  return bad.map(text => ({
    ...{ what: `${JSON.stringify(text)} in message ${message.type}, ${i}`, role },
    code: 'protocol' as const,
    say: async (peer: RawPeer) => {
      const commit = (peer.welcome ?? welcome).watermark + 1n;
      const one = namingMessages(commit)[i]?.message ?? message;
      await peer.write(frameOf(one.type, named(one, text)));
    },
  }));
});

t.test('each frame ends one connection', async t => {
  const scene = await HostileScene.open(t);
  for (const { what, role, say, code } of ownShare([...frames, ...names])) {
    const peer = await scene.raw(role);
    await say(peer);
    if (role !== 'stranger') await peer.send({ type: MessageType.Ping, token: 1n });
    const reply = await peer.until(MessageType.Failure, MessageType.Pong);
    peer.close();
    t.equal(reply?.type === MessageType.Pong ? 'taken' : reply?.code, code, what);
  }
  t.comment(`${frames.length} frames, ${names.length} names`);
  t.strictSame(await scene.good(), [], 'the next client is served, another connection stays');
  t.strictSame(scene.faults(), []);
  t.match(await scene.converge(), { code: 0, differences: [] }, 'the owner goes on');
});
