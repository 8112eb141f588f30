// P1 to P4 and P7: programs of operations and faults against a model. A slice of bench/soak/model.ts,
// which also replays one (--seed) and makes it smaller.
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { onEachFileSystem } from '../support/folders.ts';
import { randomProgram, shrink } from '../support/model-program.ts';
import { runProgram } from '../support/model-run.ts';
import { wideProgram } from '../support/model-wide.ts';
import { seededRandom } from '../support/random.ts';
import { ownSeeds } from '../support/seeds.ts';

onEachFileSystem(t, 'equal after any program of operations and faults', async (t, folder) => {
  let readCount = 0;
  for (const seed of ownSeeds(2)) {
    const run = join(folder, `${seed}`);
    fs.mkdirSync(run);
    const outcome = await runProgram(run, randomProgram(seed, seededRandom(seed)));
    t.strictSame(outcome.problems, [], `node dist/bench/soak/model.js --narrow --seed ${seed}`);
    readCount += outcome.readCount;
  }
  for (const seed of ownSeeds(2)) {
    const run = join(folder, `wide-${seed}`);
    fs.mkdirSync(run);
    const outcome = await runProgram(run, wideProgram(seed, seededRandom(seed)));
    t.strictSame(outcome.problems, [], `node dist/bench/soak/model.js --seed ${seed}`);
  }
  t.ok(readCount > 10, `${readCount} files were read in between`);
});

t.test('a failing list is made smaller until every item of it counts', async t => {
  const items = Array.from({ length: 50 }, (_, i) => i);
  let tries = 0;
  const least = await shrink(items, async rest => {
    tries++;
    return rest.includes(7) && rest.includes(8) && rest.includes(41);
  });
  t.strictSame(least, [7, 8, 41]);
  t.ok(tries < 100, `${tries} tries`);
});
