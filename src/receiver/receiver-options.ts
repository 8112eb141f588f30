// What a receiver is opened with, and what it does unless told otherwise.
import { type Log, silentLog } from '../log.ts';
import type { ConfinedDirectory } from '../tree/confined-directory.ts';
import type { CaretakerPauses } from './caretaker.ts';

export interface ReceiverOptions {
  /** The destination, as the user gave it. */
  readonly root: string;
  /** Where the state goes instead of `<root>/.replica/state`: a folder for many destinations. */
  readonly stateFolder?: string | undefined;
  /** Take over a folder that is not empty and no replica yet. */
  readonly adopt: boolean;
  /** Accept a sender of another source than before. */
  readonly takeOver: boolean;
  readonly fsync: 'batch' | 'off';
  /** How long replaced and deleted content is kept. */
  readonly keepMs: number;
  /** Set setuid, setgid and sticky bits as the source has them. */
  readonly specialBits: boolean;
  /** Bytes of files it may hold; more is refused. */
  readonly quota?: number | undefined;
  /** For a verifier in this process: only a replica, and nothing is put right by itself. */
  readonly isOnlyVerified?: boolean | undefined;
  readonly log: Log;
  /** For tests. */
  readonly onStep?: ((label: string) => void) | undefined;
  readonly nowMs?: (() => number) | undefined;
  readonly openRoot?: ((path: string) => ConfinedDirectory) | undefined;
  readonly pauses?: CaretakerPauses | undefined;
}

/** What `replica receive` does unless told otherwise. */
export const receiverDefaults = {
  adopt: false,
  takeOver: false,
  fsync: 'batch',
  keepMs: 24 * 60 * 60 * 1000,
  specialBits: false,
  log: silentLog,
} as const;
