// A source that several threads look at and read makes the replica that one alone makes.
import t from 'tap';
import { makeDiskFolder } from '../support/folders.ts';
import { LocalPasses } from '../support/local-pass.ts';
import { fillTree, mutate } from '../support/mutate.ts';
import { seededRandom } from '../support/random.ts';

for (const seed of [1, 2]) {
  t.test(`random trees are equal after each pass (seed ${seed})`, async t => {
    const random = seededRandom(seed);
    const passes = new LocalPasses(makeDiskFolder(t));
    fillTree(passes.source, random, 80);
    for (let round = 0; round < 3; round++) {
      const { code, lines } = await passes.pass('--scan-jobs', '4');
      t.equal(code, 0, lines.at(-1) ?? '');
      t.strictSame(passes.differences(), []);
      for (let i = 0; i < 10; i++) mutate(passes.source, random);
    }
  });
}
