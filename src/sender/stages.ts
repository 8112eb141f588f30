// Content that travels beside the commits, piece by piece into stages, without making small saves
// wait: only as much is in flight as keeps the link busy.
import {
  largeLaneQueueMs,
  largeLaneWindowMin,
  piecesPerFrameMax,
  windowBytesMax,
} from '../limits.ts';
import type { Connection } from '../net/connection.ts';
import { MessageType, type Piece } from '../wire/messages.ts';
import { pieceSize } from '../wire/operation-codec.ts';
import type { FileChange } from './change.ts';
import type { ContentGauge } from './content-gauge.ts';
import { contentSize, frameBytes } from './item.ts';

export class Stages {
  readonly #connection: Connection;
  readonly #gauge: ContentGauge;
  #last = 0;
  #mayBeLeft = true;

  constructor(connection: Connection, gauge: ContentGauge) {
    this.#connection = connection;
    this.#gauge = gauge;
  }

  /** Opens a stage for the file's new version; `hasBasis`: pieces will copy from the one before. */
  async open(change: FileChange, hasBasis: boolean): Promise<number> {
    const stage = ++this.#last;
    await this.#connection.send({
      type: MessageType.StageOpen,
      stage,
      id: change.entry.id,
      size: change.entry.size,
      baseVersion: hasBasis ? change.baseVersion : 0,
    });
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
    await this.#connection.send({ type: MessageType.StageAbort, stage });
  }

  /** Bytes in flight that keep the link busy, and little more: a save waits behind the rest. */
  #window(): number {
    const { creditBytesPerSecond, creditRoundTripMs } = this.#connection;
    const bytes = (creditBytesPerSecond * (creditRoundTripMs + largeLaneQueueMs)) / 1000;
    return Math.min(Math.max(bytes, largeLaneWindowMin), windowBytesMax);
  }
}
