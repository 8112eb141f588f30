// P2 and P3 with few kills; `node dist/bench/soak/kill.js` has many.
import t from 'tap';
import { killStory } from '../support/kill-story.ts';

const seed = 1;

t.test(`both sides are killed under load and nobody sees it (seed ${seed})`, async t => {
  const outcome = await killStory({ folder: t.testdir(), seed, kills: 6, lifeMsMax: 900 });
  t.comment(JSON.stringify({ ...outcome, watched: { ...outcome.watched, violations: undefined } }));
  t.strictSame(outcome.watched.violations, [], 'no reader saw anything torn, missing or foreign');
  t.strictSame(outcome.drift, [], 'nothing is called drift');
  t.strictSame(outcome.complaints, [], 'nobody complains');
  t.strictSame(outcome.differences, [], 'the trees are equal again');
  t.ok(outcome.watched.changeCount > 5, 'the reader saw versions come');
});
