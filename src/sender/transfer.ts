// Changes in, commits out: read, match, offer, send, durable, confirm. Two lanes over one
// connection: commits of small things in order, and one large file at a time beside them.
import assert from 'node:assert/strict';
import { type Problem, ReplicaError } from '../errors.ts';
import {
  commitOperationsMax,
  inlineFileSize,
  largeFileSize,
  piecesPerFrameMax,
  queuedChangesMax,
} from '../limits.ts';
import type { Connection } from '../net/connection.ts';
import type { NodeId } from '../snapshot/entry.ts';
import { type Message, MessageType, type Operation, type Piece } from '../wire/messages.ts';
import type { WorkerCalls } from './calls.ts';
import type { Change, Confirmation, FileChange, Reversal } from './change.ts';
import { clockMs } from './clock.ts';
import {
  type FileContent,
  type FileHead,
  type PackedContent,
  type ReadPiece,
  type ReadStatus,
  unpackContent,
} from './content.ts';
import type { Mailbox, SenderEvent } from './events.ts';
import {
  countPieces,
  frameBytes,
  type Item,
  idOf,
  inlineItem,
  isSameContent,
  isSameList,
  noBytes,
  operationOf,
  pieceOf,
  requestOf,
  type Sent,
  sameContentItem,
  sizeOf,
  stagedItem,
} from './item.ts';
import { Offers } from './offers.ts';
import { packConfirmations, packRequests } from './packed.ts';
import { readAhead } from './read-ahead.ts';
import type { ReadMethods } from './read-worker.ts';
import type { ScanMethods } from './scan-worker.ts';
import { Stages } from './stages.ts';

/** Content bytes read for one commit of small files. */
const batchBytesMax = 4 * 1024 * 1024;
/** Batches read ahead of the one whose Need is awaited. */
const batchesAheadMax = 3;
/** Parts of a large file offered ahead of the one being sent. */
const partsAheadMax = 4;
const sparesMax = 4;
/** Remembered departures: more than changes are queued, since queued changes may count on them. */
const departuresMax = 2 * queuedChangesMax;
/** What is remembered of an item until it is durable: not its content. */
interface SentItem {
  readonly change: Change;
  readonly kind: Operation['kind'];
  readonly confirmation: Confirmation;
}

interface Commit {
  readonly items: readonly SentItem[];
  readonly rejected: Map<number, Reversal['reason']>;
  readonly bytesSent: number;
  readonly bytesReused: number;
  readonly sentMs: number;
}

export interface TransferOptions {
  readonly connection: Connection;
  readonly reader: WorkerCalls<ReadMethods>;
  readonly scanner: WorkerCalls<ScanMethods>;
  readonly events: Mailbox<SenderEvent>;
  readonly watermark: bigint;
}

/** One connection's worth of sending. Any failure rejects `run`; the caller then starts over. */
export class Transfer {
  readonly #options: TransferOptions;
  readonly #small: Change[] = [];
  readonly #large: FileChange[] = [];
  readonly #looks: FileChange[] = [];
  /** Nodes in the large lane: other changes to them wait for it. */
  readonly #largeNodes = new Set<NodeId>();
  /** Names whose content the receiver wants without references; a retried node has a new id. */
  readonly #rawPlaces = new Set<string>();
  /**
   * What became of file changes by node and version, where that is not what later changes to the
   * node count on: the version before, its content being the same, or nothing. Newest last.
   */
  readonly #departures = new Map<string, number | 'failed'>();
  readonly #offers: Offers;
  readonly #stages: Stages;
  readonly #commits = new Map<bigint, Commit>();
  /** Large files whose content is staged, to be committed by the lane of commits. */
  readonly #ready: { item: Item; sent: Sent }[] = [];
  /** Data buffers of contents that are sent: without reuse they wait for the collector. */
  readonly #spares: ArrayBuffer[] = [];
  #nextCommit: bigint;
  /** Changes taken from the scanner and not settled. */
  #outstanding = 0;
  #settlingCount = 0;
  #isStopping = false;
  #isOver = false;
  #doubtedAtMs: number | undefined;
  #isLargeIdle = true;
  #wakers: (() => void)[] = [];
  /** Entries that failed since `takeTroubles`, by path. */
  #vanished = 0;
  #failed = new Map<string, Problem>();

  constructor(options: TransferOptions) {
    this.#options = options;
    this.#offers = new Offers(options.connection);
    this.#stages = new Stages(options.connection);
    this.#nextCommit = options.watermark + 1n;
  }

  get outstanding(): number {
    return this.#outstanding;
  }

  /** Since when it is known that the receiver holds something else than its sender believes. */
  get doubtedAtMs(): number | undefined {
    return this.#doubtedAtMs;
  }

  /** Runs both lanes until `stop`; rejects when the connection or a worker fails. */
  async run(): Promise<void> {
    await Promise.all([this.#smallLane(), this.#largeLane()]);
  }

  enqueue(changes: readonly Change[]): void {
    const superseded: Reversal[] = [];
    for (const change of changes) {
      if (change.kind === 'file' && change.purpose === 'trust') {
        if (change.entry.size >= largeFileSize) this.#large.push(change);
        else this.#looks.push(change);
        continue;
      }
      this.#outstanding++;
      const id = idOf(change);
      if (this.#largeNodes.has(id) && change.kind !== 'remove') {
        superseded.push({ token: change.token, reason: 'superseded' });
      } else if (change.kind === 'file' && change.entry.size >= largeFileSize) {
        this.#largeNodes.add(id);
        this.#large.push(change);
      } else this.#small.push(change);
    }
    if (superseded.length > 0) void this.#settle([], superseded);
    this.#wake();
  }

  /** Ends `run` soon; resolves when the commits under way are durable and noted. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#wake();
    while ((this.#commits.size > 0 || this.#settlingCount > 0) && !this.#isOver) {
      await this.#woken();
    }
  }

  /** The session is over: nothing is sent, read or taken any more. The scan finds the rest again. */
  end(): void {
    this.#isOver = true;
    this.#wake();
  }

  assertOpen(): void {
    if (this.#isOver) throw new ReplicaError('ERR_SOCKET', 'the session is over');
  }

  /** Resolves when every change taken so far is settled, or never will be. */
  async idle(): Promise<void> {
    while (this.#outstanding > 0 && !this.#isOver) await this.#woken();
  }

  takeTroubles(): { vanished: number; failed: number } {
    const troubles = { vanished: this.#vanished, failed: this.#failed.size };
    this.#vanished = 0;
    this.#failed.clear();
    return troubles;
  }

  // -- what the receiver says -------------------------------------------------------------------

  async receive(message: Message): Promise<void> {
    switch (message.type) {
      case MessageType.Need: {
        this.#offers.answer(message.bitmap);
        break;
      }
      case MessageType.Rejected: {
        const commit = this.#commits.get(message.commit);
        const item = commit?.items[message.index];
        if (commit === undefined || item === undefined) break;
        const { reason } = message;
        commit.rejected.set(
          message.index,
          reason === 'gone' ? 'gone' : reason === 'missing' ? 'raw' : 'unreadable',
        );
        if (reason === 'gone') this.#doubtedAtMs ??= performance.now();
        if (reason === 'refused') {
          this.#fail({ path: item.change.path, code: 'EREFUSED', message: message.message });
        }
        if (reason === 'missing' && item.change.kind === 'file') {
          this.#rawPlaces.add(placeOf(item.change));
        }
        break;
      }
      case MessageType.Durable:
        await this.#durable(message.commit);
        break;
      case MessageType.Lost:
        this.#options.events.put({ kind: 'lost', count: message.entries.length });
        await this.#options.scanner.call('lost', message.entries);
        break;
      default:
        break;
    }
  }

  async #durable(upTo: bigint): Promise<void> {
    const confirmations: Confirmation[] = [];
    const reversals: Reversal[] = [];
    for (const [number, commit] of this.#commits) {
      if (number > upTo) break;
      this.#commits.delete(number);
      for (const [index, item] of commit.items.entries()) {
        const reason = commit.rejected.get(index);
        if (reason === undefined) {
          confirmations.push(item.confirmation);
          if (item.change.kind === 'file') this.#rawPlaces.delete(placeOf(item.change));
        } else reversals.push({ token: item.change.token, reason });
        if (item.change.kind === 'file') this.#largeNodes.delete(item.change.entry.id);
      }
      this.#options.events.put({
        kind: 'commit',
        commit: number,
        operations: commit.items.length - commit.rejected.size,
        bytesSent: commit.bytesSent,
        bytesReused: commit.bytesReused,
        ms: clockMs() - commit.sentMs,
      });
    }
    await this.#settle(confirmations, reversals);
  }

  async #settle(
    confirmations: readonly Confirmation[],
    reversals: readonly Reversal[],
  ): Promise<void> {
    const packed = packConfirmations(confirmations);
    const outcome = { confirmations: packed, reversals };
    this.#settlingCount++;
    await this.#options.scanner.call('settle', outcome, [packed.buffer]);
    this.#settlingCount--;
    this.#outstanding -= confirmations.length + reversals.length;
    this.#wake();
  }

  // -- the lane of commits ----------------------------------------------------------------------

  async #smallLane(): Promise<void> {
    const ahead: Promise<Batch>[] = [];
    while (!this.#isOver) {
      while (ahead.length < batchesAheadMax && this.#small.length > 0 && !this.#isStopping) {
        const batch = this.#read(this.#takeBatch());
        batch.catch(() => {}); // Reported where it is awaited.
        ahead.push(batch);
      }
      for (const { item, sent } of this.#ready.splice(0)) await this.#commit([item], sent);
      const first = ahead.shift();
      if (first !== undefined) await this.#send(await first);
      else if (this.#ready.length > 0) continue;
      else if (this.#isStopping) {
        if (this.#commits.size === 0 && this.#isLargeIdle) return;
        await this.#woken();
      } else if (this.#looks.length > 0) await this.#look(this.#looks.splice(0, 32));
      else await this.#woken();
    }
  }

  #takeBatch(): Change[] {
    let bytes = 0;
    let count = 0;
    for (const change of this.#small) {
      if (count >= commitOperationsMax || bytes >= batchBytesMax) break;
      if (change.kind === 'file') bytes += change.entry.size;
      count++;
    }
    return this.#small.splice(0, count);
  }

  /** Reads a batch's files and asks which of their blocks are needed. */
  async #read(changes: readonly Change[]): Promise<Batch> {
    const files = changes.filter(change => change.kind === 'file');
    const contents = new Map<Change, FileContent>();
    let data = new ArrayBuffer(0);
    if (files.length > 0) {
      const packed = await this.#readAll(files);
      data = packed.data.buffer;
      let i = 0;
      for (const content of unpackContent(packed)) {
        const file = files[i++];
        if (file !== undefined) contents.set(file, content);
      }
    }
    const offered: ReadPiece[] = [];
    for (const [change, content] of contents) {
      if (!this.#isRaw(change)) offered.push(...content.pieces);
    }
    return { changes, contents, data, needed: await this.#offers.ask(offered) };
  }

  /** Nothing refers to the data any more: the next read may use its memory. */
  #reuse(data: ArrayBuffer): void {
    if (data.byteLength > 0 && this.#spares.length < sparesMax) this.#spares.push(data);
  }

  #readAll(files: readonly FileChange[]): Promise<PackedContent> {
    const requests = packRequests(files.map(requestOf));
    const spare = this.#spares.pop();
    const transfer = spare === undefined ? [requests.buffer] : [requests.buffer, spare];
    return this.#options.reader.call('read', { requests, spare }, transfer);
  }

  #isRaw(change: Change): boolean {
    return change.kind === 'file' && this.#rawPlaces.has(placeOf(change));
  }

  async #send(batch: Batch): Promise<void> {
    const items: Item[] = [];
    const sent = noBytes();
    const reversals: Reversal[] = [];
    for (const change of batch.changes) {
      if (change.kind !== 'file') {
        const item = this.#plainItem(change);
        if (item === undefined) reversals.push({ token: change.token, reason: 'superseded' });
        else items.push(item);
        continue;
      }
      const content = batch.contents.get(change);
      assert(content !== undefined);
      const failure = this.#failure(change, content.head);
      if (failure !== undefined) reversals.push(failure);
      else items.push(await this.#fileItem(change, content, batch.needed, sent));
    }
    if (reversals.length > 0) await this.#settle([], reversals);
    if (items.length > 0) await this.#commit(items, sent);
    this.#reuse(batch.data);
  }

  /** undefined: it builds on a file that was not sent. */
  #plainItem(change: Exclude<Change, { kind: 'file' }>): Item | undefined {
    const { token } = change;
    if (change.kind === 'remove' || change.entry.kind !== 'file') {
      return { change, operation: operationOf(change), confirmation: { token } };
    }
    const { entry } = change;
    const version = this.#departures.get(`${entry.id}.${entry.version}`) ?? entry.version;
    if (version === 'failed') return undefined;
    const operation = operationOf({ ...change, entry: { ...entry, version } });
    return { change, operation, confirmation: { token, version } };
  }

  /** Later changes name the version that a file change was to make: this one was made instead. */
  #depart({ entry }: FileChange, version: number | 'failed'): void {
    const key = `${entry.id}.${entry.version}`;
    this.#departures.delete(key);
    if (version === entry.version) return;
    this.#departures.set(key, version);
    for (const oldest of this.#departures.keys()) {
      if (this.#departures.size <= departuresMax) break;
      this.#departures.delete(oldest);
    }
  }

  #failure(change: FileChange, head: FileHead): Reversal | undefined {
    const { token, path } = change;
    this.#depart(change, head.status === 'read' ? change.entry.version : 'failed');
    switch (head.status) {
      case 'read':
        return undefined;
      case 'unstable':
        return { token, reason: 'unstable' };
      case 'vanished':
        this.#vanished++;
        return { token, reason: 'superseded' };
      case 'unreadable':
        this.#fail({
          path,
          code: head.code,
          message: 'cannot be read; the copy keeps what it had',
        });
        return { token, reason: 'unreadable' };
    }
  }

  #fail(problem: Problem): void {
    this.#failed.set(problem.path, problem);
    this.#options.events.put({ kind: 'problem', problem });
  }

  async #fileItem(
    change: FileChange,
    content: FileContent,
    needed: ReadonlySet<ReadPiece>,
    sent: Sent,
  ): Promise<Item> {
    if (isSameContent(change, content)) {
      this.#depart(change, change.baseVersion);
      return sameContentItem(change, content);
    }
    const pieces = this.#pieces(change, content, needed);
    countPieces(pieces, change, sent);
    if (change.entry.size <= inlineFileSize && pieces.length <= piecesPerFrameMax) {
      return inlineItem(change, content, pieces);
    }
    const hasCopies = pieces.some(piece => piece.kind === 'copy');
    const stage = await this.#stages.open(change, hasCopies);
    await this.#stages.send(stage, pieces);
    return stagedItem(change, content, stage);
  }

  #pieces(
    change: FileChange,
    content: FileContent,
    needed: ReadonlySet<ReadPiece>,
  ): readonly Piece[] {
    const all = this.#isRaw(change) ? new Set(content.pieces) : needed;
    return content.pieces.map(piece => pieceOf(piece, all));
  }

  async #commit(items: readonly Item[], sent: Sent): Promise<void> {
    const { connection } = this.#options;
    const commit = this.#nextCommit++;
    const remembered = items.map(({ change, operation, confirmation }) => ({
      change,
      kind: operation.kind,
      confirmation,
    }));
    const sentMs = clockMs();
    this.#commits.set(commit, { items: remembered, rejected: new Map(), ...sent, sentMs });
    let from = 0;
    while (from < items.length) {
      let bytes = 0;
      let to = from;
      while (to < items.length && bytes < frameBytes) bytes += sizeOf(items[to++]);
      const operations = items.slice(from, to).map(item => item.operation);
      await connection.send({ type: MessageType.Operations, commit, operations });
      from = to;
    }
    const operationCount = items.length;
    await connection.send({ type: MessageType.CommitEnd, commit, operationCount });
    connection.flush();
  }

  /** Second looks: content that is the same becomes trusted, other content is to be sent. */
  async #look(changes: readonly FileChange[]): Promise<void> {
    const packed = await this.#readAll(changes);
    const contents = [...unpackContent(packed)];
    const looked = changes.map((change, i) => ({ change, content: contents[i] }));
    await this.#looked(looked);
  }

  async #looked(
    looked: readonly { change: FileChange; content: FileContent | undefined }[],
  ): Promise<void> {
    const results = looked.map(({ change, content }) => {
      const { entry, parent, name } = change;
      const isRead = content?.head.status === 'read';
      return {
        id: entry.id,
        parent,
        name,
        isSame: isRead ? isSameList(change, content) : undefined,
      };
    });
    await this.#options.scanner.call('looked', results);
  }

  // -- the lane of large files ------------------------------------------------------------------

  async #largeLane(): Promise<void> {
    while (!this.#isOver) {
      const change = this.#isStopping ? undefined : this.#large.shift();
      this.#isLargeIdle = change === undefined;
      if (change === undefined) {
        if (this.#isStopping) return this.#wake();
        await this.#woken();
      } else if (change.purpose === 'trust') await this.#lookAtLarge(change);
      else await this.#sendLarge(change);
    }
  }

  #openLarge(change: FileChange): Promise<{ status: ReadStatus; code: string }> {
    const request = packRequests([requestOf(change)]);
    return this.#options.reader.call('open', request, [request.buffer]);
  }

  async #lookAtLarge(change: FileChange): Promise<void> {
    const { reader } = this.#options;
    const opened = await this.#openLarge(change);
    while (opened.status === 'read') {
      this.assertOpen();
      const packed = await reader.call('part', undefined);
      const [content] = unpackContent(packed);
      if (packed.last) return this.#looked([{ change, content }]);
      if (this.#isStopping) return reader.call('abandon', undefined);
    }
    await this.#looked([{ change, content: undefined }]);
  }

  async #sendLarge(change: FileChange): Promise<void> {
    const opened = await this.#openLarge(change);
    if (opened.status !== 'read') {
      return this.#abandon(change, { ...opened, pieceCount: 0, blockCount: 0, readMs: 0 });
    }
    const stage = await this.#stages.open(change, change.basis !== undefined);
    const sent = noBytes();
    let isSame = change.basis !== undefined;
    const parts = readAhead(() => this.#part(change), isLastPart, partsAheadMax);
    for await (const part of parts) {
      const { head } = part.content;
      if (head.status !== 'read' || this.#isStopping) {
        if (!part.isLast) await this.#options.reader.call('abandon', undefined);
        await this.#stages.abort(stage);
        return this.#abandon(
          change,
          head.status === 'read' ? { ...head, status: 'unstable' } : head,
        );
      }
      const pieces = this.#pieces(change, part.content, await part.needed);
      isSame &&= pieces.every(piece => piece.kind !== 'data' && piece.kind !== 'block');
      countPieces(pieces, change, sent);
      await this.#stages.send(stage, pieces);
      this.#reuse(part.data);
      if (!part.isLast) continue;
      if (isSame && isSameList(change, part.content)) {
        await this.#stages.abort(stage);
        this.#depart(change, change.baseVersion);
        this.#hand(sameContentItem(change, part.content), noBytes());
      } else {
        this.#depart(change, change.entry.version);
        this.#hand(stagedItem(change, part.content, stage), sent);
      }
    }
  }

  #hand(item: Item, sent: Sent): void {
    this.#ready.push({ item, sent });
    this.#wake();
  }

  /** Reads the next part; its blocks are offered at once, the answer comes while others are sent. */
  async #part(change: FileChange): Promise<Part> {
    this.assertOpen();
    const spare = this.#spares.pop();
    const transfer = spare === undefined ? [] : [spare];
    const packed = await this.#options.reader.call('part', spare, transfer);
    const [content] = unpackContent(packed);
    assert(content !== undefined);
    const needed = this.#offers.ask(this.#isRaw(change) ? [] : content.pieces);
    needed.catch(() => {}); // Reported where it is awaited.
    return { content, data: packed.data.buffer, isLast: packed.last, needed };
  }

  async #abandon(change: FileChange, head: FileHead): Promise<void> {
    this.#largeNodes.delete(change.entry.id);
    const reversal = this.#failure(change, head);
    this.#depart(change, 'failed');
    await this.#settle([], [reversal ?? { token: change.token, reason: 'superseded' }]);
  }

  // -- waiting ----------------------------------------------------------------------------------

  #wake(): void {
    const wakers = this.#wakers;
    this.#wakers = [];
    for (const wake of wakers) wake();
  }

  #woken(): Promise<void> {
    return new Promise(resolve => this.#wakers.push(resolve));
  }
}

interface Batch {
  readonly changes: readonly Change[];
  readonly contents: ReadonlyMap<Change, FileContent>;
  readonly data: ArrayBuffer;
  readonly needed: ReadonlySet<ReadPiece>;
}

interface Part {
  readonly content: FileContent;
  readonly data: ArrayBuffer;
  readonly isLast: boolean;
  readonly needed: Promise<ReadonlySet<ReadPiece>>;
}

function isLastPart(part: Part): boolean {
  return part.isLast;
}

function placeOf({ parent, name }: FileChange): string {
  return `${parent}/${name}`;
}
