// Questions whose answers take time, one after the other, each in a task of its own: reading messages
// must go on while a long answer goes out.
import { ReplicaError } from '../errors.ts';

/** Questions that wait for their answer: of a sender that agrees, one; of one that sends, a few. */
const questionsMax = 16;

export class Answers {
  readonly #onFailure: (error: unknown) => void;
  #last: Promise<void> = Promise.resolve();
  #count = 0;

  /** `onFailure` ends the connection, unless that is why there is no answer. */
  constructor(onFailure: (error: unknown) => void) {
    this.#onFailure = onFailure;
  }

  /** Throws ERR_PROTOCOL for a question too many. */
  add(answer: () => Promise<void>): void {
    if (this.#count >= questionsMax) {
      throw new ReplicaError('ERR_PROTOCOL', `more than ${questionsMax} questions at a time`);
    }
    this.#count++;
    this.#last = this.#last.then(async () => {
      try {
        await answer();
      } catch (error) {
        this.#onFailure(error);
      } finally {
        this.#count--;
      }
    });
  }
}
