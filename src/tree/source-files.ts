// Opens files of the source to be read. Where its file system takes long to answer, each small file
// costs several calls of a millisecond: threads read many of them ahead, side by side.
import { autoJobs, type ScanJobs } from './adaptive-source.ts';
import { Pace } from './pace.ts';
import { SourceFile } from './source-file.ts';
import { hung, parted, refused } from './source-parts.ts';
import type { Content, FilePlace, Refusal, TaskResults } from './source-task.ts';
import { WaitingThreads, type WaitingThreadsOptions } from './waiting-threads.ts';

/** An open file of the source, as SourceFile has it. */
export type ReadableFile = Pick<SourceFile, 'isRead' | 'read' | 'isAsExpected' | 'close'>;

export interface SourceFilesOptions extends Omit<WaitingThreadsOptions, 'jobs' | 'attributes'> {
  /** Threads, from the start; 'auto': so many as are good for a slow file system, if it is one. */
  readonly jobs: ScanJobs;
  /** Monotonic; for tests. */
  readonly nowMs?: () => number;
}

export class SourceFiles {
  readonly #options: SourceFilesOptions;
  readonly #nowMs: () => number;
  readonly #pace = new Pace();
  #threads: WaitingThreads | undefined;
  /** What threads have read or are reading, by place; undefined: not yet. */
  #ahead = new Map<FilePlace, Content | Refusal | undefined>();

  constructor(options: SourceFilesOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? (() => performance.now());
    const { jobs } = options;
    if (jobs !== 'auto' && jobs > 1) this.#start(jobs);
  }

  /** These are going to be opened, each once, and fit in memory together. */
  expect(places: readonly FilePlace[]): void {
    const threads = this.#threads;
    if (threads === undefined) return;
    const ahead = new Map<FilePlace, Content | Refusal | undefined>();
    this.#ahead = ahead;
    for (const items of parted(places, threads.jobs)) {
      for (const place of items) ahead.set(place, undefined);
      threads.ask({ kind: 'contents', items }, settled => {
        for (const [i, place] of items.entries()) {
          const one =
            'result' in settled
              ? (settled.result as TaskResults['contents'])[i] // What this kind has.
              : settled.refusal;
          ahead.set(place, one ?? hung);
        }
      });
    }
    threads.turn();
  }

  /** Throws the system's error, and ETIMEDOUT for a file whose file system does not answer. */
  open(place: FilePlace): ReadableFile {
    const { path, expected } = place;
    if (this.#threads !== undefined && this.#ahead.has(place)) {
      this.#threads.wait(() => this.#ahead.get(place) !== undefined);
      const found = this.#ahead.get(place) ?? hung;
      this.#ahead.delete(place);
      if ('code' in found) throw refused(found, path);
      return new MemoryFile(found, expected.size);
    }
    const begunMs = this.#nowMs();
    const file = SourceFile.open(this.#options.root, path, expected);
    const isSlow = this.#pace.note(1, this.#nowMs() - begunMs);
    if (isSlow && this.#options.jobs === 'auto' && this.#threads === undefined)
      this.#start(autoJobs);
    return file;
  }

  async close(): Promise<void> {
    await this.#threads?.close();
  }

  #start(jobs: number): void {
    this.#threads = new WaitingThreads({ ...this.#options, jobs });
  }
}

/** A file that was read as a whole. */
class MemoryFile implements ReadableFile {
  readonly #content: Content;
  readonly #size: number;
  #offset = 0;

  constructor(content: Content, size: number) {
    this.#content = content;
    this.#size = size;
  }

  get isRead(): boolean {
    return this.#offset === this.#size;
  }

  read(buffer: Uint8Array): number {
    const part = this.#content.bytes.subarray(this.#offset, this.#offset + buffer.length);
    buffer.set(part);
    this.#offset += part.length;
    return part.length;
  }

  isAsExpected(): boolean {
    return this.#content.isAsExpected;
  }

  close(): void {}
}
