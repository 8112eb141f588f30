// The extended attributes that entries get: read where the ctime moved, otherwise as recorded.
import { createHash } from 'node:crypto';
import QuickLru from 'quick-lru';
import { systemCode } from '../errors.ts';
import { refusedXattrsMax } from '../limits.ts';
import type { Entry } from '../snapshot/entry.ts';
import type { SeenInode } from '../tree/source-xattrs.ts';
import { SystemError } from '../tree/system-error.ts';
import { clockMs } from './clock.ts';
import type { ScanState } from './scan-state.ts';

/** As for what the receiver refused otherwise: it may have got another file system. */
const refusedPauseMs = 5 * 60_000;

/** undefined: they are not kept, or cannot be, which was reported. */
export type KeptXattrs = Pick<Entry, 'xattrs'>;

type What = Pick<ScanState, 'source' | 'findings'>;

interface SeenNode extends SeenInode {
  readonly birthtimeNs: bigint;
  readonly keepsXattrs?: boolean | undefined;
}

export class SourceXattrs {
  readonly #state: What;
  /** What was read last: an entry may be asked for twice. */
  #last: { readonly path: string; readonly seen: SeenNode; readonly xattrs: string } | undefined;
  /** By what they are: until when the receiver's file system is not asked to hold them again. */
  readonly #refused = new QuickLru<string, number>({ maxSize: refusedXattrsMax });

  constructor(state: What) {
    this.#state = state;
  }

  /** The receiver cannot set those of the entry. */
  refused(entry: Entry | undefined): void {
    if (entry?.xattrs === undefined) return;
    this.#refused.set(keyOf(entry.xattrs), clockMs() + refusedPauseMs);
    this.#last = undefined;
  }

  isRefused(xattrs: string): boolean {
    if (this.#refused.size === 0) return false;
    const untilMs = this.#refused.get(keyOf(xattrs));
    return untilMs !== undefined && untilMs > clockMs();
  }

  /**
   * Of what was seen at `path`; `known`: as it is recorded. undefined: it is changing just now. What has
   * attributes that cannot be read or kept goes without them, and is named.
   */
  of(path: string, seen: SeenNode, known: Entry | undefined): KeptXattrs | undefined {
    if (seen.keepsXattrs !== true) return { xattrs: undefined };
    if (known?.xattrs !== undefined && isSame(known.stamp, seen)) return { xattrs: known.xattrs };
    if (this.#last?.path === path && isSame(this.#last.seen, seen)) {
      return { xattrs: this.#last.xattrs };
    }
    const { source, findings } = this.#state;
    try {
      const xattrs = source.readXattrs(path, seen);
      if (xattrs === undefined) return undefined;
      if (this.isRefused(xattrs)) throw new SystemError('EREFUSED', 'refused before');
      this.#last = { path, seen, xattrs };
      return { xattrs };
    } catch (error) {
      const code = systemCode(error);
      if (code === undefined) throw error;
      if (vanished.has(code)) return undefined;
      findings.problem(path, code, messages.get(code) ?? 'its extended attributes cannot be read');
      return { xattrs: undefined };
    }
  }
}

function keyOf(xattrs: string): string {
  return createHash('sha256').update(xattrs, 'latin1').digest('base64');
}

const vanished: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'ELOOP']);

const messages: ReadonlyMap<string, string> = new Map([
  ['E2BIG', 'more than 16 KiB of extended attributes: none of them is sent'],
  [
    'EREFUSED',
    'the file system of the replica does not hold its extended attributes: none is sent',
  ],
  ['EILSEQ', 'an extended attribute has a name that is no UTF-8: none of them is sent'],
]);

function isSame(a: Omit<SeenNode, 'keepsXattrs'>, b: SeenNode): boolean {
  return a.ctimeNs === b.ctimeNs && a.ino === b.ino && a.birthtimeNs === b.birthtimeNs;
}
