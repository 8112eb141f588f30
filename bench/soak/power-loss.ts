// Is everything acknowledged there, and nothing torn, after the power failed at any instant?
//   node dist/bench/soak/power-loss.js [--images 500] [--seed 1]
// Root only: mounts an ext4 image that lies on an XFS with reflinks. Exit 1 if anything was wrong.
import { parseArgs } from 'node:util';
import { powerLossStory } from '../../test/support/power-loss.ts';

const { values } = parseArgs({
  options: {
    images: { type: 'string', default: '500' },
    seed: { type: 'string', default: '1' },
  },
});
const undo: (() => unknown)[] = [];
try {
  const outcome = await powerLossStory({
    seed: Number(values.seed),
    images: Number(values.images),
    undoing: { teardown: act => void undo.unshift(act) },
    say: text => process.stderr.write(`${text}\n`),
  });
  if ('skip' in outcome) console.log(JSON.stringify({ bench: 'soak/power-loss', ...outcome }));
  else {
    const { problems, atAcknowledgements, atRandom, halfDone } = outcome;
    const counts = { atAcknowledgements, atRandom, halfDone };
    console.log(JSON.stringify({ bench: 'soak/power-loss', ...values, ...counts, problems }));
    process.exitCode = problems.length > 0 ? 1 : 0;
  }
} finally {
  for (const act of undo) await act();
}
