// Compares the source with a replica by content: the receiver reads its files beside its records,
// this side reads the source beside the same records. A verifier is no sender: it fences nobody and
// keeps no state, so it may run beside a sender of the same source.
import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import { ReplicaError } from '../errors.ts';
import { listingEntriesMax, verifyIdsMax } from '../limits.ts';
import { reconnectDelayMs } from '../net/backoff.ts';
import type { Connection } from '../net/connection.ts';
import type { AttributeRules } from '../snapshot/attribute-rules.ts';
import { fromUserPath } from '../snapshot/name.ts';
import { UserXattrs } from '../tree/user-xattrs.ts';
import { type Forgotten, type Message, MessageType } from '../wire/messages.ts';
import { failureOf, greet, type Messages } from './agree.ts';
import { WorkerCalls } from './calls.ts';
import type { ComparisonCounts } from './comparison.ts';
import { type Difference, rootName } from './difference.ts';
import { scopePath } from './scan-options.ts';
import type { VerifyMethods } from './verify-worker.ts';
import { delay } from './waiting.ts';

export type { Difference } from './difference.ts';

export interface VerifierOptions {
  /** Path of the source, as the user gave it. */
  readonly source: string;
  readonly connect: (signal: AbortSignal) => Promise<Connection>;
  /** 16 bytes, that of the sender. */
  readonly sourceId: Buffer;
  readonly label: string;
  /** Which of the receiver's replicas; default: the one without a name. */
  readonly replica?: string | undefined;
  readonly paths: readonly string[];
  readonly exclude: readonly string[];
  readonly deleteExcluded: boolean;
  readonly maxSize?: number | undefined;
  readonly oneFileSystem?: boolean | undefined;
  readonly attributes?: AttributeRules | undefined;
  /** Time to reach the receiver. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Before what differs is looked at again. */
  readonly settleMs?: number;
}

export interface Verified extends ComparisonCounts {
  readonly differences: readonly Difference[];
}

/** A change that a sender has on its way is there after this, as a rule. */
const defaultSettleMs = 1000;
/** Directories asked about at a time. */
const batchMax = Math.min(64, verifyIdsMax);
/** With more than that the trees are not equal; nobody needs a second look to know. */
const lookedAgainMax = 10_000;
/** Failures that trying again cannot mend. */
const transient = new Set(['ERR_SOCKET', 'ERR_TIMEOUT']);

export class Verifier {
  readonly #options: VerifierOptions;
  readonly #connection: Connection;
  readonly #messages: Messages;
  readonly #worker: WorkerCalls<VerifyMethods>;
  readonly #secret: Buffer;

  /** Connects, trying for `timeoutMs`. Throws ERR_USAGE for attributes that cannot be compared. */
  static async open(options: VerifierOptions): Promise<Verifier> {
    if (options.attributes?.xattrs === true) await UserXattrs.load();
    const deadlineMs = performance.now() + options.timeoutMs;
    for (let attempt = 0; ; attempt++) {
      let connection: Connection | undefined;
      try {
        connection = await options.connect(options.signal);
        const messages = connection.messages();
        const { sourceId, label, replica, attributes } = options;
        const { secret } = await greet(connection, messages, {
          ...{ sourceId, label, replica, attributes, instanceId: randomBytes(16) },
          ...{ takeOver: false, role: 'verifier' },
        });
        return new Verifier(options, { connection, messages, secret });
      } catch (error) {
        await connection?.close();
        if (!(error instanceof ReplicaError) || !transient.has(error.code)) throw error;
        const retryInMs = reconnectDelayMs(attempt, Math.random());
        if (options.signal.aborted) throw error;
        if (performance.now() + retryInMs > deadlineMs) {
          const message = `gave up after --timeout: ${error.message}`;
          throw new ReplicaError('ERR_TIMEOUT', message, { cause: error });
        }
        await delay(retryInMs, options.signal);
      }
    }
  }

  private constructor(
    options: VerifierOptions,
    parts: { connection: Connection; messages: Messages; secret: Buffer },
  ) {
    this.#options = options;
    this.#connection = parts.connection;
    this.#messages = parts.messages;
    this.#secret = parts.secret;
    const url = new URL('./verify-worker.js', import.meta.url);
    this.#worker = new WorkerCalls<VerifyMethods>(new Worker(url, { execArgv: [] }));
    options.signal.addEventListener('abort', this.#abort);
  }

  readonly #abort = (): void => void this.#connection.close();

  /** Everything, contents included; what differs is looked at twice. */
  async pass(): Promise<Verified> {
    const { source, paths, exclude, deleteExcluded, signal, settleMs } = this.#options;
    const { maxSize, oneFileSystem, attributes } = this.#options;
    await this.#worker.call('begin', {
      root: fromUserPath(source),
      exclude,
      deleteExcluded,
      maxSize,
      oneFileSystem,
      attributes,
      scope: paths.map(scopePath),
      secret: new Uint8Array(this.#secret),
    });
    const first = await this.#look();
    if (first.differences.length === 0 || first.differences.length > lookedAgainMax) return first;
    await delay(settleMs ?? defaultSettleMs, signal);
    return this.again(first.differences);
  }

  /** Only what differed. */
  async again(differences: readonly Difference[]): Promise<Verified> {
    await this.#worker.call('beginAgain', differences);
    return this.#look();
  }

  async #look(): Promise<Verified> {
    const differences: Difference[] = [];
    for (;;) {
      const { ids, found } = await this.#worker.call('take', batchMax);
      differences.push(...found);
      if (ids.length === 0) break;
      await this.#send({ type: MessageType.Verify, content: true, ids });
      for (let last = false; !last; ) {
        const page = await this.#expect(MessageType.Checked);
        last = page.last;
        differences.push(...(await this.#worker.call('checked', page)));
      }
      differences.push(...(await this.#worker.call('finish', undefined)).found);
    }
    const { counts } = await this.#worker.call('finish', undefined);
    return { ...counts, differences };
  }

  /**
   * Has the receiver put right what it can, and keep and forget what a sender has to send: what
   * drifted there, and contents that only a look at the bytes tells apart.
   */
  async mend(differences: readonly Difference[]): Promise<Pick<Forgotten, 'count' | 'hasSender'>> {
    const entries = differences
      .filter(
        one =>
          one.name !== rootName &&
          (one.isTheirs || one.reason === 'content' || one.reason === 'hard link'),
      )
      .map(({ parent, name, id, isTheirs }) => ({ parent, name, id, isOther: !isTheirs }));
    let count = 0;
    let hasSender = false;
    // Without names too: whether there is a sender is worth knowing.
    for (let from = 0; from === 0 || from < entries.length; from += listingEntriesMax) {
      const some = entries.slice(from, from + listingEntriesMax);
      await this.#send({ type: MessageType.Mistrust, entries: some });
      const answer = await this.#expect(MessageType.Forgotten);
      count += answer.count;
      hasSender = answer.hasSender;
    }
    return { count, hasSender };
  }

  /** Ends the thread. False when it hangs in the file system and could not be ended. */
  async close(): Promise<boolean> {
    this.#options.signal.removeEventListener('abort', this.#abort);
    await this.#connection.close();
    return this.#worker.close();
  }

  async #send(message: Message): Promise<void> {
    await this.#connection.send(message);
    this.#connection.flush();
  }

  async #expect<T extends Message['type']>(type: T): Promise<Extract<Message, { type: T }>> {
    const next = await this.#messages.next();
    if (next.done === true) {
      throw new ReplicaError('ERR_SOCKET', 'the receiver closed the connection');
    }
    const message: Message = next.value;
    if (message.type === MessageType.Failure) throw failureOf(message);
    if (message.type === type) return message as Extract<Message, { type: T }>;
    throw new ReplicaError('ERR_PROTOCOL', `message ${message.type} came, ${type} was due`);
  }
}
