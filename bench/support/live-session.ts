// A running pair of push and receive, and what one change costs it: from the tick that sees the
// change until it is durable.
//
// The sender is stopped (SIGSTOP) for longer than an interval while the change is made, so that its
// next tick begins the moment it goes on; that moment starts the clock.
import fs from 'node:fs';
import { join } from 'node:path';
import { Home, type Program, waitUntil } from '../../test/support/programs.ts';
import { Relay } from '../../test/support/relay.ts';
import { compareByRsync } from '../../test/support/rsync.ts';
import { type Cost, cpuSecondsOf, ProcessMeter } from './processes.ts';

export interface SessionOptions {
  /** Everything but the trees lies below it. */
  readonly folder: string;
  readonly source: string;
  readonly target: string;
  readonly intervalMs: number;
  readonly tls: boolean;
  readonly pushArgs?: readonly string[];
  /** Removes kept content after each change. */
  readonly dropsKept: boolean;
  /** Called when the change is made, right before the clock starts. */
  readonly beforeClock?: () => void;
  /** Where both processes leave CPU profiles of all their threads when they end. */
  readonly profileFolder: string | undefined;
}

export interface Measured {
  readonly seconds: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly push: Cost;
  readonly receive: Cost;
  /** Of both, for the second look at changed content, some seconds later. */
  readonly lookCpuSeconds: number;
}

/** The longest a change may take. */
const limitMs = 300_000;
/** Without CPU use for this long a process waits. */
const idleMs = 300;
/** Second looks begin 2 s after a change. */
const secondLookMs = 2_300;

export class LiveSession {
  readonly #options: SessionOptions;
  readonly #receive: Program;
  readonly #push: Program;
  readonly #relay: Relay;

  private constructor(
    options: SessionOptions,
    parts: { receive: Program; push: Program; relay: Relay },
  ) {
    this.#options = options;
    this.#receive = parts.receive;
    this.#push = parts.push;
    this.#relay = parts.relay;
  }

  /** Starts both and waits until the trees are equal. */
  static async open(options: SessionOptions): Promise<LiveSession> {
    const { source, target, intervalMs } = options;
    fs.mkdirSync(target, { recursive: true });
    const home = new Home(join(options.folder, 'home'));
    const { profileFolder } = options;
    const nodeArgs = profileFolder ? ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`] : [];
    const plain = options.tls ? [] : ['--insecure'];
    const listen = ['receive', target, '--host', '127.0.0.1', '--port', '0', ...plain];
    const receive = home.run(listen, nodeArgs);
    const line = await receive.line(/^listening on /);
    const port = Number(line.slice(line.lastIndexOf(':') + 1));
    const relay = await Relay.open({ targetPort: port });
    const args = [
      'push',
      source,
      `127.0.0.1:${relay.port}`,
      '--interval',
      String(intervalMs),
      ...plain,
      ...(options.pushArgs ?? []),
    ];
    if (options.tls) args.push('--key-file', join(home.folder, 'config/replica/receiver.key'));
    const push = home.run(args, nodeArgs);
    const session = new LiveSession(options, { receive, push, relay });
    try {
      await push.line(/in sync/, limitMs);
      await session.#idle();
      return session;
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  /** Makes the change, and what it cost once the trees are equal again. */
  async measure(change: () => void): Promise<Measured> {
    const { intervalMs } = this.#options;
    await this.#idle();
    const from = this.#push.lines.length;
    this.#push.child.kill('SIGSTOP');
    change();
    await sleep(intervalMs + 100);
    this.#options.beforeClock?.();
    const [up, down] = [this.#relay.bytesUp, this.#relay.bytesDown];
    const meters = [this.#push, this.#receive].map(one => new ProcessMeter(one.child.pid ?? 0));
    const begunMs = Date.now();
    this.#push.child.kill('SIGCONT');
    await this.#push.line(/in sync/, limitMs, from);
    const [push, receive] = meters.map(meter => meter.stop());
    if (push === undefined || receive === undefined) throw new Error('unreachable');
    const bytes = { bytesUp: this.#relay.bytesUp - up, bytesDown: this.#relay.bytesDown - down };
    const seconds = (durableAtMs(this.#push.lines.slice(from)) - begunMs) / 1000;
    const lookFrom = this.#cpuSeconds();
    await sleep(secondLookMs + intervalMs);
    await this.#idle();
    const lookCpuSeconds = this.#cpuSeconds() - lookFrom;
    await this.#check();
    if (this.#options.dropsKept) this.#dropKept();
    return { seconds, ...bytes, push, receive, lookCpuSeconds };
  }

  async #check(): Promise<void> {
    const { source, target } = this.#options;
    const differences = await compareByRsync(source, target);
    if (differences.length > 0) throw new Error(`not equal: ${differences.slice(0, 5).join('; ')}`);
  }

  /** Replaced content would be kept for a day; there is no room for that in memory. */
  #dropKept(): void {
    const folder = join(this.#options.target, '.replica/kept');
    for (const name of fs.readdirSync(folder)) {
      fs.rmSync(join(folder, name), { recursive: true, force: true });
    }
  }

  #cpuSeconds(): number {
    return cpuSecondsOf(this.#push.child.pid ?? 0) + cpuSecondsOf(this.#receive.child.pid ?? 0);
  }

  /** Until both processes wait for something. */
  async #idle(): Promise<void> {
    // Profiling itself takes time.
    const quietSeconds = this.#options.profileFolder === undefined ? 0 : 0.1;
    let seconds = -1;
    await waitUntil(
      async () => {
        const before = seconds;
        await sleep(idleMs);
        seconds = this.#cpuSeconds();
        return seconds - before <= quietSeconds;
      },
      'an idle session',
      limitMs,
    );
  }

  async close(): Promise<void> {
    await this.#push.stop();
    await this.#receive.stop();
    await this.#relay.close();
  }
}

/** The time of the last commit in a log. */
export function durableAtMs(lines: readonly string[]): number {
  const commits = lines.filter(line => line.includes('"commit":'));
  const last: unknown = JSON.parse(commits.at(-1) ?? '{}');
  if (typeof last !== 'object' || last === null || !('time' in last)) {
    throw new Error(`no commit:\n${lines.join('\n')}`);
  }
  return typeof last.time === 'number' ? last.time : Date.parse(String(last.time));
}

function sleep(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}
