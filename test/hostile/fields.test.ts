// Every field of every message a sender or verifier may send, at its bounds and beyond, through a
// real socket with a valid key. The fields are those the codec reads (support/field-map.ts).
import t, { type Test } from 'tap';
import { blockId, zeroBlockId } from '../../src/blocks/block-id.ts';
import { encodePatch } from '../../src/blocks/block-patch.ts';
import { type Entry, noStamp, rootId } from '../../src/snapshot/entry.ts';
import { encodeMessage } from '../../src/wire/codec.ts';
import {
  type Message,
  MessageType,
  type Operation,
  type Welcome,
} from '../../src/wire/messages.ts';
import { allowedMessages } from '../../src/wire/session-state.ts';
import { mtimeNs } from '../support/fake-sender.ts';
import { type Variant, variantsOf } from '../support/field-map.ts';
import { HostileScene, hostileHello, xattrFeatures } from '../support/hostile-scene.ts';
import { name, nodeId, welcome as someWelcome } from '../support/messages.ts';
import { frameOf } from '../support/raw-peer.ts';
import { ownShare } from '../support/seeds.ts';

interface Sample {
  readonly message: Message;
  readonly role?: 'verifier' | 'stranger';
  /** What must come before it, and after it, to have it carried out. */
  readonly before?: readonly Message[];
  readonly after?: readonly Message[];
  /** What the receiver answers then, unless it refuses. */
  readonly answer?:
    | typeof MessageType.Durable
    | typeof MessageType.Grains
    | typeof MessageType.Pong;
}

const bytes = Buffer.alloc(300, 'x');
/** That each next connection is welcomed shows that the receiver goes on; what it does, a few. */
const goodEach = 25;
const isWhole = process.env.ALL_SEEDS !== undefined;
const ping: Message = { type: MessageType.Ping, token: 7n };

function samplesOf(welcome: Welcome): readonly Sample[] {
  const { secret, nextId } = welcome;
  const commit = welcome.watermark + 1n;
  const entry: Entry = {
    ...{ kind: 'file', id: nodeId(nextId + 1), mode: 0o644, size: bytes.length, mtimeNs },
    ...{ stamp: noStamp, version: 1, target: '' },
  };
  const owner = { uid: 4321, gid: 8765, user: 'nobody', group: 'no such group' };
  const folder: Entry = { ...entry, kind: 'directory', size: 0, version: 0 };
  const at = (text: string) => ({ parent: rootId, name: name(text) });
  const data = { kind: 'data', id: blockId(secret, bytes), bytes } as const;
  const inline = { kind: 'inline', baseVersion: 0, pieces: [data] } as const;
  const file: Operation = { kind: 'file', ...at('f'), entry, content: inline };
  const staged: Operation = { ...file, content: { kind: 'stage', stage: 4 } };
  const moved: Operation = {
    ...{ kind: 'rename', fromParent: rootId, fromName: name('f') },
    ...{ ...at('r'), entry },
  };
  const open: Message = {
    ...{ type: MessageType.StageOpen, stage: 4, id: entry.id, size: bytes.length },
    baseVersion: 0,
  };
  const fill: Message = { type: MessageType.StageData, stage: 4, pieces: [data] };
  const operations = (...all: Operation[]): Message => ({
    ...{ type: MessageType.Operations, commit, operations: all },
  });
  const end = (operationCount: number): Message => {
    return { type: MessageType.CommitEnd, commit, operationCount };
  };
  const alone = (operation: Operation): Sample => {
    return { message: operations(operation), after: [end(1)], answer: MessageType.Durable };
  };
  const second = (operation: Operation): Sample => ({
    ...{ before: [operations(file)], message: operations(operation), after: [end(2)] },
    answer: MessageType.Durable,
  });
  const block = { kind: 'block', id: data.id, size: bytes.length } as const;
  const zero = { kind: 'zero', id: zeroBlockId(secret, 300), size: 300 } as const;
  const patch = encodePatch(bytes, [{ at: 10, from: 0, size: 290 }]);
  const patched = { kind: 'patch', id: data.id, size: 300, patch } as const;
  const copy = { kind: 'copy', from: 0, count: 1 } as const;
  const asked: Message = {
    ...{ type: MessageType.GetGrains, batch: 1, factor: 3n, grainSize: 64 },
    files: [{ id: entry.id, version: 1, ranges: [{ offset: 0, size: bytes.length }] }],
  };
  const next: Operation = { ...file, entry: { ...entry, version: 2 } };
  const xattrs = '\x01a\0\x02\0\xff\x0csecurity.sel\0\0';
  const attributed = [
    alone({ kind: 'directory', ...at('d'), entry: { ...folder, owner, xattrs } }),
    alone({ ...file, entry: { ...entry, xattrs } }),
    second({ kind: 'attributes', ...at('f'), entry: { ...entry, xattrs } }),
  ];
  return [
    { message: hostileHello('sender'), role: 'stranger' },
    { message: { type: MessageType.Ping, token: 1n } },
    { message: { type: MessageType.Pong, token: 1n } },
    { message: { type: MessageType.Failure, code: 'io', message: 'full' } },
    { message: { type: MessageType.ListDigests } },
    { message: { type: MessageType.InSync } },
    { message: { type: MessageType.GetListing, ids: [rootId, entry.id] } },
    { message: { type: MessageType.Offer, batch: 1, ids: data.id } },
    { ...{ before: [operations(file), end(1)], message: asked }, answer: MessageType.Grains },
    alone({ kind: 'directory', ...at('d'), entry: folder }),
    alone({ kind: 'directory', ...at('d'), entry: { ...folder, owner } }),
    ...(xattrFeatures === 0n ? [] : attributed),
    alone({ kind: 'link', ...at('l'), entry: linkTo('../canary') }),
    alone({ kind: 'link', ...at('l'), entry: { ...linkTo('../canary'), owner } }),
    alone(file),
    alone({ ...file, content: { ...inline, pieces: [zero] } }),
    second({ ...file, ...at('g'), content: { ...inline, pieces: [block] } }),
    second({ ...next, content: { ...inline, baseVersion: 1, pieces: [copy] } }),
    second({ ...next, content: { ...inline, baseVersion: 1, pieces: [patched] } }),
    second({ kind: 'hardlink', ...at('h'), entry }),
    second(moved),
    second({ kind: 'remove', ...at('f'), id: entry.id }),
    second({ kind: 'attributes', ...at('f'), entry: { ...entry, mode: 0o600 } }),
    second({ kind: 'attributes', ...at('f'), entry: { ...entry, owner } }),
    alone({ kind: 'attributes', parent: 0, name: '', entry: { ...folder, id: rootId } }),
    { before: [operations(file)], message: end(1), answer: MessageType.Durable },
    { message: open, after: [fill, operations(staged), end(1)], answer: MessageType.Durable },
    {
      ...{ before: [open], message: fill, after: [operations(staged), end(1)] },
      answer: MessageType.Durable,
    },
    {
      ...{ before: [open, fill], message: operations(staged), after: [end(1)] },
      answer: MessageType.Durable,
    },
    { before: [open], message: { type: MessageType.StageAbort, stage: 4 } },
    { message: { type: MessageType.Verify, content: true, ids: [rootId] }, role: 'verifier' },
    {
      role: 'verifier',
      message: {
        type: MessageType.Mistrust,
        entries: [{ ...at('f'), id: entry.id, isOther: true }],
      },
    },
  ];

  function linkTo(target: string): Entry {
    return { ...entry, kind: 'link', mode: 0o777, size: target.length, version: 0, target };
  }
}

/** Sends one; what is wrong with how the receiver took it. */
async function attempt(scene: HostileScene, index: number, at: number): Promise<string[]> {
  const role = samplesOf(someWelcome)[index]?.role;
  const peer = await scene.raw(role);
  const sample = samplesOf(peer.welcome ?? someWelcome)[index];
  if (!sample) throw new RangeError(`sample ${index}`);
  const { message, before = [], after = [], answer = MessageType.Pong } = sample;
  const variant = variantsIn(message)[at];
  if (!variant) throw new RangeError(`variant ${at} of ${message.type}`);
  await peer.send(...before);
  await peer.write(frameOf(message.type, variant.payload));
  await peer.send(...after, ping);
  const reply = await peer.until(answer, MessageType.Failure);
  peer.close();
  const text = `type ${message.type} (sample ${index}), ${variant.name}`;
  const code = reply?.type === MessageType.Failure ? reply.code : undefined;
  const faults: string[] = [];
  if (code !== undefined && code !== 'protocol' && code !== 'version') faults.push(code);
  if (variant.isBeyond && code === undefined) faults.push('taken');
  return faults.map(fault => `${text}: ${fault}`);
}

/** Besides each field: a byte too few, a byte too many. */
function variantsIn(message: Message): readonly Variant[] {
  const payload = encodeMessage(message);
  const longer = Buffer.concat([payload, Buffer.alloc(1)]);
  const variants = [...variantsOf(message.type, payload)];
  variants.push({ name: 'trailing byte', payload: longer, isBeyond: true });
  if (payload.length === 0) return variants;
  return [...variants, { name: 'cut short', payload: payload.subarray(0, -1), isBeyond: true }];
}

async function run(t: Test): Promise<void> {
  const scene = await HostileScene.open(t);
  const cases = samplesOf(someWelcome).flatMap(({ message }, index) =>
    variantsIn(message).map((_, at) => ({ index, at })),
  );
  const own = ownShare(cases).filter((_, i) => isWhole || i % 4 === 0);
  const faults: string[] = [];
  for (const [i, { index, at }] of own.entries()) {
    faults.push(...(await attempt(scene, index, at)));
    if (i % goodEach === 0) faults.push(...(await scene.good()));
  }
  faults.push(...(await scene.good()));
  t.comment(`${cases.length} cases, ${own.length} of them here`);
  t.ok(cases.length > 900, 'fields were found');
  t.strictSame(faults, [], 'each is refused, or means no harm');
  t.strictSame(scene.faults(), []);
  t.match(await scene.converge(), { code: 0, differences: [] }, 'the owner goes on');
}

t.test('a sender that sends any field at its bounds and beyond', run);

t.test('every type that a sender or verifier may send is among the samples', async t => {
  const sampled = new Set(samplesOf(someWelcome).map(({ message }) => message.type));
  const { sender, verifier } = allowedMessages;
  const allowed = [sender, verifier].flatMap(({ greeting, open }) => [...greeting, ...open]);
  t.strictSame(
    allowed.filter(type => !sampled.has(type)),
    [],
  );
});
