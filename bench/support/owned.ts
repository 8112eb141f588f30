// What a bench starts and makes does not outlive it, however it ends: processes are killed and
// folders removed when this process exits, on a signal too. A SIGKILL nobody hears, so where
// setpriv(1) is there, the kernel ends rivals with us (PR_SET_PDEATHSIG).
import { type ChildProcess, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { Program } from '../../test/support/programs.ts';

const children = new Set<ChildProcess>();
const cleanups: (() => void)[] = [];
let isWatching = false;

/** Kills the process when this one ends first. */
export function own<T extends ChildProcess>(child: T): T {
  watch();
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

/** A new folder below `place`, removed at the end. */
export function ownFolder(place: string): string {
  watch();
  const folder = fs.mkdtempSync(join(place, 'replica-bench-'));
  atEnd(() => fs.rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}

/** Called when this process exits, after the processes it owns were killed; newest first. */
export function atEnd(act: () => void): void {
  watch();
  cleanups.unshift(act);
}

/** A command of a rival. */
export function spawnOwned(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Program {
  const dying = hasSetpriv() ? ['setpriv', '--pdeathsig', 'KILL'] : [];
  const [first = command, ...rest] = [...dying, command, ...args];
  return ownProgram(Program.spawn(first, rest, env));
}

export function ownProgram(program: Program): Program {
  own(program.child);
  return program;
}

/** Whether the command is installed: it says so when asked for its version. */
export function firstLineOf(command: string, args: readonly string[]): string | undefined {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8' });
  return status === 0 ? stdout.split('\n')[0] : undefined;
}

let setpriv: boolean | undefined;

function hasSetpriv(): boolean {
  setpriv ??= spawnSync('setpriv', ['--pdeathsig', 'KILL', 'true']).status === 0;
  return setpriv;
}

function watch(): void {
  if (isWatching) return;
  isWatching = true;
  process.on('exit', () => {
    for (const child of children) child.kill('SIGKILL');
    for (const act of cleanups) act();
  });
  // The exit code of a shell for a signal.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => process.exit(130));
  }
}
