// Changes in, commits out: read, match, offer, send, durable, confirm. Two lanes over one
// connection: commits of small things in order, and one large file at a time beside them.
import assert from 'node:assert/strict';
import { type Problem, ReplicaError } from '../errors.ts';
import {
  commitOperationsMax,
  inlineFileSize,
  largeFileSize,
  largeLaneQueueMs,
  largeLaneWindowMin,
  offerIdsMax,
  queuedChangesMax,
  trustAfterMs,
  windowBytesMax,
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
import { packConfirmations, packRequests, type ReadRequest } from './packed.ts';
import type { ReadMethods } from './read-worker.ts';
import type { ScanMethods } from './scan-worker.ts';

/** Content bytes read for one commit of small files. */
const batchBytesMax = 4 * 1024 * 1024;
/** Batches read ahead of the one whose Need is awaited. */
const batchesAheadMax = 3;
/** Parts of a large file offered ahead of the one being sent. */
const partsAheadMax = 4;
/** Remembered departures: more than changes are queued, since queued changes may count on them. */
const departuresMax = 2 * queuedChangesMax;
/** Bytes of operations or pieces in one frame; one inline file more still fits in a frame. */
const frameBytes = 256 * 1024;
const piecesPerFrame = 2048;

interface Item {
  readonly change: Change;
  readonly operation: Operation;
  readonly confirmation: Confirmation;
}

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

interface Sent {
  bytesSent: number;
  bytesReused: number;
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
  /** Nodes whose content the receiver asked for without references. */
  readonly #rawNodes = new Set<NodeId>();
  /**
   * What became of file changes by node and version, where that is not what later changes to the
   * node count on: the version before, its content being the same, or nothing. Newest last.
   */
  readonly #departures = new Map<string, number | 'failed'>();
  readonly #offers: { size: number; resolve: (bitmap: Buffer) => void }[] = [];
  readonly #commits = new Map<bigint, Commit>();
  /** Large files whose content is staged, to be committed by the lane of commits. */
  readonly #ready: { item: Item; sent: Sent }[] = [];
  #nextCommit: bigint;
  #nextOffer = 1;
  #nextStage = 1;
  /** Changes taken from the scanner and not settled. */
  #outstanding = 0;
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

  /** Lets what is under way become durable, then ends `run`. */
  stop(): void {
    this.#isStopping = true;
    this.#wake();
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
        const offer = this.#offers.shift();
        assert(offer !== undefined, 'a Need without an Offer');
        offer.resolve(message.bitmap);
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
          this.#rawNodes.add(item.change.entry.id);
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
          if (item.kind === 'file') this.#rawNodes.delete(idOf(item.change));
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
    await this.#options.scanner.call('settle', outcome, [packed.buffer]);
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
    if (files.length > 0) {
      const packed = await this.#readAll(files);
      let i = 0;
      for (const content of unpackContent(packed)) {
        const file = files[i++];
        if (file !== undefined) contents.set(file, content);
      }
    }
    const offered: ReadPiece[] = [];
    for (const [change, content] of contents) {
      if (this.#isRaw(change)) continue;
      for (const piece of content.pieces) if (piece.kind === 'new') offered.push(piece);
    }
    return { changes, contents, needed: await this.#offer(offered) };
  }

  #readAll(files: readonly FileChange[]): Promise<PackedContent> {
    const requests = packRequests(files.map(requestOf));
    return this.#options.reader.call('read', requests, [requests.buffer]);
  }

  #isRaw(change: Change): boolean {
    return change.kind === 'file' && this.#rawNodes.has(change.entry.id);
  }

  /** The pieces that the receiver does not have; it is asked in one go, answers are awaited. */
  async #offer(pieces: readonly ReadPiece[]): Promise<Set<ReadPiece>> {
    const needed = new Set<ReadPiece>();
    const answers: Promise<void>[] = [];
    for (let from = 0; from < pieces.length; from += offerIdsMax) {
      const asked = pieces.slice(from, from + offerIdsMax);
      const ids = Buffer.concat(asked.flatMap(piece => (piece.kind === 'copy' ? [] : [piece.id])));
      const answer = new Promise<Buffer>(resolve =>
        this.#offers.push({ size: asked.length, resolve }),
      );
      answers.push(
        answer.then(bitmap => {
          for (const [i, piece] of asked.entries()) {
            if (((bitmap[i >> 3] ?? 0) >> (i & 7)) & 1) needed.add(piece);
          }
        }),
      );
      const batch = this.#nextOffer++;
      await this.#options.connection.send({ type: MessageType.Offer, batch, ids });
    }
    await Promise.all(answers);
    return needed;
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
      const entry = { ...change.entry, version: change.baseVersion };
      const { parent, name, token } = change;
      const operation: Operation = { kind: 'attributes', parent, name, entry };
      const confirmation = { token, version: change.baseVersion, ...trustOf(change, content) };
      return { change, operation, confirmation };
    }
    const all = this.#isRaw(change) ? new Set(content.pieces) : needed;
    const pieces = content.pieces.map(piece => pieceOf(piece, all));
    count(pieces, change, sent);
    const { parent, name, entry } = change;
    const hasCopies = pieces.some(piece => piece.kind === 'copy');
    const baseVersion = hasCopies ? change.baseVersion : 0;
    const isInline = entry.size <= inlineFileSize && pieces.length <= piecesPerFrame;
    let operation: Operation;
    if (isInline) {
      operation = {
        kind: 'file',
        parent,
        name,
        entry,
        content: { kind: 'inline', baseVersion, pieces },
      };
    } else {
      const stage = await this.#openStage(change, hasCopies);
      await this.#sendPieces(stage, pieces);
      operation = { kind: 'file', parent, name, entry, content: { kind: 'stage', stage } };
    }
    return { change, operation, confirmation: confirmationOf(change, content) };
  }

  async #openStage(change: FileChange, hasBasis: boolean): Promise<number> {
    const stage = this.#nextStage++;
    await this.#options.connection.send({
      type: MessageType.StageOpen,
      stage,
      id: change.entry.id,
      size: change.entry.size,
      baseVersion: hasBasis ? change.baseVersion : 0,
    });
    return stage;
  }

  /** Sends pieces into a stage, taking no more of the link's queue than a small save may wait for. */
  async #sendPieces(stage: number, pieces: readonly Piece[]): Promise<void> {
    const { connection } = this.#options;
    let from = 0;
    while (from < pieces.length) {
      let bytes = 0;
      let to = from;
      while (to < pieces.length && bytes < frameBytes && to - from < piecesPerFrame) {
        const piece = pieces[to++];
        bytes += 32 + (piece?.kind === 'data' ? piece.bytes.length : 0);
      }
      await connection.waitForCredit(this.#largeWindow());
      await connection.send({ type: MessageType.StageData, stage, pieces: pieces.slice(from, to) });
      from = to;
    }
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
    const { reader, connection } = this.#options;
    const opened = await this.#openLarge(change);
    if (opened.status !== 'read') {
      return this.#abandon(change, { ...opened, pieceCount: 0, blockCount: 0, readMs: 0 });
    }
    const stage = await this.#openStage(change, change.basis !== undefined);
    const sent = noBytes();
    let isSame = change.basis !== undefined;
    const ahead: Promise<Part>[] = [];
    let last: Part | undefined;
    let isRead = false;
    while (last === undefined) {
      while (!isRead && ahead.length < partsAheadMax) {
        const part = await this.#part(change);
        isRead = part.isLast;
        part.needed.catch(() => {}); // Reported where it is awaited.
        ahead.push(Promise.resolve(part));
        if (this.#isStopping) break;
      }
      const part = await ahead.shift();
      assert(part !== undefined);
      if (part.content.head.status !== 'read' || this.#isStopping) {
        if (!isRead) await reader.call('abandon', undefined);
        await connection.send({ type: MessageType.StageAbort, stage });
        const { head } = part.content;
        return this.#abandon(
          change,
          head.status === 'read' ? { ...head, status: 'unstable' } : head,
        );
      }
      const needed = await part.needed;
      const all = this.#isRaw(change) ? new Set(part.content.pieces) : needed;
      const pieces = part.content.pieces.map(piece => pieceOf(piece, all));
      isSame &&= pieces.every(piece => piece.kind !== 'data' && piece.kind !== 'block');
      count(pieces, change, sent);
      await this.#sendPieces(stage, pieces);
      if (part.isLast) last = part;
    }
    const { parent, name, entry, token } = change;
    if (isSame && isSameList(change, last.content)) {
      await connection.send({ type: MessageType.StageAbort, stage });
      const version = change.baseVersion;
      this.#depart(change, version);
      const operation: Operation = {
        kind: 'attributes',
        parent,
        name,
        entry: { ...entry, version },
      };
      const confirmation = { token, version, ...trustOf(change, last.content) };
      this.#hand({ change, operation, confirmation }, noBytes());
      return;
    }
    this.#depart(change, entry.version);
    const operation: Operation = {
      kind: 'file',
      parent,
      name,
      entry,
      content: { kind: 'stage', stage },
    };
    this.#hand({ change, operation, confirmation: confirmationOf(change, last.content) }, sent);
  }

  #hand(item: Item, sent: Sent): void {
    this.#ready.push({ item, sent });
    this.#wake();
  }

  /** Reads the next part; its blocks are offered at once, the answer comes while others are sent. */
  async #part(change: FileChange): Promise<Part> {
    this.assertOpen();
    const packed = await this.#options.reader.call('part', undefined);
    const [content] = unpackContent(packed);
    assert(content !== undefined);
    const offered = this.#isRaw(change) ? [] : content.pieces.filter(piece => piece.kind === 'new');
    return { content, isLast: packed.last, needed: this.#offer(offered) };
  }

  /** Enough in flight to keep the link busy, and little more: a small save waits behind the rest. */
  #largeWindow(): number {
    const { creditBytesPerSecond, creditRoundTripMs } = this.#options.connection;
    const bytes = (creditBytesPerSecond * (creditRoundTripMs + largeLaneQueueMs)) / 1000;
    return Math.min(Math.max(bytes, largeLaneWindowMin), windowBytesMax);
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
  readonly needed: ReadonlySet<ReadPiece>;
}

interface Part {
  readonly content: FileContent;
  readonly isLast: boolean;
  readonly needed: Promise<Set<ReadPiece>>;
}

function idOf(change: Change): NodeId {
  return change.kind === 'remove' ? change.id : change.entry.id;
}

function noBytes(): Sent {
  return { bytesSent: 0, bytesReused: 0 };
}

function requestOf(change: FileChange): ReadRequest {
  const { entry, path, basis } = change;
  const { size, mtimeNs, stamp } = entry;
  return { path, basis, expected: { size, mtimeNs, ctimeNs: stamp.ctimeNs, ino: stamp.ino } };
}

function operationOf(change: Exclude<Change, { kind: 'file' }>): Operation {
  switch (change.kind) {
    case 'directory':
    case 'link':
    case 'hardlink': {
      const { kind, parent, name, entry } = change;
      return { kind, parent, name, entry };
    }
    case 'rename': {
      const { kind, fromParent, fromName, parent, name, entry } = change;
      return { kind, fromParent, fromName, parent, name, entry };
    }
    case 'remove': {
      const { kind, parent, name, id } = change;
      return { kind, parent, name, id };
    }
    case 'attributes': {
      const { kind, parent, name, entry } = change;
      return { kind, parent, name, entry };
    }
  }
}

/** Nothing but the whole basis, in order: only attributes changed. */
function isSameContent(change: FileChange, content: FileContent): boolean {
  return change.baseVersion > 0 && isSameList(change, content);
}

function isSameList(change: FileChange, content: FileContent): boolean {
  if (change.basis === undefined) return false;
  return content.blocks.list.packed.equals(change.basis.list.packed);
}

function pieceOf(piece: ReadPiece, needed: ReadonlySet<ReadPiece>): Piece {
  if (piece.kind !== 'new') return piece;
  const { id, bytes } = piece;
  if (needed.has(piece)) return { kind: 'data', id, bytes };
  return { kind: 'block', id, size: bytes.length };
}

function count(pieces: readonly Piece[], change: FileChange, sent: Sent): void {
  for (const piece of pieces) {
    if (piece.kind === 'data') sent.bytesSent += piece.bytes.length;
    else if (piece.kind === 'block') sent.bytesReused += piece.size;
    else if (piece.kind === 'copy') sent.bytesReused += copiedSize(piece, change);
  }
}

function copiedSize(piece: { from: number; count: number }, change: FileChange): number {
  const list = change.basis?.list;
  let bytes = 0;
  for (let i = piece.from; i < piece.from + piece.count; i++) bytes += list?.sizeAt(i) ?? 0;
  return bytes;
}

function confirmationOf(change: FileChange, content: FileContent): Confirmation {
  return { token: change.token, basis: content.blocks, ...trustOf(change, content) };
}

function trustOf(change: FileChange, content: FileContent): { trusted: boolean } {
  return { trusted: content.head.readMs - change.seenMs >= trustAfterMs };
}

function sizeOf(item: Item | undefined): number {
  if (item === undefined) return 0;
  const fixed = 160 + item.change.path.length;
  const { operation } = item;
  if (operation.kind === 'link') return fixed + operation.entry.target.length;
  if (operation.kind !== 'file' || operation.content.kind !== 'inline') return fixed;
  let bytes = fixed;
  for (const piece of operation.content.pieces) {
    bytes += 32 + (piece.kind === 'data' ? piece.bytes.length : 0);
  }
  return bytes;
}
