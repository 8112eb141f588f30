// What the lanes of one connection share: when to wake up, and when to end.
import { ReplicaError } from '../errors.ts';

export class LaneControl {
  #isStopping = false;
  #isOver = false;
  #wakers: (() => void)[] = [];

  /** No new change is taken; those under way are brought to an end. */
  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** Nothing is sent, read or taken any more. */
  get isOver(): boolean {
    return this.#isOver;
  }

  stop(): void {
    this.#isStopping = true;
    this.wake();
  }

  end(): void {
    this.#isOver = true;
    this.wake();
  }

  assertOpen(): void {
    if (this.#isOver) throw new ReplicaError('ERR_SOCKET', 'the session is over');
  }

  /** Something happened: whoever waits looks again. */
  wake(): void {
    const wakers = this.#wakers;
    this.#wakers = [];
    for (const wake of wakers) wake();
  }

  woken(): Promise<void> {
    return new Promise(resolve => this.#wakers.push(resolve));
  }
}
