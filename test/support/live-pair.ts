// A `receive` and a `push` of the built command that replicate one folder into another.
import fs from 'node:fs';
import { join } from 'node:path';
import { fakeSsh, type Transport } from './fake-ssh.ts';
import { type Exit, Home, type Program } from './programs.ts';
import { compareTrees } from './tree.ts';

export interface PairOptions {
  /** Everything lies below it. */
  readonly folder: string;
  readonly source?: string;
  readonly pushArgs?: readonly string[];
  /** Over ssh a push is given them. */
  readonly receiveArgs?: readonly string[];
  /** ssh: there is no receiver until a push starts one, by a program in the place of ssh. */
  readonly transport?: Transport;
  /** A real sshd that is reached instead of that program, or a relay to one. */
  readonly sshd?: SshAddress | undefined;
}

export interface SshAddress {
  /** For --rsh. */
  readonly rsh: string;
  readonly user: string;
  readonly port: number;
}

export class LivePair {
  readonly home: Home;
  readonly source: string;
  readonly target: string;
  readonly #options: PairOptions;
  receive: Program | undefined;
  push: Program | undefined;
  port = 0;

  constructor(options: PairOptions) {
    this.#options = options;
    this.home = new Home(join(options.folder, 'home'));
    this.source = options.source ?? join(options.folder, 'source');
    this.target = join(options.folder, 'target');
    fs.mkdirSync(this.source, { recursive: true });
  }

  async start(): Promise<void> {
    await this.startReceive();
    this.startPush();
  }

  /** On the port of before, if there is one. */
  async startReceive(): Promise<void> {
    if (this.#options.transport === 'ssh') return;
    const port = ['--port', String(this.port)];
    const started = await this.home.receive(this.target, [
      ...port,
      ...(this.#options.receiveArgs ?? []),
    ]);
    this.receive = started.program;
    this.port = started.port;
  }

  startPush(extra: readonly string[] = []): Program {
    const args = [
      '--interval',
      '200',
      ...this.#transportArgs,
      ...(this.#options.pushArgs ?? []),
      ...extra,
    ];
    this.push = this.home.push(this.source, this.address, args);
    return this.push;
  }

  get #transportArgs(): string[] {
    const { transport, folder, sshd, receiveArgs = [] } = this.#options;
    if (transport !== 'ssh') return [];
    const flags = fakeSsh(folder);
    return [...flags, ...(sshd ? ['--rsh', sshd.rsh] : []), ...receiveArgs];
  }

  get address(): string {
    const { transport, sshd } = this.#options;
    if (transport !== 'ssh') return `127.0.0.1:${this.port}`;
    return `ssh://${sshd ? `${sshd.user}@127.0.0.1:${sshd.port}` : 'here'}${this.target}`;
  }

  /** `source`: another one than its own. */
  once(
    extra: readonly string[] = [],
    source = this.source,
  ): Promise<{ code: number | null; lines: readonly string[] }> {
    const args = [...this.#transportArgs, ...(this.#options.pushArgs ?? []), ...extra];
    return this.home.pushOnce(source, this.address, args);
  }

  differences(): string[] {
    return compareTrees(this.source, this.target);
  }

  /** Waits until both trees are equal; how long that took in ms. Throws with the differences. */
  async equal(limitMs = 20_000): Promise<number> {
    return untilEqual(this.source, this.target, limitMs, () => this.lines());
  }

  /** The last lines of both programs, for messages. */
  lines(): string[] {
    return [
      ...(this.push?.lines.slice(-30).map(line => `push: ${line}`) ?? []),
      ...(this.receive?.lines.slice(-15).map(line => `receive: ${line}`) ?? []),
    ];
  }

  /** Stops what runs, as Ctrl-C does. */
  async stop(): Promise<(Exit | undefined)[]> {
    const push = await this.push?.stop();
    const receive = await this.receive?.stop();
    this.push = undefined;
    this.receive = undefined;
    return [push, receive];
  }

  /** Ends what still runs, whatever it does. */
  async kill(): Promise<void> {
    await this.push?.stop('SIGKILL');
    await this.receive?.stop('SIGKILL');
  }
}

/** Waits until two trees are equal; how long that took in ms. Throws with the differences. */
export async function untilEqual(
  source: string,
  target: string,
  limitMs: number,
  context: () => readonly string[] = () => [],
): Promise<number> {
  const begunMs = performance.now();
  let differences: readonly string[] = [];
  for (;;) {
    // When the comparison began: its own time does not count against the product.
    const tookMs = performance.now() - begunMs;
    differences = tryCompare(source, target);
    if (differences.length === 0) return tookMs;
    if (tookMs > limitMs) {
      const lines = [`not equal within ${limitMs} ms:`, ...differences.slice(0, 30), ...context()];
      throw new Error(lines.join('\n'));
    }
    await new Promise(resolve => setTimeout(resolve, 50));
  }
}

/** A tree that changes under the comparison is not equal yet. */
function tryCompare(source: string, target: string): string[] {
  try {
    return compareTrees(source, target);
  } catch (error) {
    if (error instanceof Error && 'syscall' in error) return [error.message];
    throw error;
  }
}
