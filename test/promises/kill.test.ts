// P2 and P3 with few kills; `node dist/bench/soak/kill.js` has many.
import t, { type Test } from 'tap';
import { type KillOptions, type KillOutcome, killStory } from '../support/kill-story.ts';
import { ownShare } from '../support/seeds.ts';

const seed = 1;

async function tell(t: Test, options: Partial<KillOptions>): Promise<KillOutcome> {
  const story = { folder: t.testdir(), seed, kills: 6, lifeMsMax: 900 };
  const outcome = await killStory({ ...story, ...options });
  t.comment(JSON.stringify({ ...outcome, watched: { ...outcome.watched, violations: undefined } }));
  t.strictSame(outcome.watched.violations, [], 'no reader saw anything torn, missing or foreign');
  t.strictSame(outcome.drift, [], 'nothing is called drift');
  t.strictSame(outcome.complaints, [], 'nobody complains');
  t.strictSame(outcome.differences, [], 'the trees are equal again');
  t.ok(outcome.watched.changeCount > 5, 'the reader saw versions come');
  return outcome;
}

t.test(`both sides are killed under load and nobody sees it (seed ${seed})`, async t => {
  await tell(t, {});
});

for (const transport of ownShare(['ssh'] as const)) {
  t.test(`likewise over ${transport} (seed ${seed})`, async t => {
    const { killed } = await tell(t, { transport, kills: 4 });
    t.ok(killed.push > 0 && killed.receive > 0, 'both were killed');
  });
}
