// Small saves overtake a large file; `node dist/bench/soak/overtaking.js` does it with 1 GiB.
import t from 'tap';
import { overtakingStory } from '../support/overtaking-story.ts';

t.test('saves are durable within 2 s while a large file crosses a slow link', async t => {
  const outcome = await overtakingStory({
    folder: t.testdir(),
    sizeBytes: 64 * 1024 * 1024,
    bytesPerSecond: 5e6,
    durationMs: 8_000,
    pauseMs: 100,
  });
  t.comment(JSON.stringify({ ...outcome, latenciesMs: outcome.latenciesMs.map(Math.round) }));
  t.ok(outcome.isOvertaken, 'the large file is still under way after the last save');
  t.ok(outcome.maxMs < 2_000, `the slowest save took ${outcome.maxMs} ms`);
  t.ok(outcome.latenciesMs.length >= 5, 'there were saves');
  t.ok(outcome.isWhole, 'the large file arrives whole');
});
