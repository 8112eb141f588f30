// Stages for whose content the quota has no room: what comes for them is not even written, and the
// operation that would use one is rejected. A sender hears of it no sooner: it tries again later and later.
import { ReplicaError } from '../errors.ts';
import { openStagesMax } from '../limits.ts';
import { contentSize } from '../store/content-size.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import type { Operation, StageOpen } from '../wire/messages.ts';
import type { Quota } from './quota.ts';
import type { Rejection } from './rejection.ts';

interface RefusedStagesOptions {
  readonly quota: Quota;
  readonly store: ReplicaStore;
  /** Is it open, as there is room for it? */
  readonly isOpen: (stage: number) => boolean;
}

export class RefusedStages {
  readonly #options: RefusedStagesOptions;
  readonly #faults = new Map<number, Rejection>();

  constructor(options: RefusedStagesOptions) {
    this.#options = options;
  }

  /** Is there no room for a stage that opens? Throws ERR_PROTOCOL. */
  refuses({ stage, id, size }: StageOpen): boolean {
    const fault = this.#options.quota.faultOf(id, size);
    if (this.#faults.has(stage) || (fault && this.#options.isOpen(stage))) {
      throw new ReplicaError('ERR_PROTOCOL', `stage ${stage} is open`);
    }
    if (fault === undefined) return false;
    if (this.#faults.size >= openStagesMax) {
      throw new ReplicaError('ERR_PROTOCOL', `more than ${openStagesMax} stages are open`);
    }
    this.#faults.set(stage, fault);
    return true;
  }

  has(stage: number): boolean {
    return this.#faults.has(stage);
  }

  /** True when it was one of these. */
  end(stage: number): boolean {
    return this.#faults.delete(stage);
  }

  /** The bytes taken from the quota. Throws Rejection when there is no room, or was none before. */
  reserve({ parent, name, entry, content }: Operation & { kind: 'file' }): number {
    const { quota, store } = this.#options;
    const fault = content.kind === 'stage' ? this.#faults.get(content.stage) : undefined;
    if (fault !== undefined) throw fault;
    if (!quota.isLimited) return 0;
    return quota.reserve(entry.size, contentSize(store.entry(parent, name)));
  }
}
