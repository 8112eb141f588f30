// A source that several threads look at and read makes the replica that one alone makes.
import { makeDiskFolder } from '../support/folders.ts';
import { inTurn } from '../support/in-turn.ts';
import { LocalPasses, ways } from '../support/local-pass.ts';
import { fillTree, mutate } from '../support/mutate.ts';
import { seededRandom } from '../support/random.ts';

const each = inTurn(ways);

for (const seed of [1, 2]) {
  each(`random trees are equal after each pass (seed ${seed})`, async (t, way) => {
    const random = seededRandom(seed);
    const passes = new LocalPasses(makeDiskFolder(t), way);
    fillTree(passes.source, random, 80);
    for (let round = 0; round < 3; round++) {
      const { code, lines } = await passes.pass('--scan-jobs', '4');
      t.equal(code, 0, lines.at(-1) ?? '');
      t.strictSame(passes.differences(), []);
      for (let i = 0; i < 10; i++) mutate(passes.source, random);
    }
  });
}
