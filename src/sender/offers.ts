// Which blocks does the receiver have? Asked in batches that do not wait for each other; answers
// come in the order of the questions.
import { isIndexed } from '../blocks/block-list.ts';
import { ReplicaError } from '../errors.ts';
import { offerIdsMax } from '../limits.ts';
import type { Connection } from '../net/connection.ts';
import { MessageType, type Need } from '../wire/messages.ts';
import type { ReadPiece } from './content.ts';

/** What costs no more than this is sent unasked. */
export const askedSizeMin = 256;

interface Question {
  readonly batch: number;
  readonly count: number;
  readonly resolve: (bitmap: Buffer) => void;
}

export class Offers {
  readonly #connection: Connection;
  readonly #waiting: Question[] = [];
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
      const batch = ++this.#lastBatch;
      const bitmap = new Promise<Buffer>(resolve => {
        this.#waiting.push({ batch, count: asked.length, resolve });
      });
      answers.push(bitmap.then(bits => addNeeded(needed, asked, bits)));
      const ids = Buffer.concat(asked.map(piece => piece.id));
      await this.#connection.send({ type: MessageType.Offer, batch, ids });
    }
    this.#connection.flush();
    await Promise.all(answers);
    return needed;
  }

  /** The receiver's answer to the oldest open question. Throws ERR_PROTOCOL if it is none. */
  answer({ batch, bitmap }: Need): void {
    const question = this.#waiting.shift();
    if (question?.batch !== batch || bitmap.length !== Math.ceil(question.count / 8)) {
      throw new ReplicaError('ERR_PROTOCOL', `a Need of batch ${batch} that answers no Offer`);
    }
    question.resolve(bitmap);
  }
}

function addNeeded(needed: Set<ReadPiece>, asked: readonly ReadPiece[], bits: Buffer): void {
  for (const [i, piece] of asked.entries()) {
    if (((bits[i >> 3] ?? 0) >> (i & 7)) & 1) needed.add(piece);
  }
}
