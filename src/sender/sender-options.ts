// What a sender is opened with, and what it does unless told otherwise.
import { type Log, silentLog } from '../log.ts';
import type { Connection } from '../net/connection.ts';
import type { AttributeRules } from '../snapshot/attribute-rules.ts';
import { defaultMaxDelete, type MaxDelete } from '../snapshot/guard.ts';
import type { ScanJobs } from '../tree/adaptive-source.ts';
import type { Optimize } from './inquiry.ts';
import type { SettleRule } from './settling.ts';

export interface SenderOptions {
  /** Path of the source, as the user gave it. */
  readonly source: string;
  readonly connect: (signal: AbortSignal) => Promise<Connection>;
  readonly stateFolder: string;
  /** 16 bytes, the same for the same tree whatever state is lost. */
  readonly sourceId: Buffer;
  readonly label: string;
  /** Which of the receiver's replicas; default: the one without a name. */
  readonly replica?: string | undefined;
  readonly intervalMs: number;
  readonly once: boolean;
  readonly dryRun: boolean;
  readonly paths: readonly string[];
  /** gitignore patterns, in order. */
  readonly exclude: readonly string[];
  readonly delete: boolean;
  readonly deleteExcluded: boolean;
  readonly maxDelete: MaxDelete;
  readonly acceptDeletes: boolean;
  readonly checksum: boolean;
  /** Threads that look at the source, and that read it; 'auto': one, or more if it is slow. */
  readonly scanJobs: ScanJobs;
  readonly maxSize?: number | undefined;
  readonly oneFileSystem?: boolean | undefined;
  /** What becomes of modes and owners on their way. */
  readonly attributes?: AttributeRules | undefined;
  /** Owners are numbers; otherwise names count where both sides know them. */
  readonly numericIds?: boolean | undefined;
  readonly settle?: readonly SettleRule[] | undefined;
  /** What is asked of the receiver, to send fewer bytes; default 'auto'. */
  readonly optimize?: Optimize | undefined;
  /** Of one core, that looking for changes may take on average; 0.1 is 10%. */
  readonly cpuShare: number;
  /** CPU time of the process so far, threads and children included. */
  readonly cpuMs: () => number;
  /** Time to reach the receiver, with `once`. */
  readonly timeoutMs: number;
  readonly takeOver: boolean;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** What `replica push` does unless told otherwise. */
export const senderDefaults = {
  intervalMs: 500,
  once: false,
  dryRun: false,
  paths: [],
  exclude: [],
  delete: true,
  deleteExcluded: false,
  maxDelete: defaultMaxDelete,
  acceptDeletes: false,
  checksum: false,
  scanJobs: 'auto',
  optimize: 'auto',
  cpuShare: 0.1,
  timeoutMs: 30_000,
  takeOver: false,
  log: silentLog,
} as const;
