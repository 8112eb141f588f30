import t from 'tap';
import { reconnectMaxMs, reconnectMinMs } from '../../src/limits.ts';
import { reconnectDelayMs } from '../../src/net/backoff.ts';

t.test('grows with each attempt, to a maximum, and never to nothing', async t => {
  const random = 1 - Number.EPSILON;
  const delays = Array.from({ length: 12 }, (_, attempt) => reconnectDelayMs(attempt, random));
  t.same(
    delays.map(Math.round),
    delays.map((_, attempt) => Math.min(reconnectMinMs * 2 ** attempt, reconnectMaxMs)),
  );
  for (const attempt of [0, 5, 1000, Number.MAX_SAFE_INTEGER]) {
    t.ok(reconnectDelayMs(attempt, 0) >= reconnectMinMs / 2, `attempt ${attempt}`);
    t.ok(reconnectDelayMs(attempt, random) <= reconnectMaxMs, `attempt ${attempt}`);
  }
});

t.test('spreads many senders over the whole time', async t => {
  const delays = Array.from({ length: 100 }, (_, i) => reconnectDelayMs(20, i / 100));
  for (let i = 1; i < 100; i++) t.ok((delays[i] ?? 0) >= (delays[i - 1] ?? 0));
  t.ok((delays[50] ?? 0) - (delays[10] ?? 0) > reconnectMaxMs / 3);
});
