// Is there a byte of a small session after which a cut leaves something torn, lost or called drift?
//   node dist/bench/soak/every-byte.js [--insecure] [--step 1] [--pairs 4] [--folder DIR]
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CutStory, directions } from '../../test/support/cut-story.ts';

const { values } = parseArgs({
  options: {
    insecure: { type: 'boolean', default: false },
    step: { type: 'string', default: '1' },
    /** Pairs of sender and receiver at a time: most of it is waiting. */
    pairs: { type: 'string', default: '4' },
    folder: { type: 'string', default: tmpdir() },
  },
});
const step = Number(values.step);
const stories = await Promise.all(
  Array.from({ length: Number(values.pairs) }, async () => {
    const folder = fs.mkdtempSync(join(values.folder, 'replica-cut-'));
    const story = await CutStory.open({ folder, insecure: values.insecure });
    await story.synced();
    return { folder, story };
  }),
);
const sizes = (await stories[0]?.story.measure()) ?? { up: 0, down: 0 };
const points = directions.flatMap(direction =>
  Array.from({ length: Math.ceil((sizes[direction] + 1) / step) }, (_, i) => ({
    ...{ direction, offset: i * step },
  })),
);
const figures = { points: points.length, cut: { up: 0, down: 0 }, uncut: 0 };
let next = 0;
const faults: string[] = [];
await Promise.all(
  stories.map(async ({ story }) => {
    for (let point = points[next++]; point && faults.length === 0; point = points[next++]) {
      const { direction, offset } = point;
      const { isCut } = await story.cutAt(direction, offset);
      if (isCut) figures.cut[direction]++;
      else figures.uncut++;
      faults.push(...story.faults.map(fault => `${direction} ${offset}: ${fault}`));
      if (next % 500 === 0) process.stderr.write(`${next} of ${points.length}\n`);
    }
  }),
);
for (const { folder, story } of stories) {
  await story.close();
  if (faults.length === 0) fs.rmSync(folder, { recursive: true });
  else process.stderr.write(`kept ${folder}\n`);
}
console.log(JSON.stringify({ bench: 'soak/every-byte', ...values, sizes, ...figures, faults }));
process.exitCode = faults.length === 0 ? 0 : 1;
