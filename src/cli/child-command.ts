// A replica command as a process of its own, for `replica up`: what ends or hangs it, or fills its
// memory, leaves the others alone.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';

export interface RunningCommand {
  /** What it prints, on either stream, line by line, until it ends. */
  readonly lines: AsyncIterable<string>;
  /** Its exit code; undefined when it was killed or could not be started. */
  readonly ended: Promise<number | undefined>;
  /** Asks it to finish the commit under way and end. */
  stop(): void;
}

export type StartCommand = (
  argv: readonly string[],
  options: { readonly cwd: string; readonly env: Readonly<Record<string, string | undefined>> },
) => RunningCommand;

const mainFile = fileURLToPath(new URL('./main.js', import.meta.url));

export const startCommand: StartCommand = (argv, { cwd, env }) => {
  const child = fork(mainFile, argv, {
    cwd,
    env,
    // Behind them a flag of ours is none of Node's.
    execArgv: ['--'],
    // The channel tells it when we are gone, however we went.
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    // Control-C of a terminal is for us: it would hear it twice, which means: at once.
    detached: true,
  });
  const output = new PassThrough();
  let openCount = 0;
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue;
    openCount++;
    const lines = createInterface({ input: stream });
    lines.on('line', line => output.write(`${line}\n`));
    lines.on('close', () => {
      if (--openCount === 0) output.end();
    });
  }
  return {
    lines: createInterface({ input: output }),
    ended: once(child, 'close').then(
      () => child.exitCode ?? undefined,
      () => undefined,
    ),
    stop: () => void child.kill('SIGTERM'),
  };
};
