// What comes for the stages of one connection. One that the quota or the file system refuses is gone
// at once: nothing of it is written any more, and the session goes on.
import { largeFileSize } from '../limits.ts';
import type { StageAbort, StageData, StageOpen } from '../wire/messages.ts';
import { sessionError } from './failure.ts';
import { type Rejection, stageRefusal } from './rejection.ts';
import type { SessionQuota } from './session-quota.ts';
import type { Staging } from './staging.ts';

export class StageIntake {
  readonly #staging: Staging;
  readonly #quota: SessionQuota;

  constructor(staging: Staging, quota: SessionQuota) {
    this.#staging = staging;
    this.#quota = quota;
  }

  /** Why the stage is refused, if so. Throws what ends the session. */
  async open(message: StageOpen): Promise<Rejection | undefined> {
    const fault = this.#quota.open(message);
    if (fault) this.#quota.refuse(message.stage, fault);
    return fault ?? this.#attempt(message, () => this.#staging.openStage(message));
  }

  /** Why the stage is refused from now on, if so. Throws what ends the session. */
  async add({ stage, pieces }: StageData): Promise<Rejection | undefined> {
    if (this.#quota.isRefused(stage)) return undefined;
    const size = this.#staging.sizeOf(stage);
    return this.#attempt({ stage, size }, () => this.#staging.addToStage(stage, pieces));
  }

  abort({ stage }: StageAbort): void {
    if (!this.#quota.end(stage)) this.#staging.abortStage(stage);
  }

  async #attempt(
    { stage, size }: Pick<StageOpen, 'stage' | 'size'>,
    act: () => Promise<void>,
  ): Promise<Rejection | undefined> {
    try {
      await act();
      return undefined;
    } catch (error) {
      const fault = stageRefusal(error, size >= largeFileSize);
      if (!fault) throw sessionError(error);
      this.#staging.dropStage(stage);
      this.#quota.refuse(stage, fault);
      return fault;
    }
  }
}
