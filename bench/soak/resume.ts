// What does a large transfer cost in all that breaks at four fifths? Not one byte twice, but for
// what was under way.
//   node dist/bench/soak/resume.js [--mb 200] [--rate 40000000] [--folder DIR]
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Break, resumeStory } from '../../test/support/resume-story.ts';

const { values } = parseArgs({
  options: {
    mb: { type: 'string', default: '200' },
    rate: { type: 'string', default: '40000000' },
    folder: { type: 'string', default: tmpdir() },
  },
});
const ratioMax = 1.05;
const breaks: readonly Break[] = ['cut', 'kill receive', 'kill push'];
for (const how of breaks) {
  const folder = fs.mkdtempSync(join(values.folder, 'replica-soak-'));
  try {
    const sizeMb = Number(values.mb);
    const bytesPerSecond = Number(values.rate);
    const outcome = await resumeStory({ folder, sizeMb, how, bytesPerSecond });
    console.log(JSON.stringify({ bench: 'soak/resume', how, ...values, ...outcome }));
    if (outcome.ratio > ratioMax) process.exitCode = 1;
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}
