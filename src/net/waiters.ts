import type { ReplicaError } from '../errors.ts';

interface Waiter {
  readonly isOver: () => boolean;
  readonly resolve: () => void;
  readonly reject: (error: ReplicaError) => void;
}

/** Promises that wait for a condition; whoever changes something it depends on calls release(). */
export class Waiters {
  #waiters: Waiter[] = [];

  until(isOver: () => boolean): Promise<void> {
    if (isOver()) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiters.push({ isOver, resolve, reject }));
  }

  /** Resolves those whose condition holds now, in order of arrival. */
  release(): void {
    if (this.#waiters.length === 0) return;
    const waiting: Waiter[] = [];
    for (const waiter of this.#waiters) {
      if (waiter.isOver()) waiter.resolve();
      else waiting.push(waiter);
    }
    this.#waiters = waiting;
  }

  rejectAll(error: ReplicaError): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.reject(error);
  }
}
