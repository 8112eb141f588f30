// How fast is a sweep of the whole tree, and a restart with nothing changed, beside `find -printf`
// and a no-op `rsync -a`?
//
//   node dist/bench/scenarios/sweep.bench.js [--files 100000] [--per-folder 50] [--runs 7]
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openScanner, sweep } from '../support/sweeps.ts';
import { quantile, SyncedPair } from '../support/synced-pair.ts';

const { values } = parseArgs({
  options: {
    files: { type: 'string', default: '100000' },
    'per-folder': { type: 'string', default: '50' },
    runs: { type: 'string', default: '7' },
    place: { type: 'string', default: '/dev/shm' },
  },
});

const flags = ['--cpu-limit=100%'];
const pair = await SyncedPair.open({
  files: Number(values.files),
  perFolder: Number(values['per-folder']),
  place: values.place,
  pushFlags: flags,
});

function time(command: string, args: readonly string[]): number {
  const begunMs = performance.now();
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  return (performance.now() - begunMs) / 1000;
}

try {
  const copy = join(pair.base, 'copy');
  fs.mkdirSync(copy);
  execFileSync('rsync', ['-a', `${pair.source}/`, `${copy}/`]);
  const found: Record<'find' | 'rsync' | 'sweep' | 'restart', number[]> = {
    find: [],
    rsync: [],
    sweep: [],
    restart: [],
  };
  const format = '%p %s %T@ %C@ %m %i\n';
  for (let run = 0; run < Number(values.runs); run++) {
    await pair.pushing.stop();
    const { scanner, store } = openScanner(pair.home.folder, pair.source);
    for (let i = 0; i < 3; i++) sweep(scanner);
    found.sweep.push(sweep(scanner));
    await store.close();
    found.find.push(time('find', [pair.source, '-printf', format]));
    found.rsync.push(time('rsync', ['-a', `${pair.source}/`, `${copy}/`]));
    found.restart.push(await pair.restart(flags));
  }
  const medians = Object.fromEntries(
    Object.entries(found).map(([name, seconds]) => [name, quantile(seconds, 0.5)]),
  );
  console.log(
    JSON.stringify({ what: `sweep and restart, ${values.files} files`, ...medians, runs: found }),
  );
} finally {
  await pair.close();
}
