// How long from a change in an idle tree until it is durable in the replica?
//
//   node dist/bench/scenarios/latency.bench.js [--files 100000] [--per-folder 50] [--samples 200]
//     [--kinds create,rename,hot,cold] [--settle 60] [--cpu-limit 10%] [--place /dev/shm]
//
// Changes come at seeded times, so that they do not keep step with the interval. A sample ends when
// the replica shows the change and `push` has logged the commit that made it durable.
import fs from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { seededRandom } from '../../test/support/random.ts';
import { quantile, SyncedPair } from '../support/synced-pair.ts';

const { values } = parseArgs({
  options: {
    files: { type: 'string', default: '100000' },
    'per-folder': { type: 'string', default: '50' },
    samples: { type: 'string', default: '200' },
    kinds: { type: 'string', default: 'create,rename,hot,cold' },
    settle: { type: 'string', default: '60' },
    'cpu-limit': { type: 'string', default: '10%' },
    place: { type: 'string', default: '/dev/shm' },
  },
});

const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms));
const random = seededRandom(5);
const pair = await SyncedPair.open({
  files: Number(values.files),
  perFolder: Number(values['per-folder']),
  place: values.place,
  pushFlags: [`--cpu-limit=${values['cpu-limit']}`],
});
const files = pair.files();
let serial = 0;

function anyFile(): string {
  return files[Math.floor(random() * files.length)] ?? '';
}

/** Makes a change; returns whether the replica shows it. */
const kinds: Record<string, () => () => boolean> = {
  create: () => {
    const path = join(anyFile(), '..', `new${serial++}`);
    fs.writeFileSync(join(pair.source, path), `created ${serial}`);
    return () => fs.existsSync(join(pair.target, path));
  },
  rename: () => {
    const at = Math.floor(random() * files.length);
    const from = files[at] ?? '';
    const to = join(anyFile(), '..', `renamed${serial++}.dat`);
    fs.renameSync(join(pair.source, from), join(pair.source, to));
    files[at] = to;
    return () => fs.existsSync(join(pair.target, to));
  },
  hot: () => edit(files[0] ?? ''),
  cold: () => edit(anyFile()),
};

function edit(path: string): () => boolean {
  const text = `edit ${serial++} `;
  const fd = fs.openSync(join(pair.source, path), 'r+');
  fs.writeSync(fd, text, 0);
  fs.closeSync(fd);
  return () => fs.readFileSync(join(pair.target, path), 'latin1').startsWith(text);
}

async function sample(change: () => () => boolean): Promise<number> {
  const begunMs = performance.now();
  const isThere = change();
  const from = pair.pushing.lines.length;
  for (;;) {
    if (isThere() && pair.pushing.lines.slice(from).some(line => /commit \d/.test(line))) break;
    if (performance.now() - begunMs > 300_000) throw new Error('the change does not arrive');
    await sleep(4);
  }
  return (performance.now() - begunMs) / 1000;
}

try {
  await sleep(Number(values.settle) * 1000);
  for (const kind of values.kinds.split(',')) {
    const change = kinds[kind];
    if (change === undefined) throw new Error(`unknown kind ${kind}`);
    if (kind === 'hot') await sample(change);
    const seconds: number[] = [];
    for (let i = 0; i < Number(values.samples); i++) {
      await sleep(random() * 1000);
      seconds.push(await sample(change));
    }
    console.log(
      JSON.stringify({
        what: `${kind}, ${values.files} files, ${values['per-folder']} a directory`,
        samples: seconds.length,
        medianSeconds: Number(quantile(seconds, 0.5).toFixed(3)),
        p99Seconds: Number(quantile(seconds, 0.99).toFixed(3)),
        maxSeconds: Number(Math.max(...seconds).toFixed(3)),
      }),
    );
  }
} finally {
  await pair.close();
}
