// The scan worker: owns the snapshot store and the scanner, off the main thread.
import { randomBytes } from 'node:crypto';
import { renameSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { ReplicaError } from '../errors.ts';
import type { AttributeRules } from '../snapshot/attribute-rules.ts';
import type { NodeId, PlacedEntry } from '../snapshot/entry.ts';
import type { Name } from '../snapshot/name.ts';
import { SnapshotStore } from '../store/snapshot-store.ts';
import { beginStart, endStart } from '../store/start-count.ts';
import { AdaptiveSource, type ScanJobs } from '../tree/adaptive-source.ts';
import { UserXattrs } from '../tree/user-xattrs.ts';
import { Moved, serveCalls } from './calls.ts';
import type { Reversal, Slice } from './change.ts';
import type { ReceiverState } from './confirmed.ts';
import type { Verdict } from './deletes.ts';
import type { Explanation } from './explain.ts';
import { type Packed, packChanges, unpackConfirmations } from './packed.ts';
import { RacyFiles } from './racy-files.ts';
import type { ScanOptions } from './scan-options.ts';
import { Scanner } from './scanner.ts';

/** A slice as it crosses threads. */
export type SentSlice = Omit<Slice, 'changes'> & { readonly changes: Packed };

let store: SnapshotStore | undefined;
let folder = '';
let isStarting = true;
let scanner: Scanner | undefined;
let racy: RacyFiles | undefined;
const opened = (): Scanner => {
  if (scanner === undefined) throw new Error('not opened');
  return scanner;
};

const methods = {
  /** Opens the store; a damaged one is set aside and rebuilt from the receiver's records. */
  async open(options: {
    folder: string;
    jobs: ScanJobs;
    attributes: AttributeRules;
    scan: ScanOptions;
  }): Promise<{
    checkSecret: Uint8Array;
    rebuilt: string;
  }> {
    const xattrs = options.attributes.xattrs === true ? await UserXattrs.load() : undefined;
    folder = options.folder;
    let rebuilt = beginStart(folder) ?? '';
    try {
      if (rebuilt !== '') throw new ReplicaError('ERR_STATE', rebuilt);
      store = SnapshotStore.open(folder);
    } catch (error) {
      rebuilt = error instanceof Error ? error.message : String(error);
      renameSync(options.folder, `${options.folder}.damaged-${randomBytes(4).toString('hex')}`);
      store = SnapshotStore.open(options.folder);
    }
    const { jobs, attributes, scan } = options;
    const source = new AdaptiveSource({ root: scan.root, jobs, attributes, xattrs });
    scanner = new Scanner(store, source, scan);
    racy = new RacyFiles({ store, observed: scanner.observed, beganMs: Date.now() });
    return { checkSecret: new Uint8Array(checkSecretOf(store)), rebuilt };
  },

  connect(receiver: ReceiverState): boolean {
    opened().reset();
    const { epoch, digest, nextId, secret } = receiver;
    const isSame = opened().confirmed.connect({
      epoch: Buffer.from(epoch),
      digest: Buffer.from(digest),
      nextId,
      secret: Buffer.from(secret),
    });
    // The digest says nothing of the root itself: it is told anew.
    if (!isSame) store?.transaction(() => store?.dropMeta('root'));
    return isSame;
  },

  compareDigests(page: {
    directories: readonly { id: NodeId; digest: Uint8Array }[];
    last: boolean;
  }): NodeId[] {
    const directories = page.directories.map(one => ({ ...one, digest: Buffer.from(one.digest) }));
    return opened().confirmed.compareDigests(directories, page.last);
  },

  beginAdopt: (ids: readonly NodeId[]): void => opened().confirmed.beginAdopt(ids),
  adopt: (entries: readonly PlacedEntry[]): void => opened().confirmed.adopt(entries),
  finishAdopt: (digest: Uint8Array): boolean => opened().confirmed.finish(Buffer.from(digest)),
  clear: (_: undefined): void => opened().confirmed.clear(),
  entryCount: (_: undefined): number => opened().confirmed.entryCount,

  beginRun: (isOnce: boolean): void => racy?.begin(isOnce),
  endRun: (_: undefined): void => racy?.end(),

  next(limits: { room: number; sliceMs: number; budgetMs: number }): Moved<SentSlice> {
    const slice = opened().next(limits.room, limits.sliceMs, limits.budgetMs);
    if (slice.summary !== undefined) complete();
    const changes = packChanges(slice.changes);
    return new Moved({ ...slice, changes }, [changes.buffer]);
  },

  settle(outcome: { confirmations: Packed; reversals: readonly Reversal[] }): void {
    const { observed, xattrs } = opened();
    const confirmations = unpackConfirmations(outcome.confirmations);
    for (const { token, reason } of outcome.reversals) {
      if (reason === 'xattrs') xattrs.refused(observed.entryOf(token));
    }
    if (outcome.reversals.length > 0) observed.revert(outcome.reversals);
    // What went may have been in the way of what was refused.
    if (confirmations.length > 0) observed.confirm(confirmations);
  },

  /** Results of second looks; isSame is undefined when the file could not be read. */
  looked(
    results: readonly {
      id: NodeId;
      isSame: boolean | undefined;
      parent: NodeId;
      name: Name;
    }[],
  ): void {
    for (const { id, isSame, parent, name } of results) {
      opened().observed.looked(id, isSame, { parent, name });
      racy?.looked(isSame);
    }
  },

  /** Content that is not yet trusted is read again before anything is called in sync. */
  doubtRecent: (_: undefined): void => opened().observed.doubtRecent(),

  /** What is paused ('fleeting': as it kept changing) is tried again by the next look. */
  liftPauses: (which: 'fleeting' | 'all'): void => opened().liftPauses(which),

  settling: (limit: number): string[] => opened().settling(limit),

  heldDeletes: (limit: number): string[] => opened().heldDeletes(limit),

  decide: (verdict: Verdict): number => opened().decide(verdict),

  explain: ({ path }: { path: string }): Explanation => opened().explain(path),

  lost: (entries: readonly { parent: NodeId; name: Name; id: NodeId }[]): void =>
    opened().observed.lost(entries),

  async close(_: undefined): Promise<void> {
    await store?.close();
    complete();
  },
};
export type ScanMethods = typeof methods;

/** A look at everything, or the end, was reached. */
function complete(): void {
  if (isStarting) endStart(folder);
  isStarting = false;
}

function checkSecretOf(opened: SnapshotStore): Buffer {
  const known = opened.readMeta('check-secret');
  if (known !== undefined) return known;
  const made = randomBytes(32);
  opened.transaction(() => opened.writeMeta('check-secret', made));
  return made;
}

if (parentPort !== null) serveCalls(parentPort, methods);
