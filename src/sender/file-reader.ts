// The read worker as the lanes see it: small files by the batch, one large file by the part. Content
// is in buffers that go back and forth between the threads.
import assert from 'node:assert/strict';
import type { MatchJob } from '../blocks/gap-matcher.ts';
import type { Run } from '../blocks/grain-kernels.ts';
import type { WorkerCalls } from './calls.ts';
import type { FileChange } from './change.ts';
import { type FileContent, type ReadStatus, unpackContent } from './content.ts';
import { requestOf } from './item.ts';
import { packJobs, unpackRuns } from './match-jobs.ts';
import { packRequests } from './packed.ts';
import type { ReadMethods } from './read-worker.ts';

const sparesMax = 4;

export interface ReadBatch {
  /** One for each file, in order. */
  readonly contents: readonly FileContent[];
  readonly data: ArrayBuffer;
}

export interface ReadPart {
  readonly content: FileContent;
  readonly data: ArrayBuffer;
  readonly isLast: boolean;
}

export class FileReader {
  readonly #worker: WorkerCalls<ReadMethods>;
  /** Data buffers of contents that are sent: without reuse they wait for the collector. */
  readonly #spares: ArrayBuffer[] = [];

  constructor(worker: WorkerCalls<ReadMethods>) {
    this.#worker = worker;
  }

  async readAll(files: readonly FileChange[]): Promise<ReadBatch> {
    if (files.length === 0) return { contents: [], data: new ArrayBuffer(0) };
    const requests = packRequests(files.map(requestOf));
    const spare = this.#spares.pop();
    const transfer = spare === undefined ? [requests.buffer] : [requests.buffer, spare];
    const packed = await this.#worker.call('read', { requests, spare }, transfer);
    return { contents: [...unpackContent(packed)], data: packed.data.buffer };
  }

  /** Begins a large file; an answer other than 'read' means there is none. */
  open(file: FileChange): Promise<{ status: ReadStatus; code: string }> {
    const request = packRequests([requestOf(file)]);
    return this.#worker.call('open', request, [request.buffer]);
  }

  /** The next part of the large file. */
  async part(): Promise<ReadPart> {
    const spare = this.#spares.pop();
    const packed = await this.#worker.call('part', spare, spare === undefined ? [] : [spare]);
    const [content] = unpackContent(packed);
    assert(content !== undefined);
    return { content, data: packed.data.buffer, isLast: packed.last };
  }

  /** What of the new bytes is old, job by job. */
  async match(jobs: readonly MatchJob[]): Promise<readonly (readonly Run[])[]> {
    if (jobs.length === 0) return [];
    const packed = packJobs(jobs);
    return unpackRuns(await this.#worker.call('match', packed, [packed.buffer]));
  }

  /** Lets go of a large file before its last part. */
  async abandon(): Promise<void> {
    await this.#worker.call('abandon', undefined);
  }

  /** Nothing refers to the data any more: the next read may use its memory. */
  reuse(data: ArrayBuffer): void {
    if (data.byteLength > 0 && this.#spares.length < sparesMax) this.#spares.push(data);
  }
}
