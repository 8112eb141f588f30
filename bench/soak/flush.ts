// Is an edit made just before a flush readable at the replica when the flush returns, whatever else
// is written? Edits in place of random cold files of a large tree, beside other writes.
//   node dist/bench/soak/flush.js [--files 100000] [--flushes 1000] [--writes 50] [--seed 1] [--folder DIR]
import fs from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findPushes } from '../../src/cli/running-pushes.ts';
import { callControl } from '../../src/control/control-client.ts';
import { silentLog } from '../../src/log.ts';
import { LivePair } from '../../test/support/live-pair.ts';
import { pick, seededRandom } from '../../test/support/random.ts';
import { median } from '../support/statistics.ts';
import { makeSmallFiles } from '../support/trees.ts';

const { values } = parseArgs({
  options: {
    files: { type: 'string', default: '100000' },
    flushes: { type: 'string', default: '1000' },
    writes: { type: 'string', default: '50' },
    seed: { type: 'string', default: '1' },
    folder: { type: 'string', default: '/dev/shm' },
  },
});
const folder = fs.mkdtempSync(join(values.folder, 'replica-soak-'));
const pair = new LivePair({ folder, pushArgs: ['--interval', '500'] });
makeSmallFiles(pair.source, Number(values.files), 50);
const paths = fs
  .readdirSync(pair.source, { recursive: true, encoding: 'utf8' })
  .filter(path => path.endsWith('.dat'))
  .sort();
await pair.start();
await pair.push?.line(/in sync/, 600_000);

const signal = new AbortController().signal;
const [push] = await findPushes(
  join(pair.home.folder, 'state', 'replica'),
  { source: undefined, target: undefined },
  { cwd: folder, signal, log: silentLog },
);
if (push === undefined) throw new Error('the push has no control socket');

const random = seededRandom(Number(values.seed));
const others = seededRandom(Number(values.seed) + 1);
/** Not touched by the other writes while its flush is under way. */
let own = '';
let writeCount = 0;
const writer = setInterval(() => {
  const path = pick(others, paths);
  if (path === own) return;
  overwrite(join(pair.source, path), `other ${writeCount++}`, 16);
}, 1000 / Number(values.writes));

const latenciesMs: number[] = [];
let missed = 0;
for (let i = 0; i < Number(values.flushes); i++) {
  own = pick(random, paths);
  const text = `flush ${values.seed} ${String(i).padStart(6, '0')}`;
  overwrite(join(pair.source, own), text, 0);
  const begunMs = performance.now();
  const answer = await callControl({ folder: push.folder, command: 'flush', signal });
  latenciesMs.push(performance.now() - begunMs);
  const found = fs.readFileSync(join(pair.target, own)).subarray(0, text.length).toString();
  if (found === text && answer !== undefined) continue;
  missed++;
  console.error(`flush ${i}: ${own} has '${found}', not '${text}'`);
}
clearInterval(writer);
await callControl({ folder: push.folder, command: 'flush', signal });
const differences = pair.differences().length;
await pair.stop();
fs.rmSync(folder, { recursive: true });
latenciesMs.sort((a, b) => a - b);
console.log(
  JSON.stringify({
    bench: 'soak/flush',
    ...values,
    writeCount,
    missed,
    differences,
    medianMs: Math.round(median(latenciesMs)),
    p99Ms: Math.round(latenciesMs[Math.floor(latenciesMs.length * 0.99)] ?? Number.NaN),
    maxMs: Math.round(latenciesMs.at(-1) ?? Number.NaN),
  }),
);
process.exitCode = missed === 0 && differences === 0 ? 0 : 1;

/** In place: neither the size nor the directory's times tell. */
function overwrite(path: string, text: string, at: number): void {
  const fd = fs.openSync(path, 'r+');
  fs.writeSync(fd, text, at);
  fs.closeSync(fd);
}
