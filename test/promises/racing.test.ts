import t from 'tap';
import { racingStory } from '../support/racing-story.ts';
import { ownSeeds } from '../support/seeds.ts';

for (const seed of ownSeeds(2)) {
  t.test(`names that change faster than they are replicated, seed ${seed}`, async t => {
    t.strictSame(await racingStory({ folder: t.testdir(), seed, edits: 1000 }), []);
  });
}
