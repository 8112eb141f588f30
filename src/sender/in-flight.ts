// Changes taken from the scanner until they are settled: sent in commits, durable or rejected, and
// told to the scanner either way.
import { performance } from 'node:perf_hooks';
import { ReplicaError } from '../errors.ts';
import { largeFileSize, queuedChangesMax } from '../limits.ts';
import type { Connection } from '../net/connection.ts';
import type { NodeId } from '../snapshot/entry.ts';
import { printable } from '../snapshot/name.ts';
import { MessageType, type Operation, type Rejected } from '../wire/messages.ts';
import type { WorkerCalls } from './calls.ts';
import type { Change, Confirmation, FileChange, Reversal } from './change.ts';
import { clockMs } from './clock.ts';
import type { ContentGauge } from './content-gauge.ts';
import type { Mailbox, SenderEvent } from './events.ts';
import { frameBytes, type Item, placeOf, type Sent, sizeOf } from './item.ts';
import type { LaneControl } from './lane-control.ts';
import { LargeNodes } from './large-nodes.ts';
import { packConfirmations } from './packed.ts';
import type { ScanMethods } from './scan-worker.ts';
import type { Troubles } from './troubles.ts';

/** Content is sent raw after so many: its base was not there, then some of its blocks, then others. */
const lacksMax = 3;
/**
 * Once the receiver holds something else than believed, what is under way is given this long to end:
 * while every sweep finds changes that are refused, there is always something.
 */
const doubtMsMax = 5_000;

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

export interface InFlightOptions {
  readonly connection: Connection;
  readonly scanner: WorkerCalls<ScanMethods>;
  readonly events: Mailbox<SenderEvent>;
  readonly watermark: bigint;
  readonly control: LaneControl;
  readonly troubles: Troubles;
  readonly gauge: ContentGauge;
}

export class InFlight {
  readonly large = new LargeNodes();
  readonly #options: InFlightOptions;
  readonly #commits = new Map<bigint, Commit>();
  /** How often the receiver lacked what a name's content refers to; a retried node has a new id. */
  readonly #lacks = new Map<string, number>();
  /** Nodes of which something was refused, and the newest change taken by then: it may build on that. */
  readonly #refused = new Map<NodeId, number>();
  #lastTaken = 0;
  #nextCommit: bigint;
  /** The newest commit whose end went out, and the newest that is durable. */
  #lastEnded: bigint;
  #lastDurable: bigint;
  /** Changes taken and not settled, by token, and when they were. */
  readonly #taken = new Map<number, { change: Change; takenMs: number }>();
  #reversalCount = 0;
  #unreadableCount = 0;
  #settlingCount = 0;
  /** Since when it is known that the receiver holds something else than its sender believes. */
  #doubtedAtMs: number | undefined;

  constructor(options: InFlightOptions) {
    this.#options = options;
    const { watermark } = options;
    this.#nextCommit = watermark + 1n;
    this.#lastEnded = watermark;
    this.#lastDurable = watermark;
  }

  /** Changes taken from the scanner and not settled. */
  get outstanding(): number {
    return this.#taken.size;
  }

  /** Those changes, oldest first, and when each was taken (monotonic). */
  taken(): Iterable<{ readonly change: Change; readonly takenMs: number }> {
    return this.#taken.values();
  }

  get commitCount(): number {
    return this.#commits.size;
  }

  /** Changes that were not carried out: they are found again. */
  get reversalCount(): number {
    return this.#reversalCount;
  }

  /** Those of them that could not be read, or not be held by the receiver. */
  get unreadableCount(): number {
    return this.#unreadableCount;
  }

  get isSettling(): boolean {
    return this.#settlingCount > 0;
  }

  /** Is it time to agree anew? Not while something is on its way, unless that takes too long. */
  get isDoubtful(): boolean {
    if (this.#doubtedAtMs === undefined) return false;
    return this.#taken.size === 0 || performance.now() - this.#doubtedAtMs > doubtMsMax;
  }

  take(change: Change, takenMs: number): void {
    this.#taken.set(change.token, { change, takenMs });
    this.#lastTaken = Math.max(this.#lastTaken, change.token);
    this.#options.gauge.take(change);
  }

  /** Is its content to be sent without references? The receiver does not know what it has. */
  isRaw(change: Change): boolean {
    if (change.kind !== 'file' || this.#lacks.size === 0) return false;
    return (this.#lacks.get(placeOf(change)) ?? 0) >= lacksMax;
  }

  /** Was the receiver lately without something that the content referred to? */
  hasLacked(change: FileChange): boolean {
    return this.#lacks.has(placeOf(change));
  }

  async commit(items: readonly Item[], sent: Sent): Promise<void> {
    const { connection, gauge } = this.#options;
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
      const part = items.slice(from, to);
      const operations = part.map(item => item.operation);
      await connection.send({ type: MessageType.Operations, commit, operations });
      for (const { change } of part) gauge.passWhole(change);
      from = to;
    }
    const operationCount = items.length;
    this.#lastEnded = commit;
    await connection.send({ type: MessageType.CommitEnd, commit, operationCount });
    connection.flush();
  }

  /** Throws ERR_PROTOCOL for what cannot be rejected, or not for that reason. */
  rejected({ commit: number, index, reason, message }: Rejected): void {
    const commit = this.#commits.get(number);
    const item = commit?.items[index];
    const isSent = number <= this.#lastEnded && commit?.rejected.has(index) === false;
    if (!isSent || item === undefined) throw breach(`rejected operation ${index} of ${number}`);
    const { change } = item;
    switch (reason) {
      case 'gone':
        if (this.#buildsOnRefused(change)) {
          commit.rejected.set(index, 'superseded');
          break;
        }
        commit.rejected.set(index, 'gone');
        this.#doubtedAtMs ??= performance.now();
        break;
      case 'refused':
        commit.rejected.set(index, 'refused');
        this.#refuse(change);
        this.#options.troubles.report({
          path: pathOf(change),
          code: 'EREFUSED',
          message: withoutPath(message, pathOf(change)),
        });
        break;
      case 'xattrs':
        // Found again at once, and goes without them; the scan reports it.
        if (change.kind === 'remove' || change.entry.xattrs === undefined) {
          throw breach('refuses attributes that it was not sent');
        }
        commit.rejected.set(index, 'xattrs');
        break;
      case 'base':
        commit.rejected.set(index, 'base');
        this.#lacked(change);
        break;
      case 'blocks':
        // Found again at once; the answer to the next Offer is what is missing.
        commit.rejected.set(index, 'superseded');
        if (!this.#buildsOnRefused(change)) this.#lacked(change);
    }
  }

  /** What was sent together with it finds no directory, file or name to build on. */
  #refuse(change: Change): void {
    if (change.kind === 'remove' || change.parent === 0) return;
    this.#refused.delete(change.entry.id);
    this.#refused.set(change.entry.id, this.#lastTaken);
    for (const oldest of this.#refused.keys()) {
      if (this.#refused.size <= queuedChangesMax) break;
      this.#refused.delete(oldest);
    }
  }

  #buildsOnRefused(change: Change): boolean {
    // 0 is the root's parent.
    const nodes = [change.parent as NodeId, ...(change.kind === 'remove' ? [] : [change.entry.id])];
    if (!nodes.some(id => change.token <= (this.#refused.get(id) ?? -1))) return false;
    this.#refuse(change);
    return true;
  }

  #lacked(change: Change): void {
    if (change.kind !== 'file') throw breach('lacks the content of what has none');
    const place = placeOf(change);
    const count = (this.#lacks.get(place) ?? 0) + 1;
    if (count > lacksMax) throw breach('lacks blocks that came with the file');
    this.#lacks.delete(place);
    this.#lacks.set(place, count);
    for (const oldest of this.#lacks.keys()) {
      if (this.#lacks.size <= queuedChangesMax) break;
      this.#lacks.delete(oldest);
    }
  }

  #hasAll(change: Change): void {
    if (change.kind === 'file' && this.#lacks.size > 0) this.#lacks.delete(placeOf(change));
  }

  /** Throws ERR_PROTOCOL for what was not sent, or was durable before. */
  async durable(upTo: bigint): Promise<void> {
    if (upTo > this.#lastEnded || upTo <= this.#lastDurable) {
      throw breach(`calls commit ${upTo} durable`);
    }
    this.#lastDurable = upTo;
    const confirmations: Confirmation[] = [];
    const reversals: Reversal[] = [];
    for (const [number, commit] of this.#commits) {
      if (number > upTo) break;
      this.#commits.delete(number);
      for (const [index, item] of commit.items.entries()) {
        const reason = commit.rejected.get(index);
        if (reason === undefined) {
          confirmations.push(item.confirmation);
          this.#hasAll(item.change);
          this.#options.troubles.mended(pathOf(item.change));
        } else reversals.push({ token: item.change.token, reason });
        // A small version may become durable while a large one is on its way beside it.
        const { change } = item;
        const isLarge = change.kind === 'file' && change.entry.size >= largeFileSize;
        if (isLarge) this.large.end(change);
      }
      this.#options.events.put({
        kind: 'commit',
        commit: number,
        operations: commit.items.length - commit.rejected.size,
        bytesSent: commit.bytesSent,
        bytesReused: commit.bytesReused,
        resent: [...commit.rejected.values()].filter(isResent).length,
        ms: clockMs() - commit.sentMs,
      });
    }
    await this.settle(confirmations, reversals);
  }

  async settle(
    confirmations: readonly Confirmation[],
    reversals: readonly Reversal[],
  ): Promise<void> {
    const packed = packConfirmations(confirmations);
    const outcome = { confirmations: packed, reversals };
    this.#settlingCount++;
    await this.#options.scanner.call('settle', outcome, [packed.buffer]);
    this.#settlingCount--;
    for (const { token } of confirmations) this.#forget(token, true);
    for (const { token } of reversals) this.#forget(token, false);
    this.#reversalCount += reversals.length;
    for (const { reason } of reversals) {
      if (reason === 'unreadable' || reason === 'refused') this.#unreadableCount++;
    }
    this.#options.control.wake();
  }

  #forget(token: number, isDone: boolean): void {
    this.#taken.delete(token);
    this.#options.gauge.settle(token, isDone);
  }
}

function breach(what: string): ReplicaError {
  return new ReplicaError('ERR_PROTOCOL', `the receiver ${what}`);
}

/** The file itself is as it was: what the receiver lacks of it follows. */
function isResent(reason: Reversal['reason']): boolean {
  return reason === 'base' || reason === 'superseded' || reason === 'xattrs';
}

/** A receiver begins with the path, or the last name of it; whoever reports the problem does too. */
function withoutPath(message: string, path: string): string {
  const whole = printable(path);
  const name = printable(path.slice(path.lastIndexOf('/') + 1));
  for (const start of [whole, name]) {
    if (message.startsWith(`${start}: `)) return message.slice(start.length + 2);
  }
  return message;
}

/** The root's is empty. */
function pathOf({ path }: Change): string {
  return path === '' ? '.' : path;
}
