// The story of P2 and P3: under a load of random operations, either side is killed again and again
// at random instants, started again with the same command line, and a reader watches.

import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { fakeSsh, type Transport } from './fake-ssh.ts';
import { fillTree, mutate } from './mutate.ts';
import { Home, type Program, waitUntil } from './programs.ts';
import { randomInteger, seededRandom } from './random.ts';
import { StampedFiles } from './stamped-files.ts';
import { compareTrees } from './tree.ts';
import { type Watched, Watcher } from './watcher.ts';

export interface KillOptions {
  /** An empty folder. */
  readonly folder: string;
  readonly seed: number;
  readonly kills: number;
  /** Until a side is killed, from its start. */
  readonly lifeMsMax: number;
  readonly flags?: readonly string[];
  /** ssh: the receiver is started by the push, through a program in the place of ssh. */
  readonly transport?: Transport;
  readonly say?: (text: string) => void;
}

export interface KillOutcome {
  readonly watched: Watched;
  /** Kills of each side. */
  readonly killed: Readonly<Record<Side, number>>;
  /** Lines in which a receiver spoke of drift. */
  readonly drift: readonly string[];
  /** Other lines that say that something went wrong inside. */
  readonly complaints: readonly string[];
  /** Recoveries that had a half-done commit to finish. */
  readonly finished: number;
  readonly steps: number;
  /** From the end of the load. */
  readonly convergedMs: number;
  /** Of the trees at the end. */
  readonly differences: readonly string[];
}

type Side = 'push' | 'receive';

/** Every name that test/support/mutate.ts and the stamped files give, in latin1. */
export const loadNames = [
  'stable|random|one|two|three|inside|\\.swap~|\\.save~',
  '[sl]\\d(\\.beside)?|sub|deep|large',
  // The first also through links that lead nowhere.
  '[a-h](\\.txt|\\.bin)?\\d|to-\\d|a1|b2|dangling',
  'new\\nline|tab\\there|f\\xff\\xfe\\x80|-leading|x{255}',
  Buffer.from('žluťoučký').toString('latin1'),
].join('|');

export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('not listening');
  return address.port;
}

/** The two trees and the load on the source. */
export class Load {
  readonly source: string;
  readonly target: string;
  readonly stable: StampedFiles;
  readonly #random: () => number;
  steps = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(folder: string, seed: number) {
    this.source = join(folder, 'source');
    this.target = join(folder, 'target');
    this.#random = seededRandom(seed);
    fs.mkdirSync(this.target, { recursive: true });
    fillTree(join(this.source, 'random'), this.#random, 60);
    this.stable = new StampedFiles(join(this.source, 'stable'));
    this.stable.fill(this.#random);
  }

  step(): void {
    this.steps++;
    if (this.steps % 4 === 0) this.stable.change(this.#random);
    else mutate(join(this.source, 'random'), this.#random);
  }

  start(everyMs: number): void {
    this.#timer = setInterval(() => this.step(), everyMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  watch(): Promise<Watcher> {
    const { names, links } = this.stable;
    const namePattern = `^(?:${loadNames})$`;
    return Watcher.start({ root: this.target, folder: 'stable', names, links, namePattern });
  }

  differences(): string[] {
    try {
      return compareTrees(this.source, this.target);
    } catch (error) {
      // A name that vanished while being read.
      return [String(error)];
    }
  }

  /** The source rests: a flush says when both are equal, and they must be from then on. */
  async flush(home: Home, target: string): Promise<{ tookMs: number; complaints: string[] }> {
    const begunMs = performance.now();
    let code: number | null = notRunning;
    let lines: readonly string[] = [];
    // A push that has just been started again is not there yet.
    while (code === notRunning && performance.now() - begunMs < flushMs) {
      const flags = ['--timeout', `${flushMs}ms`];
      const asked = home.run(['flush', this.source, target, ...flags]);
      ({ code } = await asked.exit);
      ({ lines } = asked);
    }
    const complaints = code === 0 ? [] : [`flush ends with ${code}: ${lines.join(' ')}`];
    return { tookMs: performance.now() - begunMs, complaints };
  }
}

const flushMs = 60_000;
/** Exit code of what asks a push. */
const notRunning = 10;

export async function killStory(options: KillOptions): Promise<KillOutcome> {
  const { folder, seed, kills, lifeMsMax, flags = [], say = () => {} } = options;
  const random = seededRandom(seed ^ 0x5eed);
  const load = new Load(folder, seed);
  const home = new Home(join(folder, 'home'));
  const port = `${await freePort()}`;
  const isSsh = options.transport === 'ssh';
  const target = isSsh ? `ssh://here${load.target}` : `127.0.0.1:${port}`;
  const ssh = isSsh ? fakeSsh(folder) : [];
  const killed = { push: 0, receive: 0 };
  const ended: Program[] = [];
  const start: Record<Side, () => Promise<Program | undefined>> = {
    receive: async () => {
      if (isSsh) return undefined;
      const host = ['--host', '127.0.0.1', '--port', port];
      const program = home.run(['receive', load.target, ...host, ...flags]);
      await program.line(/^listening on /);
      return program;
    },
    push: async () => home.push(load.source, target, ['--interval', '100', ...ssh, ...flags]),
  };
  const running: Record<Side, Program | undefined> = {
    receive: await start.receive(),
    push: await start.push(),
  };
  let watcher: Watcher | undefined;
  try {
    await running.push?.line(/in sync/, 30_000);
    watcher = await load.watch();
    load.start(15);
    for (let kill = 0; kill < kills; kill++) {
      await new Promise(resolve => setTimeout(resolve, randomInteger(random, lifeMsMax)));
      const side = random() < 0.5 ? 'push' : 'receive';
      const program = running[side];
      if (program === undefined) {
        await waitUntil(() => killReceiverOf(load.target), 'a receiver that ssh started');
        killed[side]++;
        say(`${kill + 1}: killed ${side}`);
        continue;
      }
      if (program.exited !== undefined) {
        throw new Error(`${side} ended by itself:\n${program.lines.slice(-20).join('\n')}`);
      }
      await program.stop('SIGKILL');
      ended.push(program);
      running[side] = await start[side]();
      killed[side]++;
      say(`${kill + 1}: killed ${side}`);
    }
    load.stop();
    const flushed = await load.flush(home, target);
    const differences = load.differences();
    const watched = await watcher.stop();
    watcher = undefined;
    const lines = [...ended, ...Object.values(running)].flatMap(program => program?.lines ?? []);
    return {
      watched,
      killed,
      drift: lines.filter(line => /"msg":"drift"|changed at the destination/.test(line)),
      complaints: [
        ...flushed.complaints,
        ...lines.filter(line => /internal error|a bug|ERR_PROTOCOL|ERR_STATE/.test(line)),
      ],
      finished: lines.filter(line => /finishing what an interruption/.test(line)).length,
      steps: load.steps,
      convergedMs: flushed.tookMs,
      differences,
    };
  } finally {
    load.stop();
    watcher?.kill();
    for (const program of Object.values(running)) await program?.stop('SIGKILL');
  }
}

/** The one that an ssh started, if it is there at the moment. */
export function killReceiverOf(target: string): boolean {
  const lock = join(target, '.replica/receive.lock');
  const pid = fs.existsSync(lock) ? Number.parseInt(fs.readFileSync(lock, 'latin1'), 10) : 0;
  if (!(pid > 1)) return false;
  try {
    return process.kill(pid, 'SIGKILL');
  } catch {
    return false; // It ended by itself meanwhile.
  }
}
