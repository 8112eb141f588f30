// Does a whole node_modules replicate, and still after a package manager has been at it?
//   node dist/bench/soak/main-job.js [--ssh] [PACKAGES=node_modules] [SEED=1] [FOLDER=.]
// Exit 1 with the differences if not.
import fs from 'node:fs';
import { join, resolve } from 'node:path';
import { removeFolder } from '../../test/support/folders.ts';
import { runMainJob } from '../../test/support/main-job.ts';

const words = process.argv.slice(2);
const transport = words.includes('--ssh') ? 'ssh' : 'tcp';
const [packages = 'node_modules', seed = '1', place = '.'] = words.filter(word => word !== '--ssh');
const folder = fs.mkdtempSync(join(resolve(place), '.soak-main-'));
try {
  const say = (line: string): void => console.log(line);
  await runMainJob({
    packages: resolve(packages),
    folder,
    seed: Number(seed),
    transport,
    limitMs: 120_000,
    say,
  });
  console.log(
    JSON.stringify({ bench: 'main-job', packages, seed: Number(seed), verdict: 'equal' }),
  );
} catch (error) {
  console.log(error instanceof Error ? error.message : error);
  console.log(
    JSON.stringify({ bench: 'main-job', packages, seed: Number(seed), verdict: 'failed' }),
  );
  process.exitCode = 1;
} finally {
  removeFolder(folder);
}
