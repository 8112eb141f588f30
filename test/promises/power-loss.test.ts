// P3: what was acknowledged survives a power loss at any instant. A slice of bench/soak/power-loss.ts.
import t from 'tap';
import { isRoot } from '../support/mounts.ts';
import { powerLossStory } from '../support/power-loss.ts';

const seed = 1;
const skip = isRoot ? false : 'only root may mount';

t.test(`the power fails while commits are made (seed ${seed})`, { skip }, async t => {
  const outcome = await powerLossStory({ seed, images: 4, undoing: t });
  if ('skip' in outcome) {
    t.pass(`skipped: ${outcome.skip}`);
    return;
  }
  t.strictSame(outcome.problems, []);
  t.ok(outcome.atAcknowledgements > 0);
  t.comment(`${outcome.halfDone} of ${outcome.atRandom} images had a commit half done`);
});
