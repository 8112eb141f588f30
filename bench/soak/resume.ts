// What does a large transfer cost in all that breaks at four fifths? Not one byte twice, but for
// what was under way.
//   node dist/bench/soak/resume.js [--mb 200] [--rate 40000000] [--ssh] [--folder DIR]
// --ssh: through an sshd of its own.
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Break, resumeStory } from '../../test/support/resume-story.ts';
import { Sshd } from '../../test/support/sshd.ts';

const { values } = parseArgs({
  options: {
    mb: { type: 'string', default: '200' },
    rate: { type: 'string', default: '40000000' },
    ssh: { type: 'boolean', default: false },
    folder: { type: 'string', default: tmpdir() },
  },
});
const ratioMax = 1.05;
const sshFolder = fs.mkdtempSync(join(tmpdir(), 'replica-sshd-'));
const sshd = values.ssh ? await Sshd.open(sshFolder) : undefined;
const breaks: readonly Break[] = ['cut', 'kill receive', 'kill push'];
try {
  for (const how of breaks) {
    const folder = fs.mkdtempSync(join(values.folder, 'replica-soak-'));
    try {
      const sizeMb = Number(values.mb);
      const bytesPerSecond = Number(values.rate);
      const outcome = await resumeStory({ folder, sizeMb, how, sshd, bytesPerSecond });
      console.log(JSON.stringify({ bench: 'soak/resume', how, ...values, ...outcome }));
      if (outcome.ratio > ratioMax) process.exitCode = 1;
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  }
} finally {
  await sshd?.close();
  fs.rmSync(sshFolder, { recursive: true });
}
