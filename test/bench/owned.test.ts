import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import t from 'tap';
import { waitUntil } from '../support/programs.ts';

const owned = new URL('../../bench/support/owned.js', import.meta.url).href;
/** Starts a process and a rival, makes a folder, says which, and waits. */
const script = `
  const { spawn } = await import('node:child_process');
  const { own, ownFolder, spawnOwned } = await import(${JSON.stringify(owned)});
  const folder = ownFolder(process.argv[1]);
  const { pid } = own(spawn('sleep', ['600']));
  const rival = spawnOwned('sleep', ['600'], process.env).child.pid;
  console.log(JSON.stringify({ folder, pid, rival }));
  setInterval(() => {}, 1000);
`;

interface Made {
  readonly folder: string;
  readonly pid: number;
  readonly rival: number;
}

/** What the script made, once it was ended by `signal`. */
async function endBy(signal: NodeJS.Signals, place: string): Promise<Made> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, place], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(child.stdout, 'data');
  // Written by the script.
  const made = JSON.parse(String(line)) as Made;
  if (![made.pid, made.rival].every(isRunning) || !fs.existsSync(made.folder))
    throw new Error('nothing was made');
  child.kill(signal);
  await once(child, 'exit');
  return made;
}

function isRunning(pid: number): boolean {
  try {
    // A process that ended stays as a zombie until somebody waits for it.
    return !/^State:\s+Z/m.test(fs.readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return false;
  }
}

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  t.test(`${signal} to a bench ends what it started and removes what it made`, async t => {
    const { pid, rival, folder } = await endBy(signal, t.testdir());
    await waitUntil(() => ![pid, rival].some(isRunning), 'both processes have ended');
    t.notOk(fs.existsSync(folder));
  });
}

const hasSetpriv = spawnSync('setpriv', ['--version']).status === 0;
t.test(
  'SIGKILL to a bench ends rivals, too',
  { skip: hasSetpriv ? false : 'setpriv is not installed' },
  async t => {
    const { pid, rival } = await endBy('SIGKILL', t.testdir());
    process.kill(pid);
    await waitUntil(() => !isRunning(rival), 'the rival has ended');
    t.notOk(isRunning(rival));
  },
);
