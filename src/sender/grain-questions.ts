// Grains of base versions, asked of the receiver. What waits at the same moment, from both lanes, goes
// into one message; answers come in the order of the questions.
import assert from 'node:assert/strict';
import { ReplicaError } from '../errors.ts';
import { askedGrainsMax, askedRangesMax } from '../limits.ts';
import type { Connection } from '../net/connection.ts';
import type { NodeId } from '../snapshot/entry.ts';
import { grainsIn } from '../wire/block-codec.ts';
import { type AskedFile, type ByteRange, type Grains, MessageType } from '../wire/messages.ts';

/** Messages that wait for their answer: half of what a receiver takes. */
const questionsMax = 8;

/** A range of a version, in grains of that size. */
export interface AskedRange extends ByteRange {
  readonly id: NodeId;
  readonly version: number;
  readonly grainSize: number;
}

interface Waiting {
  readonly asked: AskedRange;
  readonly resolve: (hashes: Buffer) => void;
}

interface Question {
  readonly batch: number;
  readonly ranges: readonly Waiting[];
}

export class GrainQuestions {
  readonly #connection: Connection;
  readonly #factor: bigint;
  #waiting: Waiting[] = [];
  readonly #sent: Question[] = [];
  #lastBatch = 0;
  #isPosting = false;

  /** `factor`: of the sender's own grains. */
  constructor(connection: Connection, factor: bigint) {
    this.#connection = connection;
    this.#factor = factor;
  }

  /** Hashes of each range, u32 LE; none of what the receiver does not have as asked for. */
  ask(ranges: readonly AskedRange[]): Promise<readonly Buffer[]> {
    const answers = ranges.map(asked => {
      assert(grainsIn(asked.size, asked.grainSize) <= askedGrainsMax);
      return new Promise<Buffer>(resolve => this.#waiting.push({ asked, resolve }));
    });
    void this.#post();
    return Promise.all(answers);
  }

  /** The receiver's answer to the oldest open question. Throws ERR_PROTOCOL if it is none. */
  answer({ batch, ranges }: Grains): void {
    const question = this.#sent.shift();
    if (question?.batch !== batch || ranges.length !== question.ranges.length) {
      throw new ReplicaError('ERR_PROTOCOL', `Grains of batch ${batch} that nobody asked for`);
    }
    for (const [i, { asked, resolve }] of question.ranges.entries()) {
      const hashes = ranges[i] ?? none;
      const isWhole = hashes.length === 4 * grainsIn(asked.size, asked.grainSize);
      if (!isWhole && hashes.length > 0) {
        throw new ReplicaError('ERR_PROTOCOL', 'Grains of another size than asked for');
      }
      // Of its own, and in the kernels' order.
      resolve(Buffer.from(hashes).swap32());
    }
    void this.#post();
  }

  /** At the end of this turn of the event loop: then all that waits is known. */
  async #post(): Promise<void> {
    if (this.#isPosting) return;
    this.#isPosting = true;
    await new Promise(setImmediate);
    try {
      while (this.#waiting.length > 0 && this.#sent.length < questionsMax) {
        const ranges = this.#take();
        const batch = ++this.#lastBatch;
        const grainSize = ranges[0]?.asked.grainSize ?? 0;
        this.#sent.push({ batch, ranges });
        const files = filesOf(ranges.map(({ asked }) => asked));
        const factor = this.#factor;
        await this.#connection.send({
          ...{ type: MessageType.GetGrains, batch, factor, grainSize, files },
        });
      }
      this.#connection.flush();
    } catch (error) {
      // The connection broke, and the session is told by its messages.
      if (!(error instanceof ReplicaError)) throw error;
    } finally {
      this.#isPosting = false;
    }
  }

  /** The first of what waits, of one grain size and as much as fits in a message. */
  #take(): readonly Waiting[] {
    const grainSize = this.#waiting[0]?.asked.grainSize;
    const taken: Waiting[] = [];
    const left: Waiting[] = [];
    let grains = 0;
    let isFull = false;
    for (const one of this.#waiting) {
      const count = grainsIn(one.asked.size, one.asked.grainSize);
      isFull ||= taken.length >= askedRangesMax || grains + count > askedGrainsMax;
      if (isFull || one.asked.grainSize !== grainSize) left.push(one);
      else {
        taken.push(one);
        grains += count;
      }
    }
    this.#waiting = left;
    return taken;
  }
}

const none = Buffer.alloc(0);

/** Ranges that follow each other are one file's as long as they are of the same version. */
function filesOf(ranges: readonly AskedRange[]): readonly AskedFile[] {
  const files: (AskedFile & { ranges: ByteRange[] })[] = [];
  for (const { id, version, offset, size } of ranges) {
    const last = files.at(-1);
    if (last?.id === id && last.version === version) last.ranges.push({ offset, size });
    else files.push({ id, version, ranges: [{ offset, size }] });
  }
  return files;
}
