// How long does a save wait while 1 GiB crosses a link of 5 MB/s?
//   node dist/bench/soak/overtaking.js [--mib 1024] [--rate 5e6] [--seconds 60] [--folder DIR]
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { overtakingStory } from '../../test/support/overtaking-story.ts';

const { values } = parseArgs({
  options: {
    mib: { type: 'string', default: '1024' },
    rate: { type: 'string', default: '5e6' },
    seconds: { type: 'string', default: '60' },
    folder: { type: 'string', default: tmpdir() },
  },
});
const folder = fs.mkdtempSync(join(values.folder, 'replica-soak-'));
const { latenciesMs, ...outcome } = await overtakingStory({
  folder,
  sizeBytes: Number(values.mib) * 1024 * 1024,
  bytesPerSecond: Number(values.rate),
  durationMs: Number(values.seconds) * 1000,
  pauseMs: 200,
});
fs.rmSync(folder, { recursive: true });
const lateCount = latenciesMs.filter(ms => ms > 2_000).length;
console.log(
  JSON.stringify({
    bench: 'soak/overtaking',
    ...values,
    saves: latenciesMs.length,
    ...outcome,
    lateCount,
  }),
);
process.exitCode = lateCount === 0 && outcome.isOvertaken && outcome.isWhole ? 0 : 1;
