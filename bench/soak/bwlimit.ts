// Does --bwlimit hold over 10 s, and does a change take effect within 2 s? Bytes are counted by a
// relay between the two, TLS included.
//   node dist/bench/soak/bwlimit.js [--rates 512,2M,20M] [--seconds 10] [--folder DIR]
import fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { parseBandwidth, rateAt } from '../../src/cli/bandwidth.ts';
import { findPushes } from '../../src/cli/running-pushes.ts';
import { callControl } from '../../src/control/control-client.ts';
import { silentLog } from '../../src/log.ts';
import { LivePair } from '../../test/support/live-pair.ts';
import { waitUntil } from '../../test/support/programs.ts';
import { Relay } from '../../test/support/relay.ts';
import { makeLargeFile } from '../support/trees.ts';

const { values } = parseArgs({
  options: {
    rates: { type: 'string', default: '512,2M,20M' },
    seconds: { type: 'string', default: '10' },
    folder: { type: 'string', default: '/dev/shm' },
  },
});
/** After a change of the rate, before the count begins. */
const settleMs = 2000;

const folder = fs.mkdtempSync(join(values.folder, 'replica-soak-'));
const rates = values.rates.split(',');
const seconds = Number(values.seconds);
const pair = new LivePair({ folder });
const sum = rates.reduce((total, rate) => total + bytesPerSecond(rate), 0);
const size = Math.ceil(sum * (seconds + settleMs / 1000) * 1.2);
makeLargeFile(join(pair.source, 'large'), size);
await pair.startReceive();
const relay = await Relay.open({ targetPort: pair.port });
pair.push = pair.home.push(pair.source, `127.0.0.1:${relay.port}`, ['--bwlimit', rates[0] ?? '']);
await waitUntil(() => relay.bytesUp > 64 * 1024, 'the first bytes');

const signal = new AbortController().signal;
const stateBase = join(pair.home.folder, 'state', 'replica');
const any = { source: undefined, target: undefined };
const [push] = await findPushes(stateBase, any, { cwd: folder, signal, log: silentLog });
if (push === undefined) throw new Error('the push has no control socket');
let isHeld = true;
for (const rate of rates) {
  await callControl({ folder: push.folder, command: 'bwlimit', argument: rate, signal });
  await sleep(settleMs);
  const begunBytes = relay.bytesUp;
  const begunMs = performance.now();
  await sleep(seconds * 1000);
  const measured = (relay.bytesUp - begunBytes) / ((performance.now() - begunMs) / 1000);
  const ratio = measured / bytesPerSecond(rate);
  isHeld &&= ratio > 0.95 && ratio < 1.05;
  const row = { bench: 'soak/bwlimit', rate, bytesPerSecond: Math.round(measured) };
  console.log(JSON.stringify({ ...row, ratio: Number(ratio.toFixed(4)) }));
}
await pair.kill();
await relay.close();
fs.rmSync(folder, { recursive: true });
process.exitCode = isHeld ? 0 : 1;

function bytesPerSecond(rate: string): number {
  return rateAt(parseBandwidth(rate, '--rates'), new Date());
}
