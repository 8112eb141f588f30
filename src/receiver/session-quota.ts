// What one connection takes from the quota: for its open stages and the commits under way. What comes
// for a stage that is refused, by the quota or by the file system, is not even written, and the
// operation that would use it is rejected.
import { ReplicaError } from '../errors.ts';
import { openStagesMax } from '../limits.ts';
import { contentSize } from '../store/content-size.ts';
import type { Place } from '../store/receiver-records.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import type { Operation, StageOpen } from '../wire/messages.ts';
import type { Quota } from './quota.ts';
import type { Rejection } from './rejection.ts';

interface SessionQuotaOptions {
  readonly quota: Quota;
  readonly store: ReplicaStore;
  /** Is it open, as there is room for it? */
  readonly isOpen: (stage: number) => boolean;
}

export class SessionQuota {
  readonly #options: SessionQuotaOptions;
  readonly #faults = new Map<number, Rejection>();
  /** Bytes of the quota that open stages will take. */
  readonly #reserved = new Map<number, number>();
  /** Names whose file gets another name, in commits that are not in the records yet. */
  readonly #left = new Map<string, number>();

  constructor(options: SessionQuotaOptions) {
    this.#options = options;
  }

  /** Why there is no room for a stage that opens, if so. Throws ERR_PROTOCOL. */
  open({ stage, id, size }: StageOpen): Rejection | undefined {
    const { quota, isOpen } = this.#options;
    if (this.#faults.has(stage) || isOpen(stage)) {
      throw new ReplicaError('ERR_PROTOCOL', `stage ${stage} is open`);
    }
    const reserved = quota.reserveFor(id, size);
    if (typeof reserved !== 'number') return reserved;
    if (reserved > 0) this.#reserved.set(stage, reserved);
    return undefined;
  }

  /** Nothing of an open stage is there any more: what else comes for it is dropped. */
  refuse(stage: number, fault: Rejection): void {
    this.#release(stage);
    if (this.#faults.size >= openStagesMax) {
      throw new ReplicaError('ERR_PROTOCOL', `more than ${openStagesMax} stages are open`);
    }
    this.#faults.set(stage, fault);
  }

  isRefused(stage: number): boolean {
    return this.#faults.has(stage);
  }

  /** True when it was one of these. */
  end(stage: number): boolean {
    this.#release(stage);
    return this.#faults.delete(stage);
  }

  #release(stage: number): void {
    this.#options.quota.release(this.#reserved.get(stage) ?? 0);
    this.#reserved.delete(stage);
  }

  /** The session is over. */
  close(): void {
    for (const stage of [...this.#reserved.keys()]) this.#release(stage);
  }

  /** The file at a name gets another one: what comes to the name takes room of its own. */
  leave(place: Place): Place {
    this.#left.set(keyOf(place), (this.#left.get(keyOf(place)) ?? 0) + 1);
    return place;
  }

  /** The records know. */
  settle(places: Iterable<Place>): void {
    for (const place of places) {
      const count = (this.#left.get(keyOf(place)) ?? 0) - 1;
      if (count > 0) this.#left.set(keyOf(place), count);
      else this.#left.delete(keyOf(place));
    }
  }

  /** The bytes taken from the quota. Throws Rejection when there is no room, or was none before. */
  reserve(operation: Operation & { kind: 'file' | 'hardlink' }): number {
    const { quota } = this.#options;
    if (operation.kind === 'file' && operation.content.kind === 'stage') {
      const fault = this.#faults.get(operation.content.stage);
      if (fault !== undefined) throw fault;
      this.#release(operation.content.stage);
    }
    if (!quota.isLimited) return 0;
    return quota.reserve(contentSize(operation.entry), this.#sizeBefore(operation));
  }

  #sizeBefore(place: Place): number {
    if (this.#left.has(keyOf(place))) return 0;
    return contentSize(this.#options.store.entry(place.parent, place.name));
  }
}

function keyOf({ parent, name }: Place): string {
  return `${parent}/${name}`;
}
