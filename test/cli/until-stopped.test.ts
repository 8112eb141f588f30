import t from 'tap';
import { untilStopped } from '../../src/cli/until-stopped.ts';

async function* hanging(): AsyncGenerator<number> {
  yield 1;
  yield 2;
  await new Promise(() => {});
}

async function* ending(): AsyncGenerator<number> {
  yield 1;
  yield 2;
}

async function collect(events: AsyncIterable<number>, onEach = (_: number) => {}) {
  const seen: number[] = [];
  for await (const event of events) {
    seen.push(event);
    onEach(event);
  }
  return seen;
}

t.test('passes events on to their end', async t => {
  const { signal } = new AbortController();
  t.same(await collect(untilStopped(ending(), signal, () => 0)), [1, 2]);
});

t.test('a stop waits for the end, but not for ever', async t => {
  const stop = new AbortController();
  const onEach = (event: number) => event === 2 && stop.abort();
  t.same(
    await collect(
      untilStopped(hanging(), stop.signal, () => 20),
      onEach,
    ),
    [1, 2],
  );
});

t.test('what was stopped before it began may still say how it ended', async t => {
  t.same(await collect(untilStopped(ending(), AbortSignal.abort(), () => 1000)), [1, 2]);
});

t.test('a failure passes through', async t => {
  const failing = async function* (): AsyncGenerator<number> {
    yield 1;
    throw new RangeError('oops');
  };
  const { signal } = new AbortController();
  await t.rejects(collect(untilStopped(failing(), signal, () => 0)), RangeError);
});
