// Runs the command line in this process with string sinks, or the built command as a child.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { runCli } from '../../src/cli/cli.ts';
import type { CliContext } from '../../src/cli/context.ts';
import type { Programs } from '../../src/cli/programs.ts';

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface InProcessOptions {
  /** Home folder: keys, settings and state go below it. */
  readonly home: string;
  readonly env?: Record<string, string>;
  readonly stdin?: string | Readable;
  readonly cwd?: string;
  readonly signal?: AbortSignal;
  readonly programs?: Programs;
  readonly isTerminal?: boolean;
  readonly sweepYoung?: () => void;
  /** To read along while the command runs. */
  readonly stdout?: TextSink;
  readonly stderr?: TextSink;
}

export class TextSink extends Writable {
  text = '';
  isTTY?: boolean;

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString('utf8');
    done();
  }
}

export async function runInProcess(
  argv: readonly string[],
  options: InProcessOptions,
): Promise<CliResult> {
  const { stdout = new TextSink(), stderr = new TextSink() } = options;
  if (options.isTerminal) stderr.isTTY = true;
  const context: CliContext = {
    stdin: toStream(options.stdin),
    stdout,
    stderr,
    env: options.env ?? {},
    colorDepth: 1,
    cwd: options.cwd ?? options.home,
    home: options.home,
    hostname: 'testhost',
    uid: process.geteuid?.(),
    signal: options.signal ?? new AbortController().signal,
    sweepYoung: options.sweepYoung ?? (() => {}),
    onHungThread: () => {},
    onHangup: () => () => {},
  };
  const code = options.programs
    ? await runCli(argv, context, options.programs)
    : await runCli(argv, context);
  return { code, stdout: stdout.text, stderr: stderr.text };
}

function toStream(stdin: string | Readable = ''): Readable {
  return typeof stdin === 'string' ? Readable.from([stdin]) : stdin;
}

export const mainFile = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

export interface SpawnOptions {
  readonly home: string;
  readonly env?: Record<string, string>;
  readonly cwd?: string;
}

/** The built command as a child with a home of its own, its output collected. */
export class CliProcess {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';
  readonly #ended: Promise<number | null>;

  constructor(argv: readonly string[], options: SpawnOptions) {
    // What points at the user's own files goes.
    const { XDG_CONFIG_HOME: _, XDG_STATE_HOME: __, ...env } = process.env;
    this.child = spawn(process.execPath, [mainFile, ...argv], {
      cwd: options.cwd ?? options.home,
      env: { ...env, HOME: options.home, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.child.stdout?.setEncoding('utf8').on('data', text => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding('utf8').on('data', text => {
      this.stderr += text;
    });
    this.#ended = once(this.child, 'close').then(() => this.child.exitCode);
  }

  /** Resolves when `found` returns something, each time more output came. Fails when it ended. */
  async until<T>(found: (process: CliProcess) => T | undefined | false | null): Promise<T> {
    for (;;) {
      const value = found(this);
      if (value !== undefined && value !== false && value !== null) return value;
      const streams = [this.child.stdout, this.child.stderr].filter(one => one !== null);
      const stop = new AbortController();
      const more = streams.map(one => once(one, 'data', { signal: stop.signal }));
      const first = await Promise.race([
        ...more.map(one => one.then(() => 'more' as const)),
        this.#ended.then(() => 'ended' as const),
      ]);
      stop.abort();
      for (const one of more) one.catch(() => {});
      if (first === 'ended' && !found(this)) {
        throw new Error(`ended with ${this.child.exitCode}\n${this.stdout}\n${this.stderr}`);
      }
    }
  }

  /** HOST:PORT of a receiver, once it listens. */
  async listening(): Promise<string> {
    return await this.until(one => /^listening on (.*)$/m.exec(one.stdout)?.[1]);
  }

  /** Sends SIGTERM and waits; for teardown. */
  async stop(): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGTERM');
    return await this.#ended;
  }

  async result(): Promise<CliResult> {
    const code = await this.#ended;
    return { code, stdout: this.stdout, stderr: this.stderr };
  }
}

/** Runs the built command to its end. */
export async function runSpawned(
  argv: readonly string[],
  options: SpawnOptions & { readonly stdin?: string },
): Promise<CliResult> {
  const process = new CliProcess(argv, options);
  process.child.stdin?.end(options.stdin ?? '');
  return await process.result();
}
