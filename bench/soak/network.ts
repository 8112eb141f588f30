// Does a cut or a flipped bit anywhere in a session ever install something wrong, or end it?
//   node dist/bench/soak/network.js [--count 60] [--seed 1] [--insecure] [--ssh] [--folder DIR]
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { networkStory, spoilings } from '../../test/support/network-story.ts';
import { Sshd } from '../../test/support/sshd.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '60' },
    seed: { type: 'string', default: '1' },
    insecure: { type: 'boolean', default: false },
    ssh: { type: 'boolean', default: false },
    folder: { type: 'string', default: tmpdir() },
  },
});
const folder = fs.mkdtempSync(join(values.folder, 'replica-soak-'));
const count = Number(values.count);
const sshFolder = fs.mkdtempSync(join(tmpdir(), 'replica-sshd-'));
const sshd = values.ssh ? await Sshd.open(sshFolder) : undefined;
const outcome = await networkStory({
  folder,
  seed: Number(values.seed),
  insecure: values.insecure,
  kinds: spoilings,
  count,
  timeoutMs: count * 10_000,
  sshd,
}).finally(async () => {
  await sshd?.close();
  fs.rmSync(sshFolder, { recursive: true });
});
console.log(JSON.stringify({ bench: 'soak/network', ...values, ...outcome }));
const { watched, drift, complaints, differences, connections } = outcome;
const found = [watched.violations, drift, complaints, differences];
const isGood = connections > count && found.every(one => one.length === 0);
if (isGood) fs.rmSync(folder, { recursive: true });
else process.stderr.write(`kept ${folder}\n`);
process.exitCode = isGood ? 0 : 1;
