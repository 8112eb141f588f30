// What do `push` and `receive` cost while nothing changes?
//
//   node dist/bench/scenarios/idle.bench.js [--files 100000] [--per-folder 50] [--settle 60]
//     [--seconds 60] [--cpu-limit 10%] [--interval 500] [--place /dev/shm]
import { parseArgs } from 'node:util';
import { ProcessMeter } from '../support/processes.ts';
import { SyncedPair } from '../support/synced-pair.ts';

const { values } = parseArgs({
  options: {
    files: { type: 'string', default: '100000' },
    'per-folder': { type: 'string', default: '50' },
    settle: { type: 'string', default: '60' },
    seconds: { type: 'string', default: '60' },
    'cpu-limit': { type: 'string', default: '10%' },
    interval: { type: 'string', default: '500' },
    place: { type: 'string', default: '/dev/shm' },
  },
});

const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms));
const pair = await SyncedPair.open({
  files: Number(values.files),
  perFolder: Number(values['per-folder']),
  place: values.place,
  pushFlags: [`--cpu-limit=${values['cpu-limit']}`, `--interval=${values.interval}`],
});
try {
  await sleep(Number(values.settle) * 1000);
  const lineCount = pair.pushing.lines.length;
  const push = new ProcessMeter(pair.pushing.child.pid ?? 0);
  const receive = new ProcessMeter(pair.receiving.child.pid ?? 0);
  const begunMs = performance.now();
  await sleep(Number(values.seconds) * 1000);
  const seconds = (performance.now() - begunMs) / 1000;
  const costs = { push: push.stop(), receive: receive.stop() };
  const commits = pair.pushing.lines.slice(lineCount).filter(line => /commit/.test(line));
  console.log(
    JSON.stringify({
      what: `idle, ${values.files} files, ${values['per-folder']} a directory`,
      interval: values.interval,
      cpuLimit: values['cpu-limit'],
      pushPercentOfCore: Number(((costs.push.cpuSeconds / seconds) * 100).toFixed(2)),
      receivePercentOfCore: Number(((costs.receive.cpuSeconds / seconds) * 100).toFixed(2)),
      pushAnonymousMib: Math.round(costs.push.anonymousMib),
      receiveAnonymousMib: Math.round(costs.receive.anonymousMib),
      commits: commits.length,
    }),
  );
} finally {
  await pair.close();
}
