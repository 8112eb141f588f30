// Does anything get called drift, or stay unequal, when a few names change faster than they are
// replicated?
//   node dist/bench/soak/racing.js [--edits 50000] [--seed 1] [--folder /dev/shm]
// Exit 1 if so; the same seed need not find it again, as it takes the right moment.
import fs from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { racingStory } from '../../test/support/racing-story.ts';

const { values } = parseArgs({
  options: {
    edits: { type: 'string', default: '50000' },
    seed: { type: 'string', default: '1' },
    folder: { type: 'string', default: '/dev/shm' },
  },
});
const folder = fs.mkdtempSync(join(values.folder, 'replica-racing-'));
const problems = await racingStory({
  folder,
  seed: Number(values.seed),
  edits: Number(values.edits),
});
fs.rmSync(folder, { recursive: true });
console.log(JSON.stringify({ bench: 'soak/racing', ...values, problems }));
process.exitCode = problems.length === 0 ? 0 : 1;
