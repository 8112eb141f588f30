// The read worker: reads, cuts and hashes files, off the main thread. Small files in batches, one
// large file in parts.

import { parentPort } from 'node:worker_threads';
import { CheckHash } from '../blocks/check-hash.ts';
import { type Basis, ContentMatcher } from '../blocks/content-matcher.ts';
import { findRuns } from '../blocks/gap-matcher.ts';
import { GrainKernels, type Run } from '../blocks/grain-kernels.ts';
import { Kernels } from '../blocks/kernels.ts';
import { Refiner } from '../blocks/refiner.ts';
import { ReplicaError, systemCode } from '../errors.ts';
import type { ScanJobs } from '../tree/adaptive-source.ts';
import { SourceFile } from '../tree/source-file.ts';
import { type ReadableFile, SourceFiles } from '../tree/source-files.ts';
import { Moved, serveCalls } from './calls.ts';
import { clockMs } from './clock.ts';
import { ContentPacker, type PackedContent, type ReadStatus } from './content.ts';
import { KeptGrains } from './kept-grains.ts';
import { packRuns, unpackJobs } from './match-jobs.ts';
import { moved, type Packed, type ReadRequest, unpackRequests } from './packed.ts';

/** Bytes of new content in one part of a large file. */
const partSize = 2 * 1024 * 1024;
/** Pieces in one part. */
const partPieces = 4096;
/** Bytes read for one part: an unchanged file makes parts too, so that small files get their turn. */
const partReadSize = 32 * 1024 * 1024;

/** What one step reads at most. */
const matcherBufferSize = 1024 * 1024;

/** A link took the name, a socket, a directory, a FIFO. */
const notAFile: ReadonlySet<string> = new Set(['ELOOP', 'ENXIO', 'EISDIR', 'EAGAIN']);

interface ReaderOptions {
  readonly root: string;
  readonly jobs: ScanJobs;
  /** Of the sender's state. */
  readonly folder: string;
  readonly secret: Uint8Array;
  readonly checkSecret: Uint8Array;
}

/** Outlives sessions: what was read in one is edited in the next. */
let grains: KeptGrains | undefined;
/** Beside those of the pipes, which have a gap in their memory. */
let matching: GrainKernels | undefined;
/** The same of its threads, and of what is known of the file system. */
let files: SourceFiles | undefined;

class Reader {
  readonly #root: string;
  readonly #files: SourceFiles;
  /** Small files and the large one take turns: each has a pipe of its own. */
  readonly #pipe: Pipe;
  readonly #largePipe: Pipe;
  #file: SourceFile | undefined;
  #readMs = 0;

  constructor(options: ReaderOptions) {
    this.#root = options.root;
    files ??= new SourceFiles(options);
    this.#files = files;
    const secret = Buffer.from(options.secret);
    const checkSecret = Buffer.from(options.checkSecret);
    const checkHash = new CheckHash(checkSecret);
    grains ??= new KeptGrains({ folder: options.folder, checkSecret });
    this.#pipe = new Pipe({ secret, checkHash, grains });
    this.#largePipe = new Pipe({ secret, checkHash, grains });
  }

  /** Whole files, each at most a few MiB. */
  read(requests: readonly ReadRequest[], spare: ArrayBuffer | undefined): Moved<PackedContent> {
    const hint = requests.reduce((sum, one) => sum + one.expected.size, 0);
    const packer = new ContentPacker(hint, spare);
    const readMs = clockMs();
    this.#files.expect(requests);
    for (const request of requests) this.#readOne(request, { readMs, packer });
    const { content, transfer } = packer.finish();
    return new Moved(content, transfer);
  }

  /** `readMs`: nothing was read before. */
  #readOne(
    request: ReadRequest,
    { readMs, packer }: { readMs: number; packer: ContentPacker },
  ): void {
    let file: ReadableFile | undefined;
    try {
      file = this.#files.open(request);
      this.#pipe.begin(request);
      while (step(file, this.#pipe, packer));
      const { list, checks } = this.#pipe.finish(packer);
      const status = file.isRead && file.isAsExpected() ? 'read' : 'unstable';
      packer.end({ status, readMs }, { list, checks });
    } catch (error) {
      packer.end({ ...failure(error), readMs }, undefined);
    } finally {
      file?.close();
    }
  }

  /** Begins a large file; an answer other than 'read' means there is none. */
  open(request: ReadRequest): { status: ReadStatus; code: string } {
    this.close();
    this.#readMs = clockMs();
    try {
      this.#file = SourceFile.openIfAsExpected(this.#root, request.path, request.expected);
    } catch (error) {
      return failure(error);
    }
    if (this.#file === undefined) return { status: 'unstable', code: '' };
    this.#largePipe.begin(request);
    return { status: 'read', code: '' };
  }

  /** The next part of the large file; `last` on the part that ends it. */
  part(spare: ArrayBuffer | undefined): Moved<PackedContent & { last: boolean }> {
    const file = this.#file;
    if (file === undefined) throw new Error('no file is open');
    const packer = new ContentPacker(partSize + matcherBufferSize, spare);
    const head = { readMs: this.#readMs };
    let last = false;
    try {
      let readSize = 0;
      while (
        packer.dataSize < partSize &&
        packer.pieceCount < partPieces &&
        readSize < partReadSize
      ) {
        readSize += matcherBufferSize;
        if (step(file, this.#largePipe, packer)) continue;
        const { list, checks } = this.#largePipe.finish(packer);
        last = true;
        const status = file.isRead && file.isAsExpected() ? 'read' : 'unstable';
        packer.end({ ...head, status }, { list, checks });
        break;
      }
      if (!last && !file.isAsExpected()) {
        last = true;
        packer.end({ ...head, status: 'unstable' }, undefined);
      }
      if (!last) packer.end({ ...head, status: 'read' }, undefined);
    } catch (error) {
      last = true;
      packer.end({ ...head, ...failure(error) }, undefined);
    }
    if (last) this.close();
    const { content, transfer } = packer.finish();
    return new Moved({ ...content, last }, transfer);
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }
}

/** Reads one buffer; false at the end of the file. */
function step(file: ReadableFile, pipe: Pipe, packer: ContentPacker): boolean {
  if (file.isRead) return false;
  const buffer = pipe.buffer();
  const count = file.read(buffer);
  if (count > 0) pipe.advance(count, packer);
  return count === buffer.length && !file.isRead;
}

/** Looks in new bytes for what the receiver told of the version before. */
function match(jobs: Packed): Moved<Packed> {
  if (grains === undefined) throw new Error('not begun');
  matching ??= new GrainKernels(grains.factor);
  const runs: (readonly Run[])[] = [];
  for (const job of unpackJobs(jobs)) runs.push(findRuns(matching, job));
  return moved(packRuns(runs));
}

/** Where a file's bytes go through: matched by blocks, then within them. */
class Pipe {
  readonly #matcher: ContentMatcher;
  readonly #refiner: Refiner;

  constructor(options: {
    readonly secret: Buffer;
    readonly checkHash: CheckHash;
    readonly grains: KeptGrains;
  }) {
    const { secret, checkHash, grains: kept } = options;
    this.#matcher = new ContentMatcher({ kernels: Kernels.load(), secret, checkHash });
    this.#refiner = new Refiner(new GrainKernels(kept.factor), kept.cache);
  }

  begin({ basis, expected }: ReadRequest): void {
    this.#matcher.begin(basis, expected.size);
    this.#refiner.begin(basis, expected.size);
  }

  buffer(): Buffer {
    return this.#matcher.buffer();
  }

  advance(byteCount: number, packer: ContentPacker): void {
    packer.add(this.#refiner.refine(this.#matcher.advance(byteCount)));
  }

  finish(packer: ContentPacker): Basis {
    const { pieces, list, checks } = this.#matcher.finish();
    packer.add(this.#refiner.refine(pieces));
    packer.add(this.#refiner.finish());
    return { list, checks };
  }
}

function failure(error: unknown): { status: ReadStatus; code: string } {
  const code = systemCode(error);
  if (code === undefined || error instanceof ReplicaError) throw error;
  if (notAFile.has(code)) return { status: 'unstable', code };
  return { status: code === 'ENOENT' || code === 'ENOTDIR' ? 'vanished' : 'unreadable', code };
}

let reader: Reader | undefined;
const opened = (): Reader => {
  if (reader === undefined) throw new Error('not begun');
  return reader;
};

const methods = {
  /** The factor of the grains that it keeps. */
  begin(options: ReaderOptions): bigint {
    reader?.close();
    reader = new Reader(options);
    if (grains === undefined) throw new Error('made by the reader');
    return grains.factor;
  },
  /** `spare`: a data buffer of an earlier answer that is done with. */
  read: (asked: { requests: Packed; spare: ArrayBuffer | undefined }): Moved<PackedContent> =>
    opened().read(unpackRequests(asked.requests), asked.spare),
  open(requests: Packed): { status: ReadStatus; code: string } {
    const [request] = unpackRequests(requests);
    if (request === undefined) throw new Error('no file to open');
    return opened().open(request);
  },
  part: (spare: ArrayBuffer | undefined): Moved<PackedContent & { last: boolean }> =>
    opened().part(spare),
  match,
  abandon: (_: undefined): void => opened().close(),
  /** Keeps for the next life what spares bytes. */
  save: (_: undefined): void => grains?.save(),
};
export type ReadMethods = typeof methods;

if (parentPort !== null) serveCalls(parentPort, methods);
