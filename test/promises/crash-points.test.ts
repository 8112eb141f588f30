// P1 to P4: both sides crash at every point of a small program. A slice of bench/soak/crash-points.ts.
import t from 'tap';
import { alphabet, CrashPair, crashEverywhere, triples } from '../support/crash-points.ts';
import { makeDiskFolder } from '../support/folders.ts';
import { ownShare } from '../support/seeds.ts';

t.test('all triples of the alphabet are there', async t => {
  t.equal(triples().length, alphabet.length ** 3);
  t.equal(new Set(triples().map(program => JSON.stringify(program))).size, alphabet.length ** 3);
});

for (const index of ownShare([211, 100])) {
  t.test(`a crash at every third point of triple ${index}`, async t => {
    const pair = await CrashPair.open(makeDiskFolder(t));
    t.teardown(() => pair.close());
    const { crashes, problems } = await crashEverywhere(pair, triples()[index] ?? [], 3);
    t.strictSame(problems, [], `node dist/bench/soak/crash-points.js --only ${index}`);
    t.ok(crashes > 8, `${crashes} crashes`);
  });
}
