// The lane of commits: small files read by the batch and sent inside their operations, everything
// else between them, in order. Large files join it when their content is staged.
import assert from 'node:assert/strict';
import { commitOperationsMax, inlineFileSize, piecesPerFrameMax } from '../limits.ts';
import type { Change, FileChange, Reversal } from './change.ts';
import type { FileContent } from './content.ts';
import type { Departures } from './departures.ts';
import type { FileReader } from './file-reader.ts';
import type { InFlight } from './in-flight.ts';
import type { Inquiry, ReadFile } from './inquiry.ts';
import {
  type Asked,
  countPieces,
  hasBase,
  type Item,
  inlineItem,
  isSameContent,
  noBytes,
  operationOf,
  piecesOf,
  type Sent,
  sameContentItem,
  stagedItem,
} from './item.ts';
import type { LaneControl } from './lane-control.ts';
import type { SecondLooks } from './second-looks.ts';
import type { Stages } from './stages.ts';
import type { Troubles } from './troubles.ts';

/** Content bytes read for one commit of small files, or for second looks: they are in memory. */
const batchBytesMax = 4 * 1024 * 1024;
/** Batches read ahead of the one whose Need is awaited. */
const batchesAheadMax = 3;
/** Second looks at a time: they wait for everything else. */
const looksMax = 32;

interface Batch {
  readonly changes: readonly Change[];
  readonly contents: ReadonlyMap<Change, FileContent>;
  readonly data: ArrayBuffer;
  readonly asked: Asked;
}

export interface CommitLaneOptions {
  readonly control: LaneControl;
  readonly inFlight: InFlight;
  readonly reader: FileReader;
  readonly inquiry: Inquiry;
  readonly stages: Stages;
  readonly departures: Departures;
  readonly troubles: Troubles;
  readonly looks: SecondLooks;
}

export class CommitLane {
  readonly #options: CommitLaneOptions;
  readonly #changes: Change[] = [];
  readonly #looks: FileChange[] = [];
  #isLooking = false;
  readonly #ready: { item: Item; sent: Sent }[] = [];

  constructor(options: CommitLaneOptions) {
    this.#options = options;
  }

  /** Are second looks waiting or under way? */
  get isLooking(): boolean {
    return this.#isLooking || this.#looks.length > 0;
  }

  enqueue(change: Change): void {
    this.#changes.push(change);
  }

  /** Content already sent, to be looked at again when there is nothing else to do. */
  enqueueLook(change: FileChange): void {
    this.#looks.push(change);
  }

  /** Commits an item whose content is staged. */
  hand(item: Item, sent: Sent): void {
    this.#ready.push({ item, sent });
    this.#options.control.wake();
  }

  /** Until the control stops and nothing is under way here nor in the lane that hands to this one. */
  async run(other: { readonly isIdle: boolean }): Promise<void> {
    const { control, inFlight } = this.#options;
    const ahead: Promise<Batch>[] = [];
    while (!control.isOver) {
      while (ahead.length < batchesAheadMax && this.#changes.length > 0 && !control.isStopping) {
        const batch = this.#read(takeBatch(this.#changes, commitOperationsMax));
        batch.catch(() => {}); // Reported where it is awaited.
        ahead.push(batch);
      }
      for (const { item, sent } of this.#ready.splice(0)) await inFlight.commit([item], sent);
      const first = ahead.shift();
      if (first !== undefined) await this.#send(await first);
      else if (this.#ready.length > 0) continue;
      else if (control.isStopping) {
        if (inFlight.commitCount === 0 && other.isIdle) return;
        await control.woken();
      } else if (this.#looks.length > 0) await this.#look(takeBatch(this.#looks, looksMax));
      else await control.woken();
    }
  }

  /** Reads a batch's files and asks which of their blocks are needed. */
  async #read(changes: readonly Change[]): Promise<Batch> {
    const { inFlight, inquiry, reader } = this.#options;
    const files = changes.filter(change => change.kind === 'file');
    const read = await reader.readAll(files);
    const contents = new Map<Change, FileContent>();
    for (const [i, content] of read.contents.entries()) {
      const file = files[i];
      if (file !== undefined) contents.set(file, content);
    }
    const offered: ReadFile[] = [];
    for (const [i, content] of read.contents.entries()) {
      const change = files[i];
      if (change !== undefined && !inFlight.isRaw(change)) offered.push({ change, content });
    }
    return { changes, contents, data: read.data, asked: await inquiry.ask(offered) };
  }

  async #send(batch: Batch): Promise<void> {
    const { departures, inFlight, reader, troubles } = this.#options;
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
      const failure = troubles.reversalOf(change, content.head);
      departures.note(change, failure === undefined ? change.entry.version : 'failed');
      if (failure !== undefined) reversals.push(failure);
      else items.push(await this.#fileItem(change, content, batch.asked, sent));
    }
    if (reversals.length > 0) await inFlight.settle([], reversals);
    if (items.length > 0) await inFlight.commit(items, sent);
    reader.reuse(batch.data);
  }

  /** undefined: it builds on a file that was not sent. */
  #plainItem(change: Exclude<Change, { kind: 'file' }>): Item | undefined {
    const { token } = change;
    if (change.kind === 'remove' || change.entry.kind !== 'file') {
      return { change, operation: operationOf(change), confirmation: { token } };
    }
    const { entry } = change;
    const version = this.#options.departures.versionOf(entry);
    if (version === 'failed') return undefined;
    const operation = operationOf({ ...change, entry: { ...entry, version } });
    return { change, operation, confirmation: { token, version } };
  }

  async #fileItem(
    change: FileChange,
    content: FileContent,
    asked: Asked,
    sent: Sent,
  ): Promise<Item> {
    const { departures, inFlight, stages } = this.#options;
    if (isSameContent(change, content)) {
      departures.note(change, change.baseVersion);
      return sameContentItem(change, content);
    }
    const pieces = piecesOf(content, inFlight.isRaw(change) ? 'all' : asked);
    countPieces(pieces, change, sent);
    if (change.entry.size <= inlineFileSize && pieces.length <= piecesPerFrameMax) {
      return inlineItem(change, content, pieces);
    }
    const stage = await stages.open(change, hasBase(pieces));
    await stages.send(stage, pieces, change);
    return stagedItem(change, content, stages.end(stage));
  }

  async #look(changes: readonly FileChange[]): Promise<void> {
    const { control, looks, reader } = this.#options;
    this.#isLooking = true;
    const { contents } = await reader.readAll(changes);
    // The next session has its own looks: this one must not answer for them.
    control.assertOpen();
    await looks.report(changes.map((change, i) => ({ change, content: contents[i] })));
    this.#isLooking = false;
    control.wake();
  }
}

/** The first of what waits. */
function takeBatch<T extends Change>(waiting: T[], countMax: number): T[] {
  let bytes = 0;
  let count = 0;
  for (const change of waiting) {
    if (count >= countMax || bytes >= batchBytesMax) break;
    if (change.kind === 'file') bytes += change.entry.size;
    count++;
  }
  return waiting.splice(0, count);
}
