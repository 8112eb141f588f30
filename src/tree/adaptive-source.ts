// Looks at the source on the calling thread as long as its file system answers quickly, as local ones
// do; once it turns out to be slow, with threads that wait side by side.
import { type AttributeRules, defaultAttributes } from '../snapshot/attribute-rules.ts';
import { Pace } from './pace.ts';
import { DirectSource, type Listable, type Source } from './source.ts';
import type { SourceListing, SourceStats } from './source-listing.ts';
import { SourceThreads } from './source-threads.ts';
import type { SeenInode } from './source-xattrs.ts';
import type { UserXattrs } from './user-xattrs.ts';

/** How many threads look at the source. */
export type ScanJobs = number | 'auto';

export interface AdaptiveSourceOptions {
  /** Latin1. */
  readonly root: string;
  /** Threads, from the start; 'auto': so many as are good for a slow file system, if it is one. */
  readonly jobs: ScanJobs;
  readonly attributes?: AttributeRules;
  /** If they are to be read. */
  readonly xattrs?: UserXattrs | undefined;
  /** Monotonic; for tests. */
  readonly nowMs?: () => number;
}

/** Threads for a slow one. */
export const autoJobs = 8;

export class AdaptiveSource implements Source {
  readonly #options: AdaptiveSourceOptions;
  readonly #nowMs: () => number;
  #source: Source;
  #isDirect: boolean;
  readonly #pace = new Pace();

  constructor(options: AdaptiveSourceOptions) {
    const { root, jobs, nowMs = () => performance.now() } = options;
    const { attributes = defaultAttributes, xattrs } = options;
    this.#options = options;
    this.#nowMs = nowMs;
    this.#isDirect = jobs === 'auto' || jobs === 1;
    this.#source = this.#isDirect
      ? new DirectSource(root, attributes, xattrs)
      : new SourceThreads({ root, attributes, jobs: jobs as number });
  }

  get lookahead(): number {
    return this.#source.lookahead;
  }

  expect(folders: readonly Listable[]): void {
    this.#source.expect(folders);
  }

  list(folder: Listable): SourceListing {
    const begunMs = this.#nowMs();
    const listing = this.#source.list(folder);
    if (this.#isDirect) this.#judge(1 + listing.linkCounts.length, this.#nowMs() - begunMs);
    return listing;
  }

  stat(path: string): SourceStats | undefined {
    return this.#source.stat(path);
  }

  statAll(paths: readonly string[]): readonly (SourceStats | undefined | Error)[] {
    return this.#source.statAll(paths);
  }

  readLink(path: string): string {
    return this.#source.readLink(path);
  }

  readText(path: string): string {
    return this.#source.readText(path);
  }

  readXattrs(path: string, seen: SeenInode): string | undefined {
    return this.#source.readXattrs(path, seen);
  }

  async close(): Promise<void> {
    if (this.#source instanceof SourceThreads) await this.#source.close();
  }

  #judge(calls: number, tookMs: number): void {
    const { root, jobs, attributes = defaultAttributes } = this.#options;
    if (jobs !== 'auto' || !this.#pace.note(calls, tookMs)) return;
    this.#source = new SourceThreads({ root, attributes, jobs: autoJobs });
    this.#isDirect = false;
  }
}
