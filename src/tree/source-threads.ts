// Looks at a source whose file system takes long to answer, with threads that wait side by side:
// over a network a call takes a millisecond, of which hardly any is work. The caller waits until
// what it asked for is there, as with DirectSource.
//
// A directory is listed in two steps: its names by one thread, what is at them in parts by all. Of
// directories that will be listed next (`expect`) both begin early.
//
// A call that hangs is given up after a while with ETIMEDOUT: its thread is left to wait, what else
// it was asked is asked of another, and nothing else waits. What it hangs on is refused at once
// until it comes back. There are at most twice `jobs` threads; when all hang, everything is refused.
import assert from 'node:assert/strict';
import {
  MessageChannel,
  type MessagePort,
  receiveMessageOnPort,
  Worker,
} from 'node:worker_threads';
import { type AttributeRules, defaultAttributes } from '../snapshot/attribute-rules.ts';
import type { Listable, Source } from './source.ts';
import type { SourceListing, SourceStats } from './source-listing.ts';
import {
  hung,
  type Job,
  joined,
  keyOf,
  type Pending,
  parted,
  refused,
  type Settled,
  split,
  unreadable,
} from './source-parts.ts';
import {
  type Answer,
  callCell,
  type EntriesResult,
  itemCell,
  type SourceTask,
  type TaskResults,
  threadCells,
} from './source-task.ts';
import type { PortData } from './source-thread.ts';

export interface SourceThreadsOptions {
  /** Latin1. */
  readonly root: string;
  /** Threads, at least 1. */
  readonly jobs: number;
  readonly attributes?: AttributeRules;
  /** How long one call may take before it is given up. */
  readonly hangMs?: number;
  /** The module that serves a thread; for tests. */
  readonly module?: URL;
}

const hangMsDefault = 3000;
/** A thread that has made no call yet is being started, on a machine that may be busy. */
const beginMsMax = 60_000;
/** Looks for hanging calls are so many in the time that a call may take. */
const checksPerHang = 4;

interface Thread {
  readonly worker: Worker;
  readonly port: MessagePort;
  readonly cells: Int32Array<SharedArrayBuffer>;
  job: Job | undefined;
  /** The count of its calls when its task was handed to it. */
  callsBefore: number;
  /** The same when it was last looked at, and since when it is that. */
  calls: number;
  sinceMs: number;
  /** What it was left to wait for. */
  stuckOn: string | undefined;
}

export class SourceThreads implements Source {
  readonly lookahead = 16;
  readonly #options: Required<SourceThreadsOptions>;
  readonly #signal = new Int32Array(new SharedArrayBuffer(4));
  #threads: Thread[] = [];
  #stuck: Thread[] = [];
  readonly #queue: Job[] = [];
  /** By path: what `expect` began. */
  readonly #expected = new Map<string, Pending>();

  constructor(options: SourceThreadsOptions) {
    const module = new URL('./source-worker.js', import.meta.url);
    this.#options = { hangMs: hangMsDefault, module, attributes: defaultAttributes, ...options };
    for (let i = 0; i < options.jobs; i++) this.#threads.push(this.#begin());
  }

  expect(folders: readonly Listable[]): void {
    const paths = new Set(folders.map(folder => folder.path));
    for (const [path, pending] of this.#expected) {
      if (paths.has(path)) continue;
      pending.isDropped = true;
      this.#expected.delete(path);
    }
    for (const folder of folders) {
      if (!this.#expected.has(folder.path))
        this.#expected.set(folder.path, this.#startList(folder));
    }
    this.#turn();
  }

  list(folder: Listable): SourceListing {
    const pending = this.#expected.get(folder.path) ?? this.#startList(folder, true);
    this.#expected.delete(folder.path);
    this.#wait(() => pending.left === 0);
    if (pending.refusal !== undefined) throw refused(pending.refusal, folder.path);
    return joined(pending.names ?? [], pending.parts);
  }

  stat(path: string): SourceStats | undefined {
    const [stats] = this.statAll([path]);
    if (stats instanceof Error) throw stats;
    return stats;
  }

  statAll(paths: readonly string[]): readonly (SourceStats | undefined | Error)[] {
    const found: (SourceStats | undefined | Error)[] = new Array(paths.length).fill(undefined);
    let left = paths.length;
    const start = (items: readonly number[]): void => {
      const task = { kind: 'stats', items: items.map(i => paths[i] ?? '') } as const;
      this.#ask(task, { isNext: true, pending: undefined }, settled => {
        for (const [k, i] of items.entries()) {
          const path = paths[i] ?? '';
          // One kind of task has one kind of result.
          const one =
            'result' in settled ? (settled.result as TaskResults['stats'])[k] : settled.refusal;
          found[i] = one !== undefined && 'code' in one ? refused(one, path) : one;
        }
        left -= items.length;
      });
    };
    for (const part of parted(
      paths.map((_, i) => i),
      this.#options.jobs,
    ))
      start(part);
    this.#wait(() => left === 0);
    return found;
  }

  readLink(path: string): string {
    return this.#one({ kind: 'link', path });
  }

  readText(path: string): string {
    return this.#one({ kind: 'text', path });
  }

  /** Ends the threads; not the ones that are left waiting, which only the process's end does. */
  async close(): Promise<void> {
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
    this.#threads = [];
  }

  #one(task: SourceTask & { readonly kind: 'link' | 'text' }): string {
    let settled: Settled | undefined;
    this.#ask(task, { isNext: true, pending: undefined }, got => {
      settled = got;
    });
    this.#wait(() => settled !== undefined);
    assert(settled !== undefined);
    if ('refusal' in settled) throw refused(settled.refusal, task.path);
    return settled.result as string; // What these two kinds have.
  }

  #startList({ path, device }: Listable, isNext = false): Pending {
    const pending: Pending = {
      ...{ names: undefined, parts: [], left: 1 },
      ...{ refusal: undefined, isDropped: false },
    };
    const ask = (task: SourceTask, settle: Job['settle']): void =>
      this.#ask(task, { isNext, pending }, settle);
    ask({ kind: 'names', path }, settled => {
      pending.left--;
      if ('refusal' in settled) {
        pending.refusal = settled.refusal;
        return;
      }
      const names = settled.result as TaskResults['names']; // What this kind has.
      pending.names = names;
      for (const [i, items] of parted(names, this.#options.jobs).entries()) {
        pending.parts.push(undefined);
        pending.left++;
        ask({ kind: 'entries', path, device, items }, part => {
          pending.left--;
          pending.parts[i] =
            'result' in part
              ? (part.result as EntriesResult) // What this kind has.
              : unreadable(path, items, part.refusal);
        });
      }
    });
    return pending;
  }

  // -- tasks and threads ------------------------------------------------------------------------

  /** `isNext`: somebody waits for it. */
  #ask(
    task: SourceTask,
    { isNext, pending }: { isNext: boolean; pending: Pending | undefined },
    settle: Job['settle'],
  ): void {
    const job = { task, settle, pending };
    if (isNext) this.#queue.unshift(job);
    else this.#queue.push(job);
  }

  #wait(isDone: () => boolean): void {
    const checkMs = this.#options.hangMs / checksPerHang;
    for (;;) {
      const seen = Atomics.load(this.#signal, 0);
      this.#turn();
      if (isDone()) return;
      Atomics.wait(this.#signal, 0, seen, checkMs);
    }
  }

  /** Takes answers, gives up calls that hang, and hands out tasks. */
  #turn(): void {
    this.#stuck = this.#stuck.filter(thread => !this.#comesBack(thread));
    do {
      for (const thread of this.#threads) this.#take(thread);
      for (const thread of [...this.#threads]) if (this.#hangs(thread)) this.#leave(thread);
    } while (this.#handOut());
  }

  #take(thread: Thread): void {
    const message = receiveMessageOnPort(thread.port);
    if (message === undefined) return;
    const { job } = thread;
    assert(job !== undefined, 'an answer to a task');
    thread.job = undefined;
    const answer = message.message as Answer; // From source-thread.ts.
    if ('bug' in answer) throw new Error(`a thread that looks at the source failed: ${answer.bug}`);
    job.settle(answer);
  }

  /** True when something was refused at once, which may have led to more. */
  #handOut(): boolean {
    let isAgain = false;
    const idle = this.#threads.filter(thread => thread.job === undefined);
    while (this.#queue.length > 0) {
      const job = this.#queue[0];
      assert(job !== undefined);
      const thread = idle[0];
      if (job.pending?.isDropped) {
        this.#queue.shift();
        continue;
      }
      if (this.#threads.length === 0) {
        this.#queue.shift();
        job.settle({ refusal: hung });
        isAgain = true;
        continue;
      }
      if (thread === undefined) break;
      this.#queue.shift();
      const rest = this.#withoutStuck(job);
      if (rest === undefined) {
        isAgain = true;
        continue;
      }
      idle.shift();
      thread.job = rest;
      thread.callsBefore = Atomics.load(thread.cells, callCell);
      thread.calls = thread.callsBefore;
      thread.sinceMs = performance.now();
      thread.port.postMessage(rest.task);
    }
    return isAgain;
  }

  /** Settles what a thread is stuck on; undefined if nothing else was asked. */
  #withoutStuck(job: Job): Job | undefined {
    const stuck = new Set(this.#stuck.map(thread => thread.stuckOn));
    if (stuck.size === 0) return job;
    const { task, settle } = job;
    if (!('items' in task)) {
      if (!stuck.has(keyOf(task, 0))) return job;
      settle({ refusal: hung });
      return undefined;
    }
    const isFree = task.items.map((_, i) => !stuck.has(keyOf(task, i)));
    if (isFree.every(Boolean)) return job;
    return split(job, isFree);
  }

  /** Has its call been under way for too long? */
  #hangs(thread: Thread): boolean {
    if (thread.job === undefined) return false;
    const calls = Atomics.load(thread.cells, callCell);
    const nowMs = performance.now();
    if (calls !== thread.calls) {
      thread.calls = calls;
      thread.sinceMs = nowMs;
    }
    const isBegun = calls !== thread.callsBefore;
    return nowMs - thread.sinceMs > (isBegun ? this.#options.hangMs : beginMsMax);
  }

  /** Leaves a thread to its call; the rest of its task is asked again. */
  #leave(thread: Thread): void {
    const { job } = thread;
    assert(job !== undefined);
    const item = Atomics.load(thread.cells, itemCell);
    thread.stuckOn = keyOf(job.task, item);
    this.#threads = this.#threads.filter(one => one !== thread);
    this.#stuck.push(thread);
    const count = this.#threads.length + this.#stuck.length;
    if (count < 2 * this.#options.jobs) this.#threads.push(this.#begin());
    this.#queue.unshift(job);
  }

  /** An answer that nobody waits for any more: the thread takes part again. */
  #comesBack(thread: Thread): boolean {
    if (receiveMessageOnPort(thread.port) === undefined) return false;
    thread.job = undefined;
    thread.stuckOn = undefined;
    if (this.#threads.length < this.#options.jobs) this.#threads.push(thread);
    else void thread.worker.terminate();
    return true;
  }

  #begin(): Thread {
    const { port1, port2 } = new MessageChannel();
    const cells = new Int32Array(new SharedArrayBuffer(4 * threadCells));
    const { root, attributes, module } = this.#options;
    const workerData: PortData = { root, attributes, cells, signal: this.#signal, port: port2 };
    const worker = new Worker(module, { workerData, transferList: [port2], execArgv: [] });
    worker.unref();
    port1.unref();
    const none = { job: undefined, stuckOn: undefined, callsBefore: 0 };
    return { worker, port: port1, cells, calls: 0, sinceMs: performance.now(), ...none };
  }
}
