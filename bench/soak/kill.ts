// Does anything torn, lost or called drift ever show when both sides are killed all the time?
//   node dist/bench/soak/kill.js [--kills 100] [--seed 1] [--folder DIR] [--life 1500] [--ssh]
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { killStory } from '../../test/support/kill-story.ts';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
    life: { type: 'string', default: '1500' },
    ssh: { type: 'boolean', default: false },
    folder: { type: 'string', default: tmpdir() },
  },
});
const folder = fs.mkdtempSync(join(values.folder, 'replica-soak-'));
const outcome = await killStory({
  folder,
  seed: Number(values.seed),
  kills: Number(values.kills),
  lifeMsMax: Number(values.life),
  transport: values.ssh ? 'ssh' : 'tcp',
  say: text => process.stderr.write(`${text}\n`),
});
console.log(JSON.stringify({ bench: 'soak/kill', ...values, ...outcome }));
const { watched, drift, complaints, differences } = outcome;
const isGood = [watched.violations, drift, complaints, differences].every(one => one.length === 0);
if (isGood) fs.rmSync(folder, { recursive: true });
else process.stderr.write(`kept ${folder}\n`);
process.exitCode = isGood ? 0 : 1;
