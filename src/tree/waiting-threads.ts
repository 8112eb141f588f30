// Threads that make calls to a source whose file system takes long to answer, side by side: over a
// network a call takes a millisecond, of which hardly any is work. Who asks waits for the answers
// without going on with anything else.
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
import { hung, type Job, keyOf, type Pending, split } from './source-parts.ts';
import { type Answer, callCell, itemCell, type SourceTask, threadCells } from './source-task.ts';
import type { PortData } from './source-thread.ts';

export interface WaitingThreadsOptions {
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
/** Of the heap of a thread, by default 48: it makes little that lasts, and there are many. */
const youngGenerationMib = 6;
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

export class WaitingThreads {
  readonly #options: Required<WaitingThreadsOptions>;
  readonly #signal = new Int32Array(new SharedArrayBuffer(4));
  #threads: Thread[] = [];
  #stuck: Thread[] = [];
  readonly #queue: Job[] = [];

  constructor(options: WaitingThreadsOptions) {
    const module = new URL('./source-worker.js', import.meta.url);
    this.#options = { hangMs: hangMsDefault, module, attributes: defaultAttributes, ...options };
    for (let i = 0; i < options.jobs; i++) this.#threads.push(this.#begin());
  }

  get jobs(): number {
    return this.#options.jobs;
  }

  /** `isNext`: somebody waits for it. */
  ask(
    task: SourceTask,
    settle: Job['settle'],
    { isNext = false, pending }: { isNext?: boolean; pending?: Pending } = {},
  ): void {
    const job = { task, settle, pending };
    if (isNext) this.#queue.unshift(job);
    else this.#queue.push(job);
  }

  /** Returns when `isDone` by what tasks were settled with. */
  wait(isDone: () => boolean): void {
    const checkMs = this.#options.hangMs / checksPerHang;
    for (;;) {
      const seen = Atomics.load(this.#signal, 0);
      this.turn();
      if (isDone()) return;
      Atomics.wait(this.#signal, 0, seen, checkMs);
    }
  }

  /** Takes answers, gives up calls that hang, and hands out tasks. */
  turn(): void {
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

  /** Ends the threads; not the ones that are left waiting, which only the process's end does. */
  async close(): Promise<void> {
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
    this.#threads = [];
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
    const resourceLimits = { maxYoungGenerationSizeMb: youngGenerationMib };
    const transferList = [port2];
    const worker = new Worker(module, { workerData, transferList, execArgv: [], resourceLimits });
    worker.unref();
    port1.unref();
    const none = { job: undefined, stuckOn: undefined, callsBefore: 0 };
    return { worker, port: port1, cells, calls: 0, sinceMs: performance.now(), ...none };
  }
}
