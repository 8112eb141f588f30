// Looks at the source on the calling thread as long as its file system answers quickly, as local ones
// do; once it turns out to be slow, with threads that wait side by side.
import { type AttributeRules, defaultAttributes } from '../snapshot/attribute-rules.ts';
import { Pace, timedCallsMax } from './pace.ts';
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
  /** Calls since `#sinceMs`. */
  #calls = 0;
  #sinceMs = 0;
  #isSlow = false;

  constructor(options: AdaptiveSourceOptions) {
    const { root, jobs, nowMs = () => performance.now() } = options;
    const { attributes = defaultAttributes, xattrs } = options;
    this.#options = options;
    this.#nowMs = nowMs;
    this.#isDirect = jobs === 'auto' || jobs === 1;
    this.#source = this.#isDirect
      ? new DirectSource(root, { attributes, xattrs, onCall: () => this.#count() })
      : new SourceThreads({ root, attributes, jobs: jobs as number });
  }

  get lookahead(): number {
    return this.#source.lookahead;
  }

  expect(folders: readonly Listable[]): void {
    this.#source.expect(folders);
  }

  list(folder: Listable): SourceListing {
    if (!this.#isDirect || this.#options.jobs !== 'auto') return this.#source.list(folder);
    this.#calls = 0;
    this.#sinceMs = this.#nowMs();
    const listing = this.#source.list(folder);
    this.#judge();
    if (this.#isSlow) this.#startThreads();
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

  /** Before each call of a listing. */
  #count(): void {
    if (this.#calls === timedCallsMax) this.#judge();
    this.#calls++;
  }

  #judge(): void {
    const nowMs = this.#nowMs();
    if (this.#pace.note(this.#calls, nowMs - this.#sinceMs)) this.#isSlow = true;
    this.#calls = 0;
    this.#sinceMs = nowMs;
  }

  #startThreads(): void {
    const { root, attributes = defaultAttributes } = this.#options;
    this.#source = new SourceThreads({ root, attributes, jobs: autoJobs });
    this.#isDirect = false;
  }
}
