// The verify worker: lists, reads and hashes the source, off the main thread.
import { parentPort } from 'node:worker_threads';
import { ReplicaError, systemCode } from '../errors.ts';
import type { NodeId } from '../snapshot/entry.ts';
import type { Name } from '../snapshot/name.ts';
import { UserXattrs } from '../tree/user-xattrs.ts';
import type { CheckedEntry } from '../wire/messages.ts';
import { serveCalls } from './calls.ts';
import { Comparison, type ComparisonCounts, type ComparisonOptions } from './comparison.ts';
import { type Difference, rootName } from './difference.ts';

let comparison: Comparison | undefined;
const begun = (): Comparison => {
  if (comparison === undefined) throw new Error('not begun');
  return comparison;
};

const methods = {
  async begin(
    options: Omit<ComparisonOptions, 'secret' | 'xattrs'> & { readonly secret: Uint8Array },
  ): Promise<void> {
    const xattrs = options.attributes?.xattrs === true ? await UserXattrs.load() : undefined;
    comparison?.close();
    comparison = new Comparison({ ...options, xattrs, secret: Buffer.from(options.secret) });
    try {
      comparison.begin();
    } catch (error) {
      const code = systemCode(error);
      if (code === undefined) throw error;
      throw new ReplicaError('ERR_PATH', `the source cannot be listed (${code})`);
    }
  },
  beginAgain: (differences: readonly Difference[]): void => begun().beginAgain(differences),
  take: (max: number): ReturnType<Comparison['take']> => begun().take(max),
  checked: (page: {
    readonly entries: readonly (Omit<CheckedEntry, 'blocks'> & { readonly blocks: Uint8Array })[];
    readonly extras: readonly { readonly parent: NodeId; readonly name: Name }[];
  }): readonly Difference[] => {
    const entries = page.entries.map(({ name, blocks, ...one }) => ({
      ...one,
      name: name === '' ? rootName : name,
      blocks: Buffer.from(blocks),
    }));
    return begun().checked({ entries, extras: page.extras });
  },
  finish: (_: undefined): { found: readonly Difference[]; counts: ComparisonCounts } => ({
    found: begun().finish(),
    counts: begun().counts,
  }),
};
export type VerifyMethods = typeof methods;

if (parentPort !== null) serveCalls(parentPort, methods);
