// What is asked of the receiver about content that was read, before it is sent: which of its blocks
// are there already, and where grains of the version before are not here, what they are.
import { gapsOf, type PieceGap, refineGaps } from '../blocks/gap-refiner.ts';
import { refinedUnaskedBytesMin } from '../limits.ts';
import type { Connection } from '../net/connection.ts';
import { askedOffsetMax } from '../wire/block-codec.ts';
import { givesGrains } from '../wire/messages.ts';
import type { FileChange } from './change.ts';
import type { FileContent, ReadPiece } from './content.ts';
import type { FileReader } from './file-reader.ts';
import type { GrainQuestions } from './grain-questions.ts';
import type { Asked } from './item.ts';
import type { Offers } from './offers.ts';

/**
 * bytes: the receiver is asked for grains wherever that may save bytes. time: never. auto: where it
 * saves time as well, as far as the link is known; always for little.
 */
export type Optimize = 'auto' | 'bytes' | 'time';

export interface ReadFile {
  readonly change: FileChange;
  readonly content: FileContent;
}

export interface InquiryOptions {
  readonly connection: Connection;
  readonly offers: Offers;
  readonly questions: GrainQuestions;
  readonly reader: FileReader;
  readonly optimize: Optimize;
}

type FileGap = PieceGap<ReadPiece> & { readonly change: FileChange };

/**
 * Bytes a second that grains are made of at the receiver, and that are looked through for them here.
 * Both sides are taken to be idle: a link that is faster is where they are not.
 */
const digestRate = 1e9;
const matchRate = 150e6;

export class Inquiry {
  readonly #options: InquiryOptions;

  constructor(options: InquiryOptions) {
    this.#options = options;
  }

  /** All questions about these files go out together; those about grains may have a second round. */
  async ask(files: readonly ReadFile[]): Promise<Asked> {
    const needed = this.#options.offers.ask(files.flatMap(({ content }) => content.pieces));
    const gaps = this.#gaps(files);
    if (gaps.length === 0) return { needed: await needed, patches: noPatches };
    const [all, patches] = await Promise.all([needed, this.#refine(gaps, needed)]);
    return { needed: all, patches };
  }

  /** Those that are worth asking about. */
  #gaps(files: readonly ReadFile[]): readonly FileGap[] {
    const { connection, optimize } = this.#options;
    if (optimize === 'time' || (connection.peerFeatures & givesGrains) === 0n) return [];
    const gaps = files.flatMap(({ change, content }) => {
      if (change.baseVersion === 0 || change.purpose === 'trust') return [];
      return gapsOf(content.pieces).map(gap => ({ ...gap, change }));
    });
    const isSaid = ({ old }: FileGap): boolean => old.from + old.size <= askedOffsetMax;
    return optimize === 'bytes' || this.#savesTime(gaps) ? gaps.filter(isSaid) : [];
  }

  /** Would sending all of it take longer than two round trips and the work of both sides? */
  #savesTime(gaps: readonly FileGap[]): boolean {
    const bytes = gaps.reduce((sum, gap) => sum + gap.bytes.length, 0);
    if (bytes < refinedUnaskedBytesMin) return true;
    const { creditBytesPerSecond, creditRoundTripMs } = this.#options.connection;
    if (creditBytesPerSecond === 0) return true;
    const oldBytes = gaps.reduce((sum, { old }) => sum + old.size, 0);
    const workMs = 1000 * (bytes / matchRate + oldBytes / digestRate);
    return (1000 * bytes) / creditBytesPerSecond > 2 * creditRoundTripMs + workMs;
  }

  async #refine(
    gaps: readonly FileGap[],
    needed: Promise<ReadonlySet<ReadPiece>>,
  ): Promise<ReadonlyMap<ReadPiece, Buffer>> {
    const { questions, reader } = this.#options;
    const patches = await refineGaps(gaps, {
      ask: asked =>
        questions.ask(
          asked.map(({ gap, range, grainSize }) => ({
            ...{ id: gap.change.entry.id, version: gap.change.baseVersion, grainSize },
            ...{ offset: range.from, size: range.size },
          })),
        ),
      match: jobs => reader.match(jobs),
      stillWanted: async all => {
        const wanted = await needed;
        return all.filter(({ pieces }) => pieces.some(piece => wanted.has(piece)));
      },
    });
    const byPiece = new Map<ReadPiece, Buffer>();
    for (const [{ pieces }, all] of patches) {
      for (const [i, piece] of pieces.entries()) {
        const patch = all[i];
        if (patch !== undefined) byPiece.set(piece, patch);
      }
    }
    return byPiece;
  }
}

const noPatches: ReadonlyMap<ReadPiece, Buffer> = new Map();
