// The lane of large files: one at a time, its content going into a stage while commits overtake it.
import type { FileChange } from './change.ts';
import type { CommitLane } from './commit-lane.ts';
import type { FileHead } from './content.ts';
import type { Departures } from './departures.ts';
import type { FileReader, ReadPart } from './file-reader.ts';
import type { InFlight } from './in-flight.ts';
import type { Inquiry } from './inquiry.ts';
import {
  type Asked,
  countPieces,
  isSameList,
  noBytes,
  piecesOf,
  sameContentItem,
  stagedItem,
} from './item.ts';
import type { LaneControl } from './lane-control.ts';
import { readAhead } from './read-ahead.ts';
import type { SecondLooks } from './second-looks.ts';
import type { Stages } from './stages.ts';
import type { Troubles } from './troubles.ts';

/** Parts of a large file offered ahead of the one being sent. */
const partsAheadMax = 4;

interface Part extends ReadPart {
  readonly asked: Promise<Asked>;
}

export interface LargeLaneOptions {
  readonly control: LaneControl;
  readonly inFlight: InFlight;
  readonly reader: FileReader;
  readonly inquiry: Inquiry;
  readonly stages: Stages;
  readonly departures: Departures;
  readonly troubles: Troubles;
  readonly looks: SecondLooks;
  /** Where files go once their content is staged. */
  readonly commits: CommitLane;
}

export class LargeLane {
  readonly #options: LargeLaneOptions;
  readonly #changes: FileChange[] = [];
  #isIdle = true;
  /** The one whose content is being sent. */
  #sent: FileChange | undefined;
  /** Second looks waiting or under way. */
  #lookCount = 0;

  constructor(options: LargeLaneOptions) {
    this.#options = options;
  }

  get isIdle(): boolean {
    return this.#isIdle;
  }

  get sent(): FileChange | undefined {
    return this.#sent;
  }

  get isLooking(): boolean {
    return this.#lookCount > 0;
  }

  enqueue(change: FileChange): void {
    if (change.purpose === 'trust') this.#lookCount++;
    this.#changes.push(change);
  }

  async run(): Promise<void> {
    const { control } = this.#options;
    while (!control.isOver) {
      const change = control.isStopping ? undefined : this.#changes.shift();
      this.#isIdle = change === undefined;
      if (change === undefined) {
        if (control.isStopping) return control.wake();
        await control.woken();
      } else if (change.purpose === 'trust') {
        await this.#look(change);
        this.#lookCount--;
        control.wake();
      } else {
        this.#sent = change;
        await this.#send(change);
        this.#sent = undefined;
      }
    }
  }

  async #look(change: FileChange): Promise<void> {
    const { control, looks, reader } = this.#options;
    const opened = await reader.open(change);
    while (opened.status === 'read') {
      control.assertOpen();
      const { content, isLast } = await reader.part();
      control.assertOpen();
      if (isLast) return looks.report([{ change, content }]);
      if (control.isStopping) return reader.abandon();
    }
    control.assertOpen();
    await looks.report([{ change, content: undefined }]);
  }

  async #send(change: FileChange): Promise<void> {
    const { commits, control, departures, inFlight, reader, stages } = this.#options;
    const { large } = inFlight;
    if (large.isOvertaken(change)) return this.#giveUp(change, nothingRead);
    const opened = await reader.open(change);
    if (opened.status !== 'read') {
      return this.#giveUp(change, { ...nothingRead, ...opened });
    }
    const stage = await stages.open(change, change.basis !== undefined);
    const sent = noBytes();
    let isSame = change.basis !== undefined;
    const parts = readAhead(() => this.#part(change), isLastPart, partsAheadMax);
    for await (const { content, data, isLast, asked } of parts) {
      const { head } = content;
      const refusal = stages.refusalOf(stage);
      if (head.status !== 'read' || control.isStopping || refusal !== undefined) {
        if (!isLast) await reader.abandon();
        await stages.abort(stage);
        if (refusal !== undefined) return this.#refuse(change, refusal);
        return this.#giveUp(
          change,
          head.status === 'read' ? { ...head, status: 'unstable' } : head,
        );
      }
      const pieces = piecesOf(content, inFlight.isRaw(change) ? 'all' : await asked);
      isSame &&= pieces.every(piece => piece.kind === 'copy' || piece.kind === 'zero');
      countPieces(pieces, change, sent);
      await stages.send(stage, pieces, change);
      reader.reuse(data);
      if (large.isOvertaken(change)) {
        if (!isLast) await reader.abandon();
        await stages.abort(stage);
        return this.#giveUp(change, head);
      }
      if (!isLast) continue;
      large.leave(change);
      if (isSame && isSameList(change, content)) {
        await stages.abort(stage);
        departures.note(change, change.baseVersion);
        commits.hand(sameContentItem(change, content), noBytes());
      } else {
        departures.note(change, change.entry.version);
        commits.hand(stagedItem(change, content, stages.end(stage)), sent);
      }
    }
  }

  /** Reads the next part; its blocks are offered at once, the answer comes while others are sent. */
  async #part(change: FileChange): Promise<Part> {
    const { control, inFlight, inquiry, reader } = this.#options;
    control.assertOpen();
    const part = await reader.part();
    const { content } = part;
    const asked = inquiry.ask(inFlight.isRaw(change) ? [] : [{ change, content }]);
    asked.catch(() => {}); // Reported where it is awaited.
    return { ...part, asked };
  }

  /** The receiver does not take it: it is tried again later and later. */
  async #refuse(change: FileChange, message: string): Promise<void> {
    const { departures, inFlight, troubles } = this.#options;
    inFlight.large.end(change);
    troubles.report({ path: change.path, code: 'EREFUSED', message });
    departures.note(change, 'failed');
    await inFlight.settle([], [{ token: change.token, reason: 'refused' }]);
  }

  async #giveUp(change: FileChange, head: FileHead): Promise<void> {
    const { departures, inFlight, troubles } = this.#options;
    inFlight.large.end(change);
    const reversal = troubles.reversalOf(change, head);
    departures.note(change, 'failed');
    await inFlight.settle([], [reversal ?? { token: change.token, reason: 'superseded' }]);
  }
}

const nothingRead: FileHead = {
  status: 'read',
  code: '',
  pieceCount: 0,
  blockCount: 0,
  readMs: 0,
};

function isLastPart(part: Part): boolean {
  return part.isLast;
}
