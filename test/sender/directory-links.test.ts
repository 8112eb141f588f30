import assert from 'node:assert/strict';
import { join } from 'node:path';
import t from 'tap';
import { ConfirmedLayer } from '../../src/sender/confirmed.ts';
import { Observed } from '../../src/sender/observed.ts';
import { type Entry, rootId, toNodeId } from '../../src/snapshot/entry.ts';
import type { Name } from '../../src/snapshot/name.ts';
import { SnapshotStore } from '../../src/store/snapshot-store.ts';
import { receiverState, type TestContext } from '../support/scanning.ts';

const plain = entryOf(2);
const mount = entryOf(3);
const inside = entryOf(4);
const placed = [
  { parent: rootId, name: 'mount' as Name, entry: mount, nlink: 2 },
  { parent: rootId, name: 'plain' as Name, entry: plain, nlink: 1 },
  { parent: plain.id, name: 'inside' as Name, entry: inside, nlink: 2 },
];
const elsewhere = Buffer.alloc(16, 9);

function entryOf(id: number): Entry {
  const stamp = { ino: BigInt(id) + 100n, birthtimeNs: 7n, ctimeNs: 9n };
  return {
    kind: 'directory',
    id: toNodeId(id),
    version: 0,
    mode: 0o755,
    size: 0,
    mtimeNs: 5n,
    stamp,
    target: '',
  };
}

class Layers {
  readonly #folder: string;
  #store: SnapshotStore;
  confirmed: ConfirmedLayer;
  observed: Observed;

  constructor(t: TestContext) {
    this.#folder = join(t.testdir(), 'state');
    this.#store = SnapshotStore.open(this.#folder);
    this.confirmed = new ConfirmedLayer(this.#store);
    this.observed = new Observed(this.confirmed);
    t.teardown(() => this.#store.close());
  }

  /** The process ends and is started again. */
  async restart(): Promise<void> {
    await this.#store.close();
    this.#store = SnapshotStore.open(this.#folder);
    this.confirmed = new ConfirmedLayer(this.#store);
    this.observed = new Observed(this.confirmed);
  }

  /** All three are handed out. */
  send(): number[] {
    return placed.map(({ parent, name, entry, nlink }) =>
      this.observed.queue([{ parent, name, known: { name, entry, nlink } }]),
    );
  }

  /** A connection, over before anything is agreed. */
  connect(): void {
    this.observed.clear();
    this.confirmed.connect({ ...receiverState, digest: elsewhere });
  }

  /** As far as the listings are dropped. */
  begin(): void {
    this.connect();
    this.confirmed.compareDigests([{ id: rootId, digest: elsewhere }], true);
    this.confirmed.beginAdopt([rootId]);
  }

  /** As far as the receiver's entries are taken over, which have all that was sent. */
  adopt(): void {
    this.begin();
    this.confirmed.adopt(placed);
  }

  /** Link counts after an agreement that gets to its end. */
  agreed(): (number | undefined)[] {
    this.adopt();
    this.confirmed.finish(elsewhere);
    assert(this.confirmed.finish(this.confirmed.digest));
    return placed.map(({ parent, name }) => this.confirmed.find(parent, name)?.nlink);
  }
}

const interruptions: Record<string, (layers: Layers) => void | Promise<void>> = {
  'the connection is lost': () => {},
  'the next one is lost too': layers => {
    layers.connect();
    layers.connect();
  },
  'the agreement is cut off when listings were dropped': layers => layers.begin(),
  'the agreement is cut off when entries were taken over': layers => layers.adopt(),
  'the listings do not add up': layers => {
    layers.adopt();
    layers.confirmed.finish(elsewhere);
    layers.confirmed.clear();
  },
  'they do not add up where the two differ in nothing, and the process ends': layers => {
    layers.connect();
    layers.confirmed.finish(elsewhere);
    layers.confirmed.clear();
    return layers.restart();
  },
  'the process ends': layers => layers.restart(),
  'the process ends in the middle of an agreement': async layers => {
    layers.begin();
    await layers.restart();
    layers.adopt();
    await layers.restart();
  },
};

for (const [name, interrupt] of Object.entries(interruptions)) {
  for (const isConfirmed of [false, true]) {
    const when = isConfirmed ? 'confirmed' : 'on their way';
    t.test(`mount points ${when} are known again when ${name}`, async t => {
      const layers = new Layers(t);
      layers.confirmed.connect(receiverState);
      layers.confirmed.finish(receiverState.digest);
      const tokens = layers.send();
      if (isConfirmed) layers.observed.confirm(tokens.map(token => ({ token })));
      await interrupt(layers);
      t.strictSame(layers.agreed(), [2, 1, 2]);
    });
  }

  t.test(`nothing is known of mount points without state, when ${name}`, async t => {
    const layers = new Layers(t);
    layers.connect();
    await interrupt(layers);
    t.strictSame(layers.agreed(), [0, 0, 0]);
    // What is there from then on is known.
    await interrupt(layers);
    t.strictSame(layers.agreed(), [0, 0, 0], 'until it is seen');
  });
}

t.test('a mount point seen where nothing was known is one', async t => {
  const layers = new Layers(t);
  layers.connect();
  t.strictSame(layers.agreed(), [0, 0, 0]);
  layers.send();
  t.strictSame(layers.agreed(), [2, 0, 2], 'the other may have been one before');
});

t.test('a mount point that became an ordinary directory is one', async t => {
  const layers = new Layers(t);
  layers.confirmed.connect(receiverState);
  layers.confirmed.finish(receiverState.digest);
  layers.send();
  layers.observed.queue([
    {
      parent: rootId,
      name: 'mount' as Name,
      known: { name: 'mount' as Name, entry: mount, nlink: 1 },
    },
  ]);
  t.strictSame(layers.agreed(), [1, 1, 2]);
});
