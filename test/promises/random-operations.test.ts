// P1: whatever is done to the source, the trees are equal once it falls quiet. A slice of
// bench/soak/random-operations.ts; more with SEEDS=5 OPS=300 (FIRST_SEED to begin elsewhere).
import fs from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { transports } from '../support/fake-ssh.ts';
import { onEachFileSystem } from '../support/folders.ts';
import { runRandomOperations } from '../support/random-run.ts';
import { ownSeeds } from '../support/seeds.ts';

const { SEEDS, OPS, FIRST_SEED } = process.env;
const operations = Number(OPS ?? 150);
const firstSeed = Number(FIRST_SEED ?? 1);
const seeds =
  SEEDS === undefined
    ? ownSeeds(4)
    : Array.from({ length: Number(SEEDS) }, (_, i) => firstSeed + i);

onEachFileSystem(t, 'equal within 3 s after random operations', async (t, folder) => {
  for (const seed of seeds) {
    // Both are run as root and as a user, with seeds of their own.
    const transport = transports[Math.floor((seed - 1) / 2) % 2] ?? 'tcp';
    const run = join(folder, String(seed));
    fs.mkdirSync(run);
    t.comment(`seed ${seed}, ${operations} operations, ${transport}`);
    const { quietMs, complaints, done } = await runRandomOperations({
      folder: run,
      seed,
      operations,
      transport,
      limitMs: 3000,
    });
    t.comment(`equal after ${Math.round(quietMs)} ms`);
    t.ok(done.size >= 20, `seed ${seed}: ${done.size} kinds of operations`);
    t.strictSame(complaints, [], `seed ${seed}: nothing to complain of`);
  }
});
