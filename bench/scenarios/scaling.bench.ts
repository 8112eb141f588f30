// How does cost grow with the number of files, from 1,000 to 1,000,000, beside rsync in a loop,
// Unison and Syncthing?
//
//   node dist/bench/scenarios/scaling.bench.js [--sizes 1000,10000,100000] [--runs 3] [--idle 20]
//     [--settle 20] [--interval 1] [--tools replica,rsync,unison,syncthing] [--json FILE]
//     [--place /dev/shm]
//
// First copy, restart with nothing changed, CPU of a look and memory while nothing changes; of replica
// also a sweep of the whole tree by the scanner alone. From a million files on, which take 10 GB at
// the place, each tool runs once, and only copies: --sizes 1000000 --place FOLDER.
import fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ownFolder } from '../support/owned.ts';
import {
  describeMachine,
  finish,
  type Report,
  type Result,
  ResultList,
  writeReport,
} from '../support/results.ts';
import { openScanner, sweep } from '../support/sweeps.ts';
import { SyncedPair } from '../support/synced-pair.ts';
import { checkEqual, meter, type Tool, withSession } from '../support/tool.ts';
import { installedTools, toolNames } from '../support/tools.ts';
import { touchMemory } from '../support/touch-memory.ts';
import { makeSmallFiles } from '../support/trees.ts';

const { values } = parseArgs({
  options: {
    sizes: { type: 'string', default: '1000,10000,100000' },
    'per-folder': { type: 'string', default: '50' },
    runs: { type: 'string', default: '3' },
    idle: { type: 'string', default: '20' },
    settle: { type: 'string', default: '20' },
    interval: { type: 'string', default: '1' },
    tools: { type: 'string', default: toolNames },
    json: { type: 'string' },
    place: { type: 'string', default: '/dev/shm' },
  },
});

const perFolder = Number(values['per-folder']);
const intervalSeconds = Number(values.interval);
const base = ownFolder(values.place);
/** From here on once, and without what takes minutes of waiting. */
const hugeCount = 1_000_000;
const { tools, versions } = installedTools(values.tools);
const results = new ResultList();

function add(tool: string, of: Omit<Result, 'tool' | 'runs' | 'work'>, value: number): void {
  const work = `${(of.files ?? 0).toLocaleString('en-US')} files`;
  results.add({ ...of, work, tool }, value);
}

async function copies(tool: Tool, source: string, files: number): Promise<void> {
  await withSession(tool, { base, source, intervalSeconds }, async (session, target) => {
    touchMemory(values.place, files * 4096);
    const first = await session.copy();
    const again = await session.copy();
    await checkEqual(source, target);
    const series = { files, takesTurns: true };
    add(tool.name, { group: 'First copy', unit: 's', ...series }, first.seconds);
    add(tool.name, { group: 'CPU of a first copy', unit: 's', ...series }, first.cpuSeconds);
    add(tool.name, { group: 'Memory of a first copy', unit: 'MiB', ...series }, first.anonymousMib);
    add(tool.name, { group: 'Restart, nothing changed', unit: 's', ...series }, again.seconds);
    const figures = [first.seconds, first.cpuSeconds, again.seconds].map(one => one.toFixed(2));
    console.error(`${files} files, ${tool.name}: ${figures.join(', ')} s again`);
  });
}

async function following(tool: Tool, source: string, files: number): Promise<void> {
  await withSession(tool, { base, source, intervalSeconds }, async session => {
    await session.copy();
    await session.follow();
    await sleep(Number(values.settle) * 1000);
    const { cpuSeconds, seconds, anonymousMib } = await meter(session, () =>
      sleep(Number(values.idle) * 1000),
    );
    const percent = (cpuSeconds / seconds) * 100;
    const group = `Idle, looking every ${values.interval} s`;
    add(tool.name, { group, unit: '% of a core', files }, percent);
    add(tool.name, { group: 'Memory while idle', unit: 'MiB', files }, anonymousMib);
  });
}

/** With records that a push has made and trusts. */
async function sweeps(files: number): Promise<void> {
  const { place } = values;
  const pair = await SyncedPair.open({ files, perFolder, place, pushFlags: ['--cpu-limit=100%'] });
  try {
    await pair.pushing.stop();
    const { scanner, store } = openScanner(pair.home.folder, pair.source);
    for (let i = 0; i < 3; i++) sweep(scanner);
    for (let i = 0; i < 5; i++) {
      add('replica', { group: 'Sweep of the whole tree', unit: 's', files }, sweep(scanner));
    }
    await store.close();
  } finally {
    await pair.close();
  }
}

function report(): Report {
  const options = { ...values, json: undefined };
  const head = { scenario: 'scaling', machine: describeMachine(), tools: versions, options };
  return { ...head, results: results.grouped() };
}

for (const files of values.sizes.split(',').map(Number)) {
  const isHuge = files >= hugeCount;
  const source = join(base, `source${files}`);
  makeSmallFiles(source, files, perFolder);
  for (let run = 0; run < (isHuge ? 1 : Number(values.runs)); run++) {
    for (const tool of tools) await copies(tool, source, files);
  }
  if (!isHuge && Number(values.idle) > 0) {
    for (const tool of tools) await following(tool, source, files);
  }
  fs.rmSync(source, { recursive: true });
  if (tools.some(tool => tool.name === 'replica')) await sweeps(files);
  // A run of an hour that is cut short leaves what it found.
  if (values.json !== undefined) writeReport(values.json, report());
}
finish(report(), values.json);
