// Grains of versions that the replica has, for a sender that does not have them any more. What is
// read is not hashed by its blocks: what the sender makes of the answer is.
import fs from 'node:fs';
import { GrainKernels, gapSizeMax } from '../blocks/grain-kernels.ts';
import { systemCode } from '../errors.ts';
import { blockSizeMax, grainReadBytesMax } from '../limits.ts';
import type { Connection } from '../net/connection.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import { SystemError } from '../tree/system-error.ts';
import { grainsIn } from '../wire/block-codec.ts';
import { type AskedFile, type ByteRange, type GetGrains, MessageType } from '../wire/messages.ts';
import { BaseVersion } from './base-version.ts';
import { BlockSource } from './block-source.ts';
import type { Folders } from './folders.ts';
import { turn } from './turn.ts';

export interface GrainAnswersOptions {
  readonly connection: Connection;
  readonly store: ReplicaStore;
  readonly folders: Folders;
  /** For tests. */
  readonly readBytesMax?: number;
}

type GrainKind = Pick<GetGrains, 'factor' | 'grainSize'>;

/** For what is used at once, by all sessions; made for the first question. */
let kernels: GrainKernels | undefined;

/** Work between two turns of the event loop. */
const sliceMs = 5;
/** What a range costs at least: opening a file is work too. */
const rangeBytesMin = 4096;

/** Of one sender. */
export class GrainAnswers {
  readonly #options: GrainAnswersOptions;
  readonly #source: BlockSource;
  /** What may still be read before the next commit. */
  #bytesLeft: number;
  #sliceEndMs = 0;
  #isOver = false;
  #reading: Promise<unknown> = Promise.resolve();

  constructor(options: GrainAnswersOptions) {
    this.#options = options;
    this.#source = new BlockSource(options);
    this.#bytesLeft = this.#bytesMax;
  }

  async answer(question: GetGrains): Promise<void> {
    if (this.#isOver) return;
    const reading = this.#read(question);
    this.#reading = reading.catch(() => {});
    const ranges = await reading;
    if (this.#isOver) return;
    const { connection } = this.#options;
    await connection.send({ type: MessageType.Grains, batch: question.batch, ranges });
  }

  /** A commit of the sender is durable: it is getting on. */
  renew(): void {
    this.#bytesLeft = this.#bytesMax;
  }

  /** Resolves when nothing is read any more. */
  async close(): Promise<void> {
    this.#isOver = true;
    await this.#reading;
    this.#source.close();
  }

  get #bytesMax(): number {
    return this.#options.readBytesMax ?? grainReadBytesMax;
  }

  async #read({ factor, grainSize, files }: GetGrains): Promise<readonly Buffer[]> {
    this.#sliceEndMs = performance.now() + sliceMs;
    const ranges: Buffer[] = [];
    for (const file of files) {
      for (const hashes of await this.#readFile(file, { factor, grainSize })) ranges.push(hashes);
    }
    this.#source.clear();
    return ranges;
  }

  async #readFile({ id, version, ranges }: AskedFile, kind: GrainKind): Promise<readonly Buffer[]> {
    await this.#turn();
    const opened = this.#isOver ? undefined : this.#source.openVersion(id, version);
    if (opened === undefined) return ranges.map(() => none);
    const base = new BaseVersion(opened);
    try {
      const { byteCount } = base.list;
      const answers: Buffer[] = [];
      for (const range of ranges) {
        const isThere = range.offset + range.size <= byteCount && this.#takes(range);
        answers.push(isThere ? await this.#digest(base.fd, range, kind) : none);
      }
      return base.isAltered ? ranges.map(() => none) : answers;
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      return ranges.map(() => none);
    } finally {
      base.close();
    }
  }

  #takes({ size }: ByteRange): boolean {
    const cost = Math.max(size, rangeBytesMin);
    if (cost > this.#bytesLeft) return false;
    this.#bytesLeft -= cost;
    return true;
  }

  async #digest(fd: number, range: ByteRange, { factor, grainSize }: GrainKind): Promise<Buffer> {
    const hashes = Buffer.allocUnsafe(grainsIn(range.size, grainSize) * 4);
    const digestSize = blockSizeMax - (blockSizeMax % grainSize);
    const partSize = gapSizeMax - (gapSizeMax % digestSize);
    let filled = 0;
    for (let at = 0; at < range.size; at += partSize) {
      await this.#turn();
      if (this.#isOver) return none;
      const size = Math.min(partSize, range.size - at);
      kernels ??= new GrainKernels(factor);
      kernels.useFactor(factor);
      readInto(fd, kernels.data.subarray(0, size), range.offset + at);
      for (let start = 0; start < size; start += digestSize) {
        const end = Math.min(start + digestSize, size);
        filled += kernels.digest(start, end, grainSize).copy(hashes, filled);
      }
    }
    // The wire's order.
    return hashes.swap32();
  }

  /** Others get theirs, if it is time. */
  async #turn(): Promise<void> {
    if (performance.now() < this.#sliceEndMs) return;
    this.#source.pause();
    await turn();
    this.#sliceEndMs = performance.now() + sliceMs;
  }
}

const none = Buffer.alloc(0);

function readInto(fd: number, bytes: Buffer, offset: number): void {
  for (let count = 0; count < bytes.length; ) {
    const read = fs.readSync(fd, bytes, count, bytes.length - count, offset + count);
    if (read === 0) throw new SystemError('EUNSTABLE', 'the file became shorter');
    count += read;
  }
}
