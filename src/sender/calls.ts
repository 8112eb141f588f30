// Calls to a worker thread: a method name, one argument, one answer. Answers come in any order;
// a worker that dies fails every call that is open.
import type { MessagePort, Transferable, Worker } from 'node:worker_threads';
import { type ErrorCode, ReplicaError } from '../errors.ts';
import { HeapRest } from '../heap-rest.ts';

/** Tells a worker to end when it has answered what it was asked. */
const closing = 'close';

interface CallMessage {
  readonly id: number;
  readonly method: string;
  readonly argument: unknown;
}

interface AnswerMessage {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: {
    readonly code: ErrorCode | undefined;
    readonly message: string;
    readonly stack: string;
  };
}

/** Methods of a worker: one argument in, one answer out. */
export type Methods = { readonly [name: string]: (argument: never) => unknown };

/** What a handler returns to move buffers instead of copying them. */
export class Moved<T> {
  readonly value: T;
  readonly transfer: readonly Transferable[];

  constructor(value: T, transfer: readonly Transferable[]) {
    this.value = value;
    this.transfer = transfer;
  }
}

type Unmoved<T> = T extends Moved<infer Value> ? Value : T;

export class WorkerCalls<M extends Methods> {
  readonly #worker: Worker;
  readonly #open = new Map<
    number,
    { resolve: (value: never) => void; reject: (error: unknown) => void }
  >();
  #lastId = 0;
  #failure: unknown;
  #closing = false;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.on('message', (answer: AnswerMessage) => this.#settle(answer));
    worker.on('error', error => this.#fail(error));
    worker.on('exit', code => {
      if (!this.#closing) this.#fail(new Error(`worker thread ended with code ${code}`));
    });
  }

  /** Milliseconds are not limited here: a file system may hang for as long as it likes. */
  call<K extends keyof M & string>(
    method: K,
    argument: Parameters<M[K]>[0],
    transfer: readonly Transferable[] = [],
  ): Promise<Unmoved<Awaited<ReturnType<M[K]>>>> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const id = ++this.#lastId;
    const message: CallMessage = { id, method, argument };
    return new Promise((resolve, reject) => {
      this.#open.set(id, { resolve, reject });
      this.#worker.postMessage(message, [...transfer]);
    });
  }

  #settle(answer: AnswerMessage): void {
    const call = this.#open.get(answer.id);
    this.#open.delete(answer.id);
    if (call === undefined) return;
    if (answer.error === undefined) {
      call.resolve(answer.result as never); // The worker answers with what its method returned.
      return;
    }
    const { code, message, stack } = answer.error;
    const error = code === undefined ? new Error(message) : new ReplicaError(code, message);
    error.stack = stack;
    call.reject(error);
  }

  #fail(error: unknown): void {
    this.#failure = error;
    for (const call of this.#open.values()) call.reject(error);
    this.#open.clear();
  }

  /** Ends the thread, after `waitMs` by force; one stuck in a system call does not end: false after as long again. */
  async close(waitMs = 1000): Promise<boolean> {
    this.#closing = true;
    this.#fail(new ReplicaError('ERR_SOCKET', 'the worker is closed'));
    const ended = new Promise<boolean>(resolve => this.#worker.once('exit', () => resolve(true)));
    this.#worker.postMessage(closing);
    if (await within(ended, waitMs)) return true;
    // On a busy machine it may not even have loaded: that ends here, a system call that hangs does not.
    void this.#worker.terminate();
    return within(ended, waitMs);
  }
}

/** False when it takes longer. */
async function within(ended: Promise<boolean>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>(resolve => {
    timer = setTimeout(resolve, ms, false);
  });
  const result = await Promise.race([ended, late]);
  clearTimeout(timer);
  return result;
}

/** Answers calls in a worker, one at a time and in order. */
export function serveCalls(port: MessagePort, methods: Methods): void {
  // There where the program asked for it, as the command does.
  const collect = globalThis.gc;
  const rest = collect && new HeapRest({ collect: () => collect() });
  let last: Promise<void> = Promise.resolve();
  port.on('message', (call: CallMessage | typeof closing) => {
    last = last.then(() => (call === closing ? end() : answer(port, methods, call)));
  });
  const end = (): void => {
    rest?.close();
    port.close();
  };
}

async function answer(port: MessagePort, methods: Methods, call: CallMessage): Promise<void> {
  try {
    const method = methods[call.method];
    if (method === undefined) throw new Error(`no method '${call.method}'`);
    const result = await method(call.argument as never); // Typed at the caller's end.
    if (result instanceof Moved) {
      port.postMessage({ id: call.id, result: result.value }, [...result.transfer]);
    } else port.postMessage({ id: call.id, result });
  } catch (error) {
    const code = error instanceof ReplicaError ? error.code : undefined;
    const { message, stack = '' } = error instanceof Error ? error : new Error(String(error));
    port.postMessage({ id: call.id, error: { code, message, stack } });
  }
}
