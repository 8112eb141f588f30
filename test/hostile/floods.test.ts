// Peers that hold the key and pour: what they cost the receiver does not grow with what they send.

import { brotliCompressSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { zeroBlockId } from '../../src/blocks/block-id.ts';
import { offerIdsMax, packedSizeMax, payloadSizeMax, smallBlocksMax } from '../../src/limits.ts';
import { encodeFrame } from '../../src/wire/frame.ts';
import { type Message, MessageType } from '../../src/wire/messages.ts';
import { packedType } from '../../src/wire/packed.ts';
import { rootId } from '../support/fake-sender.ts';
import { HostileScene, hostileHello, xattrFeatures } from '../support/hostile-scene.ts';
import { nodeId } from '../support/messages.ts';
import { randomBytes, seededRandom } from '../support/random.ts';
import { frameOf, type RawPeer } from '../support/raw-peer.ts';
import { ownShare } from '../support/seeds.ts';

type Flood = (scene: HostileScene, round: number) => Promise<void>;

const times = (count: number, message: Message): Buffer => {
  return Buffer.concat(Array.from({ length: count }, () => encodeFrame(message)));
};

/** Pours, waits until all of it was handled or the receiver has enough, and goes. */
const pour =
  (role: 'sender' | 'verifier', make: (round: number) => readonly Buffer[]): Flood =>
  async (scene, round) => {
    const peer = await scene.raw(role);
    await peer.write(...make(round));
    await done(peer);
  };

async function done(peer: RawPeer): Promise<void> {
  await peer.send({ type: MessageType.Ping, token: 99n });
  for (;;) {
    const message = await peer.until(MessageType.Pong, MessageType.Failure);
    if (message?.type !== MessageType.Pong || message.token === 99n) break;
  }
  peer.close();
}

const data: Message = {
  type: MessageType.StageData,
  stage: 1,
  pieces: [{ kind: 'data', id: Buffer.alloc(16), bytes: Buffer.alloc(65_536) }],
};
const open: Message = {
  ...{ type: MessageType.StageOpen, stage: 1, id: nodeId(900), size: 2 ** 53 - 1 },
  baseVersion: 0,
};
const bomb = brotliCompressSync(Buffer.alloc(4 * packedSizeMax));

const floods: Readonly<Record<string, Flood>> = {
  pings: pour('sender', () => [times(10_000, { type: MessageType.Ping, token: 1n })]),
  offers: pour('sender', round => {
    const random = seededRandom(round);
    return Array.from({ length: 12 }, (_, batch) => {
      const ids = randomBytes(random, 16 * offerIdsMax);
      return encodeFrame({ type: MessageType.Offer, batch, ids });
    });
  }),
  'questions about grains': pour('sender', round => [
    times(500, {
      ...{ type: MessageType.GetGrains, batch: 1, factor: BigInt(round), grainSize: 1024 },
      files: [{ id: nodeId(2), version: 1, ranges: [{ offset: 0, size: 64 * 1024 * 1024 }] }],
    }),
  ]),
  questions: pour('sender', () => [times(500, { type: MessageType.ListDigests })]),
  verification: pour('verifier', () => [
    times(500, { type: MessageType.Verify, content: true, ids: [rootId] }),
  ]),
  'stages that come to nothing': pour('sender', () => [
    encodeFrame(open),
    times(150, data),
    encodeFrame({ type: MessageType.StageAbort, stage: 1 }),
    encodeFrame({ type: MessageType.InSync }),
  ]),
  'frames that never end': async scene => {
    const peers = [];
    for (let i = 0; i < 8; i++) {
      const peer = await scene.raw('sender');
      await peer.write(frameOf(MessageType.StageData, Buffer.alloc(9), payloadSizeMax));
      peers.push(peer);
    }
    for (const peer of peers) peer.close();
  },
  bombs: async scene => {
    for (let i = 0; i < 8; i++) {
      const peer = await scene.raw('stranger');
      await peer.send({ ...hostileHello('sender'), features: 1n | xattrFeatures });
      await peer.until(MessageType.Welcome);
      const head = Buffer.from([1, 0, 8, 0, 0]);
      await peer.write(frameOf(packedType, Buffer.concat([head, bomb])));
      await done(peer);
    }
  },
};

const warmUp = 2;
const rounds = 3;
/** Of what is poured in a round, 15 MB, a leak would keep much more. */
const growthMiBMax = 24;

async function pourIn(t: Test): Promise<void> {
  const scene = await HostileScene.open(t);
  const figures: number[] = [];
  for (let round = 0; round < warmUp + rounds; round++) {
    for (const flood of Object.values(floods)) await flood(scene, round);
    t.strictSame(await scene.good(), [], `round ${round}: the next client is served`);
    figures.push(Math.round(scene.memoryMiB()));
  }
  t.comment(`RssAnon after each round: ${figures.join(', ')} MiB`);
  const growth = Math.min(...figures.slice(-2)) - Math.max(...figures.slice(0, warmUp));
  t.ok(growth < growthMiBMax, `grew by ${growth} MiB`);
  t.strictSame(scene.faults(), []);
}

async function digIn(t: Test): Promise<void> {
  const scene = await HostileScene.open(t);
  const sender = await scene.client();
  let parent = rootId;
  let refused = 0;
  for (let level = 0; level < 1500; ) {
    const all = [];
    for (let i = 0; i < 250; i++, level++) {
      const made = sender.directory(parent, 'd');
      parent = made.entry.id;
      all.push(made);
    }
    refused += (await sender.commit(all)).rejected.length;
  }
  await sender.close();
  t.ok(refused > 0, `${refused} of them are rejected`);
  t.strictSame(await scene.good(), [], 'the next client is served');
  t.match(await scene.converge(), { code: 0, differences: [] }, 'and the owner clears them away');
  t.strictSame(scene.faults(), []);
}

/** Each block takes 18 bytes of memory, also one of a byte that takes 2 on the wire. */
async function splinter(t: Test): Promise<void> {
  const scene = await HostileScene.open(t);
  for (const count of [smallBlocksMax, smallBlocksMax + 2]) {
    const peer = await scene.raw('sender');
    const id = zeroBlockId(peer.welcome?.secret ?? Buffer.alloc(32), 1);
    const pieces = times(1, {
      ...{ type: MessageType.StageData, stage: 1 },
      pieces: Array.from({ length: count }, () => ({ kind: 'zero', id, size: 1 }) as const),
    });
    await peer.write(encodeFrame(open), pieces);
    await peer.send({ type: MessageType.Ping, token: 7n });
    const answer = await peer.until(MessageType.Pong, MessageType.Failure);
    const isFew = count === smallBlocksMax;
    t.equal(answer?.type, isFew ? MessageType.Pong : MessageType.Failure, `${count} of a byte`);
    peer.close();
  }
  t.strictSame(await scene.good(), [], 'the next client is served');
  t.strictSame(scene.faults(), []);
}

const stories = [
  { name: 'a file of tiny blocks', run: splinter },
  { name: 'memory does not grow with what is poured in', run: pourIn },
  { name: 'directories far deeper than any path', run: digIn },
];
for (const { name, run } of ownShare(stories)) t.test(name, run);
