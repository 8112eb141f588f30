// Which blocks does the receiver have? Asked in batches that do not wait for each other; answers
// come in the order of the questions.
import assert from 'node:assert/strict';
import { isIndexed } from '../blocks/block-list.ts';
import { offerIdsMax } from '../limits.ts';
import type { Connection } from '../net/connection.ts';
import { MessageType } from '../wire/messages.ts';
import type { ReadPiece } from './content.ts';

/** A block that costs no more than this is sent unasked. */
const askedSizeMin = 256;

export class Offers {
  readonly #connection: Connection;
  readonly #waiting: ((bitmap: Buffer) => void)[] = [];
  #lastBatch = 0;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** The new pieces that the receiver needs; all are asked for at once. */
  async ask(pieces: readonly ReadPiece[]): Promise<ReadonlySet<ReadPiece>> {
    const needed = new Set<ReadPiece>();
    const fresh: Extract<ReadPiece, { kind: 'new' }>[] = [];
    for (const piece of pieces) {
      if (piece.kind !== 'new') continue;
      // A patch may be smaller than the question.
      const isShort = (piece.patch ?? piece.bytes).length <= askedSizeMin;
      if (isIndexed(piece.bytes.length) && !isShort) fresh.push(piece);
      else needed.add(piece);
    }
    const answers: Promise<void>[] = [];
    for (let from = 0; from < fresh.length; from += offerIdsMax) {
      const asked = fresh.slice(from, from + offerIdsMax);
      const bitmap = new Promise<Buffer>(resolve => this.#waiting.push(resolve));
      answers.push(bitmap.then(bits => addNeeded(needed, asked, bits)));
      const ids = Buffer.concat(asked.map(piece => piece.id));
      const batch = ++this.#lastBatch;
      await this.#connection.send({ type: MessageType.Offer, batch, ids });
    }
    this.#connection.flush();
    await Promise.all(answers);
    return needed;
  }

  /** The receiver's answer to the oldest open question. */
  answer(bitmap: Buffer): void {
    const resolve = this.#waiting.shift();
    assert(resolve !== undefined, 'a Need without an Offer');
    resolve(bitmap);
  }
}

function addNeeded(needed: Set<ReadPiece>, asked: readonly ReadPiece[], bits: Buffer): void {
  for (const [i, piece] of asked.entries()) {
    if (((bits[i >> 3] ?? 0) >> (i & 7)) & 1) needed.add(piece);
  }
}
