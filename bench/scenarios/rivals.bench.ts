// What do a first copy, a restart with nothing changed, an idle minute and one change take, beside
// rsync in a loop, Unison and Syncthing?
//
//   node dist/bench/scenarios/rivals.bench.js [--files 10000] [--large MiB] [--runs 5] [--idle 60]
//     [--settle 20] [--samples 20] [--interval 1] [--tools replica,rsync,unison,syncthing]
//     [--json FILE] [--place /dev/shm]
//
// All poll, at the same interval; all on loopback, with files on tmpfs. replica and Syncthing encrypt
// and flush what they write, rsync and Unison do neither. Copies take turns, and the trees are
// compared after each. A change counts from the write until the target shows it and, of replica, the
// commit is durable; what has not come in half a minute is missed, and counted: Unison compares times
// in seconds, so of two edits in one second, before and after a look, the second escapes it. Tools
// that are not installed are skipped.
import fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { seededRandom } from '../../test/support/random.ts';
import { ownFolder } from '../support/owned.ts';
import { describeMachine, finish, type Result, ResultList } from '../support/results.ts';
import {
  checkEqual,
  meter,
  type Session,
  type Tool,
  type Work,
  withSession,
} from '../support/tool.ts';
import { installedTools, toolNames } from '../support/tools.ts';
import { touchMemory } from '../support/touch-memory.ts';
import { makeLargeFile, makeSmallFiles } from '../support/trees.ts';

const { values } = parseArgs({
  options: {
    files: { type: 'string', default: '10000' },
    'per-folder': { type: 'string', default: '50' },
    large: { type: 'string', default: '64' },
    runs: { type: 'string', default: '5' },
    idle: { type: 'string', default: '60' },
    settle: { type: 'string', default: '20' },
    samples: { type: 'string', default: '20' },
    interval: { type: 'string', default: '1' },
    tools: { type: 'string', default: toolNames },
    json: { type: 'string' },
    place: { type: 'string', default: '/dev/shm' },
  },
});

const mebibyte = 1024 * 1024;
const largeSize = Number(values.large) * mebibyte;
const intervalSeconds = Number(values.interval);
const base = ownFolder(values.place);
const source = join(base, 'source');
const at = { base, source, intervalSeconds };
/** A change that has not arrived by then is missed. */
const missedMs = 30_000;
const tree = `${Number(values.files).toLocaleString('en-US')} files`;

const { tools, versions } = installedTools(values.tools);
const found = new ResultList();

function add(tool: Tool, of: Omit<Result, 'tool' | 'runs'>, value: number): void {
  found.add({ ...of, tool: tool.name }, value);
}

function addWork(tool: Tool, work: string, cost: Work): void {
  const takesTurns = true;
  add(tool, { group: 'Copies', work, unit: 's', takesTurns }, cost.seconds);
  add(tool, { group: 'CPU of both sides', work, unit: 's', takesTurns }, cost.cpuSeconds);
  add(tool, { group: 'Memory of both sides', work, unit: 'MiB', takesTurns }, cost.anonymousMib);
}

async function copies(tool: Tool): Promise<void> {
  await withSession(tool, at, async (session, target) => {
    touchMemory(values.place, largeSize + Number(values.files) * 4096);
    addWork(tool, `first copy of ${tree}, ${values.large} MiB file`, await session.copy());
    addWork(tool, 'restart, nothing changed', await session.copy());
    await checkEqual(source, target);
  });
}

const random = seededRandom(7);
let serial = 0;
let missedCount = 0;

/** Each makes a change and returns whether the target shows it. */
const changes: Readonly<
  Record<string, (target: string, files: readonly string[]) => () => boolean>
> = {
  'a new file': (target, files) => {
    const path = join(pick(files), '..', `new${serial++}`);
    fs.writeFileSync(join(source, path), `created ${serial}`);
    return () => textAt(join(target, path), 0, 7) === 'created';
  },
  'an edit of a small file': (target, files) => edit(target, pick(files), 0),
  [`an edit in a ${values.large} MiB file`]: target =>
    edit(target, 'large', Math.floor(random() * (largeSize - 100))),
};

function pick(files: readonly string[]): string {
  return files[Math.floor(random() * files.length)] ?? '';
}

function edit(target: string, path: string, offset: number): () => boolean {
  const text = `edit ${String(serial++).padStart(6, '0')}`;
  const fd = fs.openSync(join(source, path), 'r+');
  fs.writeSync(fd, text, offset);
  fs.closeSync(fd);
  return () => textAt(join(target, path), offset, text.length) === text;
}

/** Empty while it is not there. */
function textAt(path: string, offset: number, length: number): string {
  if (!fs.existsSync(path)) return '';
  const fd = fs.openSync(path, 'r');
  const bytes = Buffer.alloc(length);
  fs.readSync(fd, bytes, 0, length, offset);
  fs.closeSync(fd);
  return bytes.toString('latin1');
}

/** Seconds until the change is there; half a minute if it does not come. */
async function sample(session: Session, change: () => () => boolean): Promise<number> {
  // At any moment between two looks.
  await sleep(random() * intervalSeconds * 1000);
  const commits = session.commits?.() ?? 0;
  const begunMs = performance.now();
  const isThere = change();
  const isDurable = (): boolean => session.commits === undefined || session.commits() > commits;
  while (!isThere() || !isDurable()) {
    if (performance.now() - begunMs > missedMs) {
      missedCount++;
      break;
    }
    await sleep(4);
  }
  return (performance.now() - begunMs) / 1000;
}

async function following(tool: Tool): Promise<void> {
  await withSession(tool, at, async (session, target) => {
    await session.copy();
    await session.follow();
    await sleep(Number(values.settle) * 1000);
    if (Number(values.idle) > 0) {
      const idle = await meter(session, () => sleep(Number(values.idle) * 1000));
      const work = `idle, looking every ${intervalSeconds} s`;
      const percent = (idle.cpuSeconds / idle.seconds) * 100;
      add(tool, { group: 'Idle', work, unit: '% of a core' }, percent);
      add(tool, { group: 'Memory of both sides', work, unit: 'MiB' }, idle.anonymousMib);
    }
    for (const [work, change] of Object.entries(changes)) {
      missedCount = 0;
      for (let i = 0; i < Number(values.samples); i++) {
        const seconds = await sample(session, () => change(target, files));
        add(tool, { group: 'Until a change is there', work, unit: 's' }, seconds);
      }
      if (missedCount > 0) console.log(`${tool.name} missed ${missedCount} times: ${work}`);
    }
  });
}

fs.mkdirSync(source);
makeSmallFiles(source, Number(values.files), Number(values['per-folder']));
makeLargeFile(join(source, 'large'), largeSize);
const files = fs
  .readdirSync(source, { recursive: true, encoding: 'utf8' })
  .filter(path => path.endsWith('.dat'));
for (let run = 0; run < Number(values.runs); run++) {
  for (const tool of tools) await copies(tool);
  console.error(`copies: run ${run + 1} of ${values.runs}`);
}
for (const tool of tools) {
  await following(tool);
  console.error(`followed: ${tool.name}`);
}
const results = found.grouped();
const options = { ...values, json: undefined };
finish(
  { scenario: 'rivals', machine: describeMachine(), tools: versions, options, results },
  values.json,
);
