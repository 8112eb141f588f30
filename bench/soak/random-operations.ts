// Does a live pair end equal after random operations, whatever the seed? One line per run:
//   node dist/bench/soak/random-operations.js [--ssh] [FIRST=1] [SEEDS=50] [OPS=300] [FOLDER …]
// Folders default to one on the disk of the working directory and one in /dev/shm. A run that fails
// leaves its trees where the line says. Exit 1 if any failed.
import fs from 'node:fs';
import { join } from 'node:path';
import { removeFolder } from '../../test/support/folders.ts';
import { runRandomOperations } from '../../test/support/random-run.ts';

const words = process.argv.slice(2);
const transport = words.includes('--ssh') ? 'ssh' : 'tcp';
const [first = '1', seeds = '50', operations = '300', ...given] = words.filter(
  word => word !== '--ssh',
);
const places = given.length > 0 ? given : [process.cwd(), '/dev/shm'];
const limitMs = 3000;
const quiet: number[] = [];
let failed = 0;

for (let seed = Number(first); seed < Number(first) + Number(seeds); seed++) {
  for (const place of places) {
    const folder = fs.mkdtempSync(join(place, `.soak-${seed}-`));
    const line = { bench: 'random-operations', seed, operations: Number(operations), place };
    try {
      const run = { folder, seed, operations: Number(operations), limitMs, transport } as const;
      const { quietMs, healed, complaints } = await runRandomOperations(run);
      quiet.push(quietMs);
      const verdict = complaints.length === 0 ? 'equal' : 'equal, with complaints';
      console.log(JSON.stringify({ ...line, verdict, quietMs: Math.round(quietMs), healed }));
      for (const complaint of complaints) console.log(`  ${complaint}`);
      removeFolder(folder);
    } catch (error) {
      failed++;
      console.log(JSON.stringify({ ...line, verdict: 'failed', folder }));
      console.log(error instanceof Error ? error.message : error);
    }
  }
}
quiet.sort((a, b) => a - b);
const at = (share: number): number => Math.round(quiet[Math.floor(quiet.length * share)] ?? 0);
console.log(
  JSON.stringify({
    bench: 'random-operations',
    runs: quiet.length + failed,
    failed,
    medianMs: at(0.5),
    p95Ms: at(0.95),
    maxMs: Math.round(quiet.at(-1) ?? 0),
  }),
);
process.exitCode = failed > 0 ? 1 : 0;
