// Content that travels beside the commits, piece by piece into stages, without making small saves
// wait: only as much is in flight as keeps the link busy.

import { ReplicaError } from '../errors.ts';
import {
  largeLaneQueueMs,
  largeLaneWindowMin,
  piecesPerFrameMax,
  windowBytesMax,
} from '../limits.ts';
import type { Connection } from '../net/connection.ts';
import { MessageType, type Piece, type StageRefused } from '../wire/messages.ts';
import { pieceSize } from '../wire/operation-codec.ts';
import type { FileChange } from './change.ts';
import type { ContentGauge } from './content-gauge.ts';
import { contentSize, frameBytes } from './item.ts';

export class Stages {
  readonly #connection: Connection;
  readonly #gauge: ContentGauge;
  #last = 0;
  #mayBeLeft = true;
  /** Stages that are open; with a text: the receiver says why it does not take them. */
  readonly #open = new Map<number, string | undefined>();

  constructor(connection: Connection, gauge: ContentGauge) {
    this.#connection = connection;
    this.#gauge = gauge;
  }

  /** Opens a stage for the file's new version; `hasBasis`: pieces will copy from the one before. */
  async open(change: FileChange, hasBasis: boolean): Promise<number> {
    const stage = ++this.#last;
    this.#open.set(stage, undefined);
    await this.#connection.send({
      type: MessageType.StageOpen,
      stage,
      id: change.entry.id,
      size: change.entry.size,
      baseVersion: hasBasis ? change.baseVersion : 0,
    });
    return stage;
  }

  /** Throws ERR_PROTOCOL for a stage that was never opened. */
  refused({ stage, message }: StageRefused): void {
    if (stage < 1 || stage > this.#last) {
      throw new ReplicaError('ERR_PROTOCOL', `the receiver refused stage ${stage}`);
    }
    if (this.#open.has(stage)) this.#open.set(stage, message);
  }

  /** Why nothing more is sent into an open stage, if so. */
  refusalOf(stage: number): string | undefined {
    return this.#open.get(stage);
  }

  /** An operation takes it: if it was refused, that is. */
  end(stage: number): number {
    this.#open.delete(stage);
    return stage;
  }

  /** `change`: whose content that is. */
  async send(stage: number, pieces: readonly Piece[], change: FileChange): Promise<void> {
    let from = 0;
    while (from < pieces.length) {
      let bytes = 0;
      let to = from;
      while (to < pieces.length && bytes < frameBytes && to - from < piecesPerFrameMax) {
        const piece = pieces[to++];
        bytes += piece === undefined ? 0 : pieceSize(piece);
      }
      await this.#connection.waitForCredit(this.#window());
      if (this.refusalOf(stage) !== undefined) return;
      const part = pieces.slice(from, to);
      await this.#connection.send({ type: MessageType.StageData, stage, pieces: part });
      this.#gauge.pass(change, contentSize(part, change));
      from = to;
    }
  }

  /** Nothing is to be sent any more: tells the receiver once that what was cut short may go. */
  async inSync(): Promise<void> {
    if (!this.#mayBeLeft) return;
    this.#mayBeLeft = false;
    await this.#connection.send({ type: MessageType.InSync });
    this.#connection.flush();
  }

  /** The receiver has content that was not completed: it helps the next try. */
  leave(): void {
    this.#mayBeLeft = true;
  }

  async abort(stage: number): Promise<void> {
    this.leave();
    this.#open.delete(stage);
    await this.#connection.send({ type: MessageType.StageAbort, stage });
  }

  /** Bytes in flight that keep the link busy, and little more: a save waits behind the rest. */
  #window(): number {
    const { creditBytesPerSecond, creditRoundTripMs } = this.#connection;
    const bytes = (creditBytesPerSecond * (creditRoundTripMs + largeLaneQueueMs)) / 1000;
    return Math.min(Math.max(bytes, largeLaneWindowMin), windowBytesMax);
  }
}
