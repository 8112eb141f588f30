// Small programs of file operations, all of them, and a crash of either side at every point: before
// each change of the destination, at each named step of a commit, and at each write to and from the
// sender, with its state as it was before and after the transactions under way.
import fs from 'node:fs';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { ReplicaError } from '../../src/errors.ts';
import { Connection } from '../../src/net/connection.ts';
import { memoryDuplexPair } from '../../src/net/memory-duplex.ts';
import { Receiver } from '../../src/receiver/receiver.ts';
import { Sender } from '../../src/sender/sender.ts';
import { copyState } from './copy-state.ts';
import { Fuse } from './crashing-directory.ts';
import type { Operation } from './model-program.ts';
import { senderOptions } from './push-once.ts';
import { collectingLog, receiverDefaults } from './receivers.ts';
import { applyOperation, Versions } from './source-steps.ts';
import { compareTrees } from './tree.ts';

/** On a tree of `a`, `b`, `d/x` and the empty `e`. */
export const alphabet: readonly Operation[] = [
  { kind: 'save', path: 'c', size: 300, seed: 1 },
  { kind: 'write', path: 'a', size: 9000, seed: 2 },
  { kind: 'rename', path: 'a', to: 'b' },
  { kind: 'rename', path: 'd', to: 'e' },
  { kind: 'link', path: 'b', to: 'e/l' },
  { kind: 'unlink', path: 'b' },
  { kind: 'mkdir', path: 'c' },
  { kind: 'remove', path: 'd' },
  { kind: 'chmod', path: 'd', mode: 0o700 },
];

const base: readonly Operation[] = [
  { kind: 'save', path: 'a', size: 500, seed: 11 },
  { kind: 'save', path: 'b', size: 700, seed: 12 },
  { kind: 'mkdir', path: 'd' },
  { kind: 'mkdir', path: 'e' },
  { kind: 'save', path: 'd/x', size: 900, seed: 13 },
];

/** All lists of three operations, in order. */
export function triples(): (readonly Operation[])[] {
  return alphabet.flatMap(a => alphabet.flatMap(b => alphabet.map(c => [a, b, c])));
}

/** A number: the change of the destination, or the write between both, before which it strikes. */
export type CrashPoint =
  | { readonly side: 'receiver'; readonly at: number | string; readonly again?: number }
  | { readonly side: 'sender'; readonly at: number; readonly isSettled: boolean };

export const commitSteps = ['flush', 'intents', 'attributes', 'applied', 'records', 'written'];
const neverMs = 3_600_000;
const stuckMs = 20_000;

/** One pair of programs for many crashes: between two of them source and destination are the same. */
export class CrashPair {
  readonly #folder: string;
  readonly #source: string;
  readonly #target: string;
  readonly #fuse = new Fuse();
  readonly #versions = new Versions();
  readonly #log = collectingLog();
  #receiver: Receiver | undefined;
  #sender: Sender | undefined;
  #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #state = 'state-0';
  #states = 0;
  #cut = (): void => {};
  #point: CrashPoint | undefined;
  #writes = 0;
  /** Resolves when the crash is over and its side runs again; undefined: it has not struck. */
  #crash: Promise<void> | undefined;

  private constructor(folder: string) {
    this.#folder = folder;
    this.#source = join(folder, 'source');
    this.#target = join(folder, 'target');
    this.#fuse.before = () => this.#beforeChange();
  }

  static async open(folder: string): Promise<CrashPair> {
    const pair = new CrashPair(folder);
    fs.mkdirSync(pair.#source);
    fs.mkdirSync(pair.#target);
    await pair.#openReceiver();
    await pair.#openSender();
    return pair;
  }

  async close(): Promise<void> {
    await this.#closeSender();
    await this.#receiver?.close();
  }

  /** What went wrong; undefined if the program has no such point. */
  async run(program: readonly Operation[], point: CrashPoint): Promise<string[] | undefined> {
    await this.#reset();
    for (const operation of program) applyOperation(this.#source, operation, this.#versions);
    this.#crash = undefined;
    this.#writes = 0;
    this.#fuse.count = 0;
    this.#point = point;
    const flushed = this.#flush();
    await flushed;
    this.#point = undefined;
    const hasStruck = this.#crash !== undefined;
    await this.#crash;
    const problems: string[] = [];
    await this.#flush();
    for (const difference of compareTrees(this.#source, this.#target)) problems.push(difference);
    for (const line of this.#log.lines) {
      if (/drift|changed at the destination/.test(line)) problems.push(line);
      if (/^error/.test(line) && !line.includes('Error: crash')) problems.push(line);
    }
    this.#log.lines.length = 0;
    return hasStruck || problems.length > 0 ? problems : undefined;
  }

  async #reset(): Promise<void> {
    for (const name of fs.readdirSync(this.#source)) {
      fs.rmSync(join(this.#source, name), { recursive: true });
    }
    for (const operation of base) applyOperation(this.#source, operation, this.#versions);
    await this.#flush();
    this.#log.lines.length = 0;
  }

  /** With the sender that is there at the end: a flush of one that crashed is lost with it. */
  async #flush(): Promise<void> {
    for (;;) {
      const sender = this.#sender;
      const stop = new AbortController();
      const timer = setTimeout(() => stop.abort(), stuckMs);
      try {
        await sender?.flush(stop.signal);
        return;
      } catch (error) {
        if (stop.signal.aborted || this.#crash === undefined) throw error;
        await this.#crash;
        if (sender === this.#sender) throw error;
      } finally {
        clearTimeout(timer);
      }
    }
  }

  #beforeChange(): void {
    const point = this.#point;
    if (point?.side !== 'receiver' || point.at !== this.#fuse.count - 1) return;
    this.#crashReceiver(point.again);
  }

  #atStep(label: string): void {
    const point = this.#point;
    if (point?.side === 'receiver' && point.at === label) this.#crashReceiver(point.again);
    if (this.#fuse.left === 0) this.#fuse.blow();
  }

  #crashReceiver(again: number | undefined): void {
    const receiver = this.#receiver;
    if (receiver === undefined) return;
    this.#receiver = undefined;
    this.#point = undefined;
    this.#fuse.left = 0;
    this.#cut();
    this.#crash = (async () => {
      await receiver.close().catch(() => {});
      await this.#openReceiver(again);
    })();
  }

  #atWrite(): void {
    const point = this.#point;
    if (point?.side !== 'sender' || this.#writes++ !== point.at) return;
    this.#point = undefined;
    const sender = this.#sender;
    this.#cut();
    const next = `state-${++this.#states}`;
    const copy = (): void => copyState(join(this.#folder, this.#state), join(this.#folder, next));
    if (!point.isSettled) copy();
    this.#crash = (async () => {
      // What the worker was asked before is done when it answers this.
      if (point.isSettled) {
        await sender?.explain('a');
        copy();
      }
      await this.#closeSender();
      fs.rmSync(join(this.#folder, this.#state), { recursive: true });
      this.#state = next;
      await this.#openSender();
    })();
  }

  /** With `again` it crashes once more before that change of its recovery. */
  async #openReceiver(again?: number): Promise<void> {
    for (let left = again; ; left = undefined) {
      this.#fuse.replace();
      fs.rmSync(join(this.#target, '.replica', 'receive.lock'), { force: true });
      if (left !== undefined) this.#fuse.left = left;
      try {
        this.#receiver = await Receiver.open({
          ...receiverDefaults,
          root: this.#target,
          log: this.#log.log,
          openRoot: path => this.#fuse.openRoot(path),
          onStep: label => this.#atStep(label),
        });
        this.#fuse.left = Number.POSITIVE_INFINITY;
        return;
      } catch (error) {
        if (!this.#fuse.isBlown) throw error;
      }
    }
  }

  async #openSender(): Promise<void> {
    this.#stop = new AbortController();
    const base = { folder: this.#folder, source: this.#source, receiver: undefined as never };
    const sender = await Sender.open(
      senderOptions(base, {
        once: false,
        intervalMs: neverMs,
        stateFolder: join(this.#folder, this.#state),
        signal: this.#stop.signal,
        connect: async () => this.#connect(),
      }),
    );
    this.#running = (async () => {
      for await (const _event of sender.run());
    })();
    this.#sender = sender;
  }

  async #closeSender(): Promise<void> {
    const sender = this.#sender;
    this.#stop.abort();
    await this.#running;
    await sender?.close();
  }

  #connect(): Connection {
    if (this.#receiver === undefined) throw new ReplicaError('ERR_SOCKET', 'nobody listens');
    const [near, far] = memoryDuplexPair();
    this.#cut = () => {
      near.destroy();
      far.destroy();
    };
    this.#watch(near);
    this.#watch(far);
    const options = { checksum: false, peer: 'this process' };
    void this.#receiver.serve(Connection.over(far, options));
    return Connection.over(near, options);
  }

  /** A point before each write, whoever writes. */
  #watch(stream: Duplex): void {
    const write = stream._write.bind(stream);
    stream._write = (chunk, encoding, done) => {
      this.#atWrite();
      if (stream.destroyed) done();
      else write(chunk, encoding, done);
    };
  }
}

/** All points of one program, or each so many; what went wrong, and how many there were. */
export async function crashEverywhere(
  pair: CrashPair,
  program: readonly Operation[],
  every = 1,
): Promise<{ readonly crashes: number; readonly problems: readonly string[] }> {
  let crashes = 0;
  const problems: string[] = [];
  const attempt = async (point: CrashPoint): Promise<boolean> => {
    const found = await pair.run(program, point);
    for (const problem of found ?? []) problems.push(`${JSON.stringify(point)}: ${problem}`);
    if (found !== undefined) crashes++;
    return found !== undefined && found.length === 0;
  };
  for (const at of commitSteps) await attempt({ side: 'receiver', at });
  for (let at = 0; await attempt({ side: 'receiver', at }); at += every) {
    // And once more while it recovers, at another change each time.
    await attempt({ side: 'receiver', at, again: at % 5 });
  }
  for (let at = 0; await attempt({ side: 'sender', at, isSettled: false }); at += every) {
    await attempt({ side: 'sender', at, isSettled: true });
  }
  return { crashes, problems };
}
