// The receiving program: opens a destination and serves one sender at a time.
import { randomBytes } from 'node:crypto';
import { ReplicaError } from '../errors.ts';
import { payloadSizeMax, verifiersMax } from '../limits.ts';
import type { Connection } from '../net/connection.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import { endStart } from '../store/start-count.ts';
import { canSetOwners } from '../tree/capabilities.ts';
import { ConfinedDirectory } from '../tree/confined-directory.ts';
import { findFlush, isVolatile } from '../tree/durable.ts';
import { type Hello, type Message, MessageType, seesLinksAndRoot } from '../wire/messages.ts';
import { type Caller, hear, noteCaller } from './caller.ts';
import { Caretaker, caretakerPauses } from './caretaker.ts';
import { Committer } from './commit.ts';
import { Exclusive } from './exclusive.ts';
import { failureOf, fenced, fencedText, foreign, isInputOutput, sessionError } from './failure.ts';
import { failureText, noTotals, type ReceiverFigures } from './figures.ts';
import { Flush } from './flush.ts';
import { Folders, privateName } from './folders.ts';
import { IdAllowance } from './id-allowance.ts';
import { Journal } from './journal.ts';
import { LocalAttributes } from './local-attributes.ts';
import { LocalXattrs } from './local-xattrs.ts';
import { Lock } from './lock.ts';
import { chooseStateFolder, openStore } from './open-store.ts';
import { Quota } from './quota.ts';
import type { ReceiverOptions } from './receiver-options.ts';
import { recover } from './recover.ts';
import { Session } from './session.ts';
import { refuseName } from './switchboard.ts';
import { UnfinishedStages } from './unfinished.ts';
import { VerifySession } from './verify-session.ts';

interface Live {
  readonly instanceId: Buffer;
  readonly connection: Connection;
  /** Resolves when its session is over. */
  readonly ended: Promise<void>;
  session?: Session;
}

/** What a sender waits for the first look at the tree, so that it hears of most drift at once. */
const firstSweepMs = 1000;

/** Everything that belongs to an open destination. */
interface Parts {
  readonly folders: Folders;
  readonly lock: Lock;
  readonly store: ReplicaStore;
  readonly flush: Flush;
  readonly unfinished: UnfinishedStages;
  readonly journal: Journal;
  readonly quota: Quota;
  readonly ids: IdAllowance;
  readonly attributes: LocalAttributes;
}

export class Receiver {
  readonly #options: ReceiverOptions;
  readonly #parts: Parts;
  readonly #exclusive = new Exclusive();
  /** Senders are accepted one after the other. */
  readonly #admission = new Exclusive();
  readonly #instanceId = randomBytes(16);
  readonly #connections = new Set<Connection>();
  readonly #nowMs: () => number;
  readonly #totals = noTotals();
  #committer: Committer;
  #caretaker: Caretaker | undefined;
  #live: Live | undefined;
  readonly #verifying = new Set<Promise<void>>();
  #isClosed = false;

  /** Throws ERR_PATH when the destination cannot be used, ERR_IO when its disk fails. */
  static async open(options: ReceiverOptions): Promise<Receiver> {
    const openRoot = options.openRoot ?? (path => ConfinedDirectory.openRoot(path));
    const root = openRoot(options.root);
    try {
      return await Receiver.#openAt(options, root);
    } catch (error) {
      throw sessionError(error);
    }
  }

  static async #openAt(options: ReceiverOptions, root: ConfinedDirectory): Promise<Receiver> {
    let folders: Folders | undefined;
    let lock: Lock | undefined;
    let store: ReplicaStore | undefined;
    let folder: string | undefined;
    try {
      const isOurs = root.lstat(privateName) !== undefined;
      if (!isOurs && options.isOnlyVerified) {
        throw new ReplicaError('ERR_PATH', `'${options.root}' is no replica`);
      }
      if (!isOurs && !options.adopt && root.list().length > 0) {
        const text = `'${options.root}' is not empty: give an empty folder, or --adopt to take over`;
        throw new ReplicaError('ERR_PATH', `${text} what is there`);
      }
      folder = chooseStateFolder(options);
      folders = Folders.open(root);
      lock = Lock.take(folders.base);
      const isDurable = options.fsync === 'batch' && !isVolatile(options.root);
      const flushFileSystem = isDurable ? await findFlush(root) : undefined;
      const flush = new Flush({ root, isDurable, flushFileSystem });
      store = await openStore({ folder, durable: isDurable, folders, log: options.log });
      const nowMs = options.nowMs ?? Date.now;
      const unfinished = new UnfinishedStages({ folders, secret: store.secret, nowMs });
      const journal = new Journal({ folder, epoch: store.epoch, log: options.log, nowMs });
      const quota = new Quota(store, options.quota);
      const xattrs = await LocalXattrs.open({ store, folders, log: options.log });
      const attributes = new LocalAttributes({ ...options, setsOwners: canSetOwners(), xattrs });
      const ids = new IdAllowance(store.head.nextId, performance.now());
      const parts = { folders, lock, store, flush, unfinished, journal, quota, ids, attributes };
      const receiver = new Receiver(options, parts);
      await receiver.#recover();
      endStart(folder);
      if (!options.isOnlyVerified) receiver.#caretaker = receiver.#newCaretaker();
      return receiver;
    } catch (error) {
      // The state is not to blame.
      if (folder && lock && isInputOutput(error)) endStart(folder);
      await store?.close();
      lock?.release();
      if (folders) folders.close();
      else root.release();
      throw error;
    }
  }

  private constructor(options: ReceiverOptions, parts: Parts) {
    this.#options = options;
    this.#parts = parts;
    this.#nowMs = options.nowMs ?? Date.now;
    this.#committer = this.#newCommitter();
  }

  /** The number of entries found other than recorded, and kept, so far. */
  get driftCount(): number {
    return this.#committer.driftCount + (this.#caretaker?.driftCount ?? 0);
  }

  /** Complete looks at the tree so far. */
  get sweepCount(): number {
    return this.#caretaker?.sweepCount ?? 0;
  }

  get figures(): ReceiverFigures {
    const { watermark, entryCount } = this.#parts.store.head;
    return {
      ...this.#totals,
      watermark: Number(watermark),
      entries: entryCount,
      drift: this.driftCount,
      sweeps: this.sweepCount,
      hasSender: this.#live?.session !== undefined,
      failure: failureText(this.#committer.failure),
    };
  }

  /**
   * One connection until it ends; `caller`: whoever answered it has heard its Hello. A newer instance of the sender ends the session of an older one.
   * Never rejects: what went wrong is told to the peer and logged.
   */
  async serve(connection: Connection, caller?: Caller): Promise<void> {
    if (this.#isClosed)
      return connection.close({ code: 'shutdown', message: 'receiver is closing' });
    this.#connections.add(connection);
    try {
      await this.#session(connection, caller);
      await connection.close();
    } catch (cause) {
      // A disk may also fail outside of commits, such as when a failed one is mended.
      const error = sessionError(cause);
      this.#report(connection, error);
      await connection.close(failureOf(error));
    } finally {
      this.#connections.delete(connection);
    }
  }

  /** Ends all sessions; what they completed is made durable. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const failure = { code: 'shutdown', message: 'the receiver was stopped' } as const;
    await Promise.all([...this.#connections].map(connection => connection.close(failure)));
    // Whoever is being admitted hears it, and uses nothing that is closed below.
    await this.#admission.run(async () => {});
    await this.#live?.ended;
    await Promise.allSettled(this.#verifying);
    await this.#caretaker?.close();
    await this.#committer.idle();
    await this.#exclusive.run(async () => {});
    const { folders, lock, store, journal } = this.#parts;
    await store.close();
    journal.close();
    lock.release();
    folders.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #session(connection: Connection, caller: Caller | undefined): Promise<void> {
    const heard = caller ?? (await hear(connection, this.#instanceId));
    if (heard === undefined) return;
    const { hello, messages } = heard;
    if (caller === undefined) refuseName(hello);
    await this.#parts.attributes.xattrs.admit(hello);
    if (hello.role === 'verifier') return this.#verify(hello, connection, messages);
    if (hello.role !== 'sender') {
      throw new ReplicaError('ERR_PROTOCOL', 'both sides are receivers');
    }
    let resolve = () => {};
    const ended = new Promise<void>(settle => {
      resolve = settle;
    });
    const live: Live = { instanceId: hello.instanceId, connection, ended };
    try {
      await this.#admission.run(() => this.#admit(hello, live));
      await live.session?.run(this.#until(messages, live));
    } finally {
      resolve();
      if (this.#live === live) this.#live = undefined;
    }
  }

  /** Makes the sender the live one and welcomes it. */
  async #admit(hello: Hello, live: Live): Promise<void> {
    const { store } = this.#parts;
    const { connection } = live;
    this.#refuseStopped();
    await this.#checkSource(hello);
    if (store.isFenced(hello.instanceId)) throw fenced();
    await this.#replace(hello.instanceId);
    this.#live = live;
    await this.#mendFailure();
    await this.#caretaker?.firstSweep(firstSweepMs);
    // So that no task of ours changes the digest between here and the welcome.
    await this.#exclusive.run(async () => {
      this.#refuseStopped();
      await this.#welcome(connection);
      const committer = this.#committer;
      live.session = new Session({ ...this.#parts, connection, committer, hello });
    });
    noteCaller(this.#options.log, connection, hello);
  }

  #refuseStopped(): void {
    if (this.#isClosed) throw new ReplicaError('ERR_SOCKET', 'the receiver was stopped');
  }

  /** After commits that failed, records and tree have to be brought together. */
  async #mendFailure(): Promise<void> {
    await this.#committer.idle();
    if (!this.#committer.failure) return;
    await this.#exclusive.run(() => this.#recover());
    this.#committer = this.#newCommitter();
  }

  async #welcome(connection: Connection): Promise<void> {
    this.#parts.folders.refuseRemoved();
    connection.setPayloadLimit(payloadSizeMax);
    const { epoch, secret, head } = this.#parts.store;
    const { watermark, digest, nextId } = head;
    const entryCount = BigInt(head.entryCount);
    const type = MessageType.Welcome;
    await connection.send({ type, epoch, watermark, digest, entryCount, nextId, secret });
  }

  /** Beside the live sender, which hears only of what is lost. */
  async #verify(
    hello: Hello,
    connection: Connection,
    messages: AsyncIterable<Message>,
  ): Promise<void> {
    if (this.#verifying.size >= verifiersMax) {
      return connection.close({ code: 'busy', message: 'others are verifying this replica' });
    }
    const { source } = this.#parts.store;
    if (source && !source.id.equals(hello.sourceId))
      throw foreign(`${source.label}, not to`, hello.label);
    const run = async (): Promise<void> => {
      await this.#admission.run(() => this.#mendFailure());
      await this.#exclusive.run(() => this.#welcome(connection));
      const { log } = this.#options;
      noteCaller(log, connection, hello);
      const session = new VerifySession({
        ...{ ...this.#parts, connection, log },
        exclusive: this.#exclusive,
        nowMs: this.#nowMs,
        hasSender: () => this.#live?.session !== undefined,
        onLost: entries => this.#live?.session?.sendLost(entries),
        seesLinksAndRoot: (hello.features & seesLinksAndRoot) !== 0n,
      });
      await session.run(messages);
    };
    const running = run();
    this.#verifying.add(running);
    try {
      await running;
    } finally {
      this.#verifying.delete(running);
    }
  }

  async #checkSource(hello: Hello): Promise<void> {
    const { store } = this.#parts;
    const { source } = store;
    if (source && !source.id.equals(hello.sourceId)) {
      if (!this.#options.takeOver && !hello.takeOver) {
        throw foreign(`${source.label}: use --take-over to replace it by`, hello.label);
      }
      this.#options.log.warn({ from: source.label, to: hello.label }, 'another source takes over');
    }
    if (source?.id.equals(hello.sourceId) && source.label === hello.label) return;
    await store.setSource({ id: hello.sourceId, label: hello.label });
  }

  /** The predecessor of `instanceId`, connected or not, is over. */
  async #replace(instanceId: Buffer): Promise<void> {
    const { store } = this.#parts;
    const previous = store.instance;
    const live = this.#live;
    if (previous && !previous.equals(instanceId)) await store.fence(previous);
    if (!previous?.equals(instanceId)) await store.setInstance(instanceId);
    if (!live) return;
    if (live.instanceId.equals(instanceId)) await live.connection.close();
    else {
      this.#options.log.warn({ peer: live.connection.peer }, fencedText(live.connection.peer));
      await live.connection.close(failureOf(fenced()));
    }
    await live.ended;
  }

  async *#until(messages: AsyncIterable<Message>, live: Live): AsyncGenerator<Message> {
    for await (const message of messages) {
      if (this.#live !== live) return;
      yield message;
    }
  }

  #newCommitter(): Committer {
    return new Committer({
      ...this.#parts,
      exclusive: this.#exclusive,
      log: this.#options.log,
      nowMs: this.#nowMs,
      totals: this.#totals,
      onStep: this.#options.onStep,
    });
  }

  #newCaretaker(): Caretaker {
    const { log, keepMs, pauses } = this.#options;
    return new Caretaker({
      ...this.#parts,
      exclusive: this.#exclusive,
      log,
      keepMs,
      nowMs: this.#nowMs,
      pauses: pauses ?? caretakerPauses,
      isReady: () =>
        !this.#isClosed &&
        this.#committer.failure === undefined &&
        this.#parts.store.source !== undefined,
      onLost: entries => this.#live?.session?.sendLost(entries),
      onFailure: error => this.#reportCare(error),
    });
  }

  async #recover(): Promise<void> {
    const { log, onStep } = this.#options;
    await recover({ ...this.#parts, log, onStep, nowMs: this.#nowMs });
    this.#parts.unfinished.load();
  }

  #reportCare(error: unknown): void {
    const { log } = this.#options;
    const reason = sessionError(error);
    const text = 'looking for drift and removing kept content failed';
    if (reason instanceof ReplicaError)
      log.warn({ code: reason.code }, `${text}: ${reason.message}`);
    else log.error({ err: error }, text);
  }

  #report(connection: Connection, error: unknown): void {
    const { log } = this.#options;
    const { peer } = connection;
    if (error instanceof ReplicaError) {
      const isLoud = error.code !== 'ERR_SOCKET';
      if (isLoud) this.#totals.failedSessions++;
      if (isLoud) log.warn({ peer, code: error.code }, error.message);
      else log.info({ peer }, error.message);
      return;
    }
    log.error({ peer, err: error }, 'internal error');
  }
}
