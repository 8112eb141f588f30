// Changes in, commits out: read, match, offer, send, durable, confirm. Two lanes over one
// connection: commits of small things in order, and one large file at a time beside them.
import { ReplicaError } from '../errors.ts';
import { largeFileSize, queuedChangesMax } from '../limits.ts';
import type { Connection } from '../net/connection.ts';
import { printable } from '../snapshot/name.ts';
import { type Message, MessageType } from '../wire/messages.ts';
import type { WorkerCalls } from './calls.ts';
import type { Change, Reversal } from './change.ts';
import { clockMs } from './clock.ts';
import { CommitLane } from './commit-lane.ts';
import { type ContentFigures, ContentGauge } from './content-gauge.ts';
import { Departures } from './departures.ts';
import type { Mailbox, SenderEvent } from './events.ts';
import { FileReader } from './file-reader.ts';
import { GrainQuestions } from './grain-questions.ts';
import { InFlight } from './in-flight.ts';
import { Inquiry, type Optimize } from './inquiry.ts';
import { idOf } from './item.ts';
import { LaneControl } from './lane-control.ts';
import { LargeLane } from './large-lane.ts';
import { Offers } from './offers.ts';
import type { ReadMethods } from './read-worker.ts';
import type { ScanMethods } from './scan-worker.ts';
import { SecondLooks } from './second-looks.ts';
import { Stages } from './stages.ts';
import { Troubles } from './troubles.ts';

/** Changes that may be added at least before the next slice of a sweep is asked for. */
const roomMin = 1024;

export interface TransferOptions {
  readonly connection: Connection;
  readonly reader: WorkerCalls<ReadMethods>;
  readonly scanner: WorkerCalls<ScanMethods>;
  readonly events: Mailbox<SenderEvent>;
  readonly watermark: bigint;
  readonly optimize: Optimize;
  /** Of the grains that the reader keeps. */
  readonly factor: bigint;
}

/** One connection's worth of sending. Any failure rejects `run`; the caller then starts over. */
export class Transfer {
  readonly #options: TransferOptions;
  readonly #control = new LaneControl();
  readonly #gauge = new ContentGauge();
  readonly #troubles: Troubles;
  readonly #offers: Offers;
  readonly #questions: GrainQuestions;
  readonly #stages: Stages;
  readonly #inFlight: InFlight;
  readonly #commits: CommitLane;
  readonly #large: LargeLane;
  #needsLook = false;
  #reversalsSeen = 0;

  constructor(options: TransferOptions) {
    this.#options = options;
    const control = this.#control;
    const troubles = new Troubles(options.events);
    const offers = new Offers(options.connection);
    const gauge = this.#gauge;
    const inFlight = new InFlight({ ...options, control, troubles, gauge });
    const stages = new Stages(options.connection, gauge);
    const questions = new GrainQuestions(options.connection, options.factor);
    const reader = new FileReader(options.reader);
    const shared = {
      ...{ control, troubles, inFlight, reader },
      inquiry: new Inquiry({ ...options, inFlight, offers, questions, reader }),
      stages,
      departures: new Departures(),
      looks: new SecondLooks(options.scanner),
    };
    this.#troubles = troubles;
    this.#stages = stages;
    this.#offers = offers;
    this.#questions = questions;
    this.#inFlight = inFlight;
    this.#commits = new CommitLane(shared);
    this.#large = new LargeLane({ ...shared, commits: this.#commits });
  }

  /** Changes taken and not settled. */
  get outstanding(): number {
    return this.#inFlight.outstanding;
  }

  /** Bytes of frames sent so far. */
  get wireBytes(): number {
    return this.#options.connection.bytesSent;
  }

  /** What of the content of those changes has gone by, and what is left. */
  get content(): Omit<ContentFigures, 'isPartial'> {
    const { bytesDone, bytesLeft, bytesPerSecond } = this.#gauge;
    const { sent } = this.#large;
    const file = sent && {
      path: printable(sent.path),
      size: sent.entry.size,
      bytesDone: this.#gauge.doneOf(sent),
    };
    return { bytesDone, bytesLeft, bytesPerSecond, file };
  }

  /** Those changes, oldest first. */
  *underWay(): Generator<Change, void> {
    for (const { change } of this.#inFlight.taken()) yield change;
  }

  /** When the oldest of them was taken (monotonic). */
  get oldestMs(): number | undefined {
    for (const { takenMs } of this.#inFlight.taken()) return takenMs;
    return undefined;
  }

  /** Changes since the session began that could not be read, or not be held by the receiver. */
  get unreadableCount(): number {
    return this.#inFlight.unreadableCount;
  }

  /** Changes since the session began that were taken back for another reason, to be found again. */
  get retryCount(): number {
    return this.#inFlight.reversalCount - this.#inFlight.unreadableCount;
  }

  /** Is it time to agree anew on what the receiver holds? */
  get isDoubtful(): boolean {
    return this.#inFlight.isDoubtful;
  }

  /** Runs both lanes until `stop`; rejects when the connection or a worker fails. */
  async run(): Promise<void> {
    await Promise.all([this.#commits.run(this.#large), this.#large.run()]);
  }

  enqueue(changes: readonly Change[]): void {
    const inFlight = this.#inFlight;
    const superseded: Reversal[] = [];
    const nowMs = clockMs();
    for (const change of changes) {
      const isLarge = change.kind === 'file' && change.entry.size >= largeFileSize;
      if (change.kind === 'file' && change.purpose === 'trust') {
        if (isLarge) this.#large.enqueue(change);
        else this.#commits.enqueueLook(change);
        continue;
      }
      inFlight.take(change, nowMs);
      if (!isPlain(change)) this.#needsLook = true;
      const { large } = inFlight;
      large.overtake(change);
      if (large.has(idOf(change)) && change.kind !== 'remove') {
        superseded.push({ token: change.token, reason: 'superseded' });
      } else if (isLarge) {
        large.begin(change);
        this.#large.enqueue(change);
      } else this.#commits.enqueue(change);
    }
    if (superseded.length > 0) void inFlight.settle([], superseded);
    this.#control.wake();
  }

  /** A look at the source found nothing, and nothing is under way: what comes now is counted anew. */
  rest(): void {
    this.#gauge.rest();
  }

  /** The source was looked at as a whole, and everything found is durable. */
  async inSync(): Promise<void> {
    await this.#stages.inSync();
  }

  /** Ends `run` soon; resolves when the commits under way are durable and noted. */
  async stop(): Promise<void> {
    this.#control.stop();
    const inFlight = this.#inFlight;
    while ((inFlight.commitCount > 0 || inFlight.isSettling) && !this.#control.isOver) {
      await this.#control.woken();
    }
  }

  /** The session is over: nothing is sent, read or taken any more. The scan finds the rest again. */
  end(): void {
    this.#control.end();
  }

  assertOpen(): void {
    this.#control.assertOpen();
  }

  /** Resolves when every change taken so far is settled, or never will be. */
  async idle(): Promise<void> {
    while (this.outstanding > 0 && !this.#control.isOver) await this.#control.woken();
  }

  /** Resolves when every second look asked for so far is over, or never will be. */
  async looked(): Promise<void> {
    while ((this.#commits.isLooking || this.#large.isLooking) && !this.#control.isOver) {
      await this.#control.woken();
    }
  }

  /** Resolves when there is room for more changes than one slice finds, or never will be. */
  async room(): Promise<void> {
    while (this.outstanding > queuedChangesMax - roomMin && !this.#control.isOver) {
      await this.#control.woken();
    }
  }

  /**
   * Is only another sweep to tell whether source and replica are equal? Not where each change since
   * the last call brought something whole, and was carried out.
   */
  takeNeedOfLook(): boolean {
    const { reversalCount } = this.#inFlight;
    const needsLook = this.#needsLook || reversalCount > this.#reversalsSeen;
    this.#needsLook = false;
    this.#reversalsSeen = reversalCount;
    return needsLook;
  }

  /** Entries that failed since the last call. */
  takeTroubles(): { vanished: number; failed: number } {
    return this.#troubles.take();
  }

  /** What the receiver says. */
  async receive(message: Message): Promise<void> {
    switch (message.type) {
      case MessageType.Need:
        return this.#offers.answer(message);
      case MessageType.Grains:
        return this.#questions.answer(message);
      case MessageType.Rejected:
        if (message.reason === 'blocks' || message.reason === 'base') this.#stages.leave();
        return this.#inFlight.rejected(message);
      case MessageType.Durable:
        return this.#inFlight.durable(message.commit);
      case MessageType.StageRefused:
        return this.#stages.refused(message);
      case MessageType.Lost:
        this.#options.events.put({ kind: 'lost', count: message.entries.length });
        this.#needsLook = true;
        await this.#options.scanner.call('lost', message.entries);
        return;
      case MessageType.DirectoryDigests:
      case MessageType.Listing:
      case MessageType.Checked:
      case MessageType.Forgotten:
        throw new ReplicaError('ERR_PROTOCOL', `answer ${message.type} to no question`);
      default:
        return;
    }
  }
}

/** Nodes that were known under other names are read once more before they count as equal. */
function isPlain({ kind }: Change): boolean {
  return kind === 'directory' || kind === 'file' || kind === 'link' || kind === 'attributes';
}
