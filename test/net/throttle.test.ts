import { once } from 'node:events';
import t from 'tap';
import { memoryDuplexPair } from '../../src/net/memory-duplex.ts';
import { Outbox } from '../../src/net/outbox.ts';
import { Throttle } from '../../src/net/throttle.ts';
import { type Message, MessageType } from '../../src/wire/messages.ts';
import { seededRandom } from '../support/random.ts';

/** A throttle under a clock of its own, and how many bytes go in a simulated time. */
class Simulation {
  nowMs = 0;
  readonly throttle: Throttle;

  constructor(bytesPerSecond: number) {
    this.throttle = new Throttle(bytesPerSecond, () => this.nowMs);
  }

  /** Passes pieces as often as allowed; `lateMs`: how late each timer is. */
  run(ms: number, lateMs: () => number): number {
    const untilMs = this.nowMs + ms;
    let bytes = 0;
    while (this.nowMs < untilMs) {
      const { waitMs, pieceSize } = this.throttle;
      if (waitMs > 0) {
        this.nowMs += waitMs + lateMs();
        continue;
      }
      this.throttle.pass(pieceSize);
      bytes += pieceSize;
    }
    return bytes;
  }
}

t.test('what passes in ten seconds is within 5% of the rate, however late timers are', async t => {
  for (const rate of [16 * 1024, 100_000, 1_000_000, 12_345_678, 100_000_000]) {
    const random = seededRandom(rate);
    const simulation = new Simulation(rate);
    const passed = simulation.run(10_000, () => random() * 5);
    const ratio = passed / (rate * 10);
    t.ok(ratio > 0.95 && ratio < 1.05, `${rate}: ${ratio}`);
  }
});

t.test('idle time is not saved up', async t => {
  const simulation = new Simulation(1_000_000);
  simulation.nowMs += 60_000;
  const passed = simulation.run(1000, () => 0);
  t.ok(passed <= 1_200_000, `${passed} bytes in a second after a minute of rest`);
});

t.test('a new rate holds 2 s after it was set, upwards and downwards', async t => {
  const simulation = new Simulation(1_000_000);
  simulation.run(5000, () => 0);
  simulation.throttle.bytesPerSecond = 100_000;
  simulation.run(2000, () => 0);
  const slow = simulation.run(10_000, () => 0);
  t.ok(slow > 950_000 && slow < 1_050_000, `${slow}`);
  simulation.throttle.bytesPerSecond = 5_000_000;
  simulation.run(2000, () => 0);
  const fast = simulation.run(10_000, () => 0);
  t.ok(fast > 47_500_000 && fast < 52_500_000, `${fast}`);
});

t.test('who waits goes on when the rate is raised', async t => {
  const throttle = new Throttle(1);
  throttle.pass(1_000_000); // Eleven days.
  const ready = throttle.ready();
  throttle.bytesPerSecond = Number.POSITIVE_INFINITY;
  await ready;
  t.equal(throttle.waitMs, 0);
});

t.test('frames arrive whole and in order, cut into pieces as the rate has it', async t => {
  const collect = async (throttle: Throttle | undefined): Promise<readonly Buffer[]> => {
    const [near, far] = memoryDuplexPair();
    const chunks: Buffer[] = [];
    far.on('data', chunk => chunks.push(chunk));
    const outbox = new Outbox(near, { checksum: true, throttle, onWritten: () => {} });
    for (let i = 0; i < 40; i++) outbox.add(piece(i));
    outbox.end();
    await once(far, 'end');
    return chunks;
  };
  const plain = Buffer.concat(await collect(undefined));
  const throttle = new Throttle(2_000_000);
  const cut = await collect(throttle);
  t.ok(Buffer.concat(cut).equals(plain));
  t.ok(cut.every(chunk => chunk.length <= throttle.pieceSize));
  const unlimited = await collect(new Throttle(Number.POSITIVE_INFINITY));
  t.ok(Buffer.concat(unlimited).equals(plain));
});

function piece(i: number): Message {
  const bytes = Buffer.alloc(20_000, i);
  const pieces = [{ kind: 'data', id: Buffer.alloc(16, i), bytes }] as const;
  return { type: MessageType.StageData, stage: 1, pieces };
}
