// Does a crash of either side at any point of any small program lose, tear or call drift anything?
//   node dist/bench/soak/crash-points.js [--part 0/1] [--only N] [--folder DIR]
// All triples of the alphabet in test/support/crash-points.ts; --part 2/8 is every eighth from the
// third. Exit 1 if anything failed.
import fs from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CrashPair, crashEverywhere, triples } from '../../test/support/crash-points.ts';
import { removeFolder } from '../../test/support/folders.ts';

const { values } = parseArgs({
  options: {
    part: { type: 'string', default: '0/1' },
    only: { type: 'string' },
    folder: { type: 'string', default: '/dev/shm' },
  },
});
const [part = 0, parts = 1] = values.part.split('/').map(Number);
const begunMs = performance.now();
let programs = 0;
let crashes = 0;
let failed = 0;

const summary = (): string =>
  JSON.stringify({
    bench: 'soak/crash-points',
    part: values.part,
    programs,
    crashes,
    failed,
    seconds: Math.round((performance.now() - begunMs) / 1000),
  });

for (const [index, program] of triples().entries()) {
  const isChosen = values.only ? index === Number(values.only) : index % parts === part;
  if (!isChosen) continue;
  const folder = fs.mkdtempSync(join(values.folder, 'replica-crash-'));
  const pair = await CrashPair.open(folder);
  try {
    const found = await crashEverywhere(pair, program);
    programs++;
    crashes += found.crashes;
    if (found.problems.length > 0) {
      failed++;
      const { problems } = found;
      console.log(JSON.stringify({ bench: 'soak/crash-points', only: index, program, problems }));
    }
  } finally {
    await pair.close();
    removeFolder(folder);
  }
  if (programs % 10 === 0) console.log(summary());
}
console.log(summary());
process.exitCode = failed > 0 ? 1 : 0;
