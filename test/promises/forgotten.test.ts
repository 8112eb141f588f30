// A push that lost the grains of what it read asks the receiver for them: an edit costs about itself
// again, and a connection that breaks anywhere in asking costs no more than another try.
import fs from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { dial } from '../../src/net/dial.ts';
import { Listener } from '../../src/net/listener.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import { noise } from '../support/content.ts';
import { optionsFor, runOnce } from '../support/fake-push.ts';
import { makeDiskFolder } from '../support/folders.ts';
import { receiverDefaults } from '../support/receivers.ts';
import { Relay } from '../support/relay.ts';
import { ownShare } from '../support/seeds.ts';
import { compareTrees } from '../support/tree.ts';

const cuts = 8;
const smallCount = 20;
const directions = ['up', 'down'] as const;

interface Cut {
  readonly direction: (typeof directions)[number];
  readonly offset: number;
}

class Story {
  readonly #options: ReturnType<typeof optionsFor>;
  readonly #folder: string;
  readonly #relay: Relay;
  readonly #contents = new Map<string, Buffer>();
  plan: (Cut & { readonly connection: number }) | undefined;
  #edits = 0;
  wasCut = false;

  static async open(t: Test): Promise<Story> {
    const folder = makeDiskFolder(t);
    fs.mkdirSync(join(folder, 'target'));
    const root = join(folder, 'target');
    const receiver = await Receiver.open({ ...receiverDefaults, root, fsync: 'off' });
    const host = '127.0.0.1';
    const { log } = receiverDefaults;
    const listener = await Listener.open({ host, port: 0, keys: () => [], insecure: true, log });
    const serving = async (): Promise<void> => {
      for await (const connection of listener.connections()) void receiver.serve(connection);
    };
    void serving();
    let story: Story | undefined;
    const cutOf = (direction: Cut['direction']) => (connection: number) => {
      const plan = story?.plan;
      const isMeant = plan?.connection === connection && plan.direction === direction;
      return isMeant ? plan.offset : undefined;
    };
    const relay = await Relay.open({
      targetPort: listener.address.port,
      cutAfter: cutOf('up'),
      cutAnswerAfter: cutOf('down'),
      onCut: () => {
        if (story) story.wasCut = true;
      },
    });
    t.teardown(async () => {
      await relay.close();
      await listener.close();
      await receiver.close();
    });
    story = new Story(folder, relay);
    return story;
  }

  private constructor(folder: string, relay: Relay) {
    this.#folder = folder;
    this.#relay = relay;
    const dialOptions = { host: '127.0.0.1', port: relay.port, insecure: true, timeoutMs: 20_000 };
    this.#options = optionsFor(folder, { connect: () => dial(dialOptions) });
    fs.mkdirSync(this.#options.source);
    this.#contents.set('large', noise(1, 5_000_000));
    for (let i = 0; i < smallCount; i++) this.#contents.set(`f${i}`, noise(2 + i, 20_000));
  }

  /** A few bytes of each file changed, by a push that knows no grains. */
  async push(cut?: Cut): Promise<{ readonly up: number; readonly down: number }> {
    fs.rmSync(join(this.#folder, 'state', 'grains'), { force: true });
    this.#edits++;
    for (const [name, content] of this.#contents) {
      content.write(`edit ${this.#edits}`, (997 * this.#edits) % (content.length - 20));
      fs.writeFileSync(join(this.#options.source, name), content);
    }
    const { bytesUp, bytesDown, connections } = this.#relay;
    this.wasCut = false;
    this.plan = cut && { ...cut, connection: connections };
    const { outcome } = await runOnce(this.#options);
    if (outcome.error !== undefined) throw outcome.error;
    return { up: this.#relay.bytesUp - bytesUp, down: this.#relay.bytesDown - bytesDown };
  }

  differences(): readonly string[] {
    return compareTrees(this.#options.source, join(this.#folder, 'target'));
  }
}

t.test('what was forgotten is asked for, and the edit costs about itself', async t => {
  const story = await Story.open(t);
  const first = await story.push();
  t.ok(first.up > 5_000_000);
  const { up, down } = await story.push();
  t.ok(up + down < (smallCount + 1) * 600, `${up} bytes up, ${down} down`);
  t.strictSame(story.differences(), []);
});

t.test('a connection cut anywhere while it is asked costs another try', async t => {
  const story = await Story.open(t);
  await story.push();
  const sizes = await story.push();
  let happened = 0;
  const all = directions.flatMap(direction =>
    Array.from({ length: cuts }, (_, i): Cut => {
      return { direction, offset: Math.floor(((i + 0.5) * sizes[direction]) / cuts) };
    }),
  );
  for (const cut of ownShare(all)) {
    await story.push(cut);
    if (story.wasCut) happened++;
    t.strictSame(story.differences(), [], `${cut.direction}, after byte ${cut.offset}`);
  }
  t.ok(happened > cuts / 2, `${happened} cuts of sessions of ${JSON.stringify(sizes)} bytes`);
});
