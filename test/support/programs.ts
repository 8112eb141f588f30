// The built command as users run it: started, watched line by line, stopped or killed.
import { type ChildProcess, type ChildProcessByStdio, spawn } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running `replica …`. Lines of both outputs are kept, the newest 10,000. */
export class Program {
  readonly child: ChildProcess;
  readonly lines: string[] = [];
  readonly stdout: string[] = [];
  readonly exit: Promise<Exit>;
  #exited: Exit | undefined;
  #wakers: (() => void)[] = [];

  /** Any command, such as one that becomes another user first. */
  static spawn(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Program {
    return new Program(spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] }));
  }

  static replica(
    args: readonly string[],
    env: NodeJS.ProcessEnv,
    nodeArgs: readonly string[] = [],
  ): Program {
    return Program.spawn(process.execPath, [...nodeArgs, main, ...args], env);
  }

  private constructor(child: ChildProcessByStdio<null, Readable, Readable>) {
    this.child = child;
    this.#collect(child.stdout, this.stdout);
    this.#collect(child.stderr, undefined);
    this.exit = new Promise(resolve => {
      child.on('close', (code, signal) => {
        this.#exited = { code, signal };
        resolve(this.#exited);
        this.#wake();
      });
    });
  }

  get exited(): Exit | undefined {
    return this.#exited;
  }

  #collect(stream: NodeJS.ReadableStream, also: string[] | undefined): void {
    let rest = '';
    stream.setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\n');
      rest = parts.pop() ?? '';
      this.lines.push(...parts);
      also?.push(...parts);
      if (this.lines.length > 10_000) this.lines.splice(0, this.lines.length - 10_000);
      this.#wake();
    });
    stream.on('end', () => {
      if (rest === '') return;
      this.lines.push(rest);
      also?.push(rest);
    });
  }

  #wake(): void {
    for (const wake of this.#wakers.splice(0)) wake();
  }

  /** The first line from index `from` on that matches; throws with the output when none comes. */
  async line(pattern: RegExp, timeoutMs = 20_000, from = 0): Promise<string> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const found = this.lines.slice(from).find(line => pattern.test(line));
      if (found !== undefined) return found;
      const leftMs = deadline - Date.now();
      if (leftMs <= 0 || this.#exited !== undefined) {
        const why = this.#exited === undefined ? 'in time' : `before exit ${this.#exited.code}`;
        throw new Error(`no line ${pattern} ${why}:\n${this.lines.slice(-40).join('\n')}`);
      }
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, leftMs);
        this.#wakers.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  /** Sends the signal and waits for the end. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    if (this.#exited === undefined) this.child.kill(signal);
    return this.exit;
  }
}

/** Commands with a home of their own below `folder`. */
export class Home {
  readonly folder: string;
  readonly env: NodeJS.ProcessEnv;

  constructor(folder: string, changes: NodeJS.ProcessEnv = {}) {
    this.folder = folder;
    fs.mkdirSync(folder, { recursive: true });
    const { PATH } = process.env;
    this.env = {
      PATH,
      HOME: folder,
      XDG_CONFIG_HOME: join(folder, 'config'),
      XDG_STATE_HOME: join(folder, 'state'),
      NO_COLOR: '1',
      ...changes,
    };
  }

  run(args: readonly string[], nodeArgs: readonly string[] = []): Program {
    return Program.replica(args, this.env, nodeArgs);
  }

  /** Starts `receive` and waits until it listens. */
  async receive(
    target: string,
    args: readonly string[] = [],
  ): Promise<{ program: Program; port: number }> {
    const program = this.run(['receive', target, '--host', '127.0.0.1', '--port', '0', ...args]);
    const line = await program.line(/^listening on /).catch(async (error: unknown) => {
      // Nobody else knows of it.
      await program.stop('SIGKILL');
      throw error;
    });
    return { program, port: Number(line.slice(line.lastIndexOf(':') + 1)) };
  }

  push(source: string, target: string, args: readonly string[] = []): Program {
    return this.run(['push', source, target, ...args]);
  }

  /** `push --once`; resolves with its exit code and output. */
  async pushOnce(
    source: string,
    target: string,
    args: readonly string[] = [],
  ): Promise<{ code: number | null; lines: readonly string[] }> {
    const program = this.push(source, target, ['--once', ...args]);
    const { code } = await program.exit;
    return { code, lines: program.lines };
  }
}

/** Polls until `condition` holds; throws with `what` otherwise. */
export async function waitUntil(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 20_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}
