// One connection of a verifier: it is told how the destination compares with the records, and may
// say which names not to trust. It is no sender: it fences nobody, and sends no content.
import { setTimeout as sleep } from 'node:timers/promises';
import { ReplicaError } from '../errors.ts';
import type { Connection } from '../net/connection.ts';
import { type Lost, type Message, MessageType, type Mistrust } from '../wire/messages.ts';
import { failureOf, sessionError } from './failure.ts';
import { mend } from './mend.ts';
import { Sweep, type SweepOptions } from './sweep.ts';
import { Verification, type VerificationOptions } from './verification.ts';

export interface VerifySessionOptions
  extends SweepOptions,
    Pick<
      VerificationOptions,
      'folders' | 'store' | 'exclusive' | 'attributes' | 'seesLinksAndRoot'
    > {
  readonly connection: Connection;
  /** Is a sender connected? */
  readonly hasSender: () => boolean;
  readonly onLost: (entries: Lost['entries']) => void;
}

/** Questions that wait for their answer. */
const questionsMax = 8;
/** Between slices of 5 ms while a sender is connected: half of a core at most. */
const sharedPauseMs = 5;

export class VerifySession {
  readonly #options: VerifySessionOptions;
  #answers: Promise<void> = Promise.resolve();
  #questionCount = 0;
  #isOver = false;

  constructor(options: VerifySessionOptions) {
    this.#options = options;
  }

  /** Until the peer closes; nothing is looked at any more then. */
  async run(messages: AsyncIterable<Message>): Promise<void> {
    try {
      for await (const message of messages) this.#handle(message);
    } finally {
      this.#isOver = true;
      await this.#answers;
    }
  }

  #handle(message: Message): void {
    switch (message.type) {
      case MessageType.Verify:
        this.#answer(() => this.#verification().run(message.ids, message.content));
        return;
      case MessageType.Mistrust:
        this.#answer(() => this.#mend(message.entries));
        return;
      case MessageType.Failure:
        return;
      default:
        throw new ReplicaError('ERR_PROTOCOL', `message of type ${message.type} of a verifier`);
    }
  }

  #answer(act: () => Promise<void>): void {
    if (++this.#questionCount > questionsMax) {
      throw new ReplicaError('ERR_PROTOCOL', `more than ${questionsMax} questions at a time`);
    }
    this.#answers = this.#answers.then(async () => {
      try {
        if (!this.#isOver) await act();
      } catch (error) {
        this.#isOver = true;
        // Where the connection broke, run() is told by its messages.
        void this.#options.connection.close(failureOf(sessionError(error)));
      } finally {
        this.#questionCount--;
      }
    });
  }

  #verification(): Verification {
    const { connection, hasSender } = this.#options;
    return new Verification({
      ...this.#options,
      pauseMs: () => (hasSender() ? sharedPauseMs : 0),
      isOver: () => this.#isOver,
      send: message => connection.send(message),
    });
  }

  async #mend(entries: Mistrust['entries']): Promise<void> {
    const { exclusive, connection, hasSender, onLost } = this.#options;
    const sweep = new Sweep(this.#options, view => mend(entries, view));
    let count = 0;
    for (let isComplete = false; !isComplete && !this.#isOver; ) {
      const swept = await exclusive.run(() => sweep.slice());
      isComplete = swept.isComplete;
      count += swept.lost.length;
      onLost(swept.lost);
      await sleep(0);
    }
    await connection.send({ type: MessageType.Forgotten, count, hasSender: hasSender() });
  }
}
