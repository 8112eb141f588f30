// What is asked of the receiver about content that was read, before it is sent: which of its blocks
// are there already, and where grains of the version before are not here, what they are.
import { gapsOf, type PieceGap, refineGaps, strayGapsOf } from '../blocks/gap-refiner.ts';
import { largeFileSize, refinedUnaskedBytesMin } from '../limits.ts';
import type { Connection } from '../net/connection.ts';
import { askedOffsetMax } from '../wire/block-codec.ts';
import { givesGrains } from '../wire/messages.ts';
import type { FileChange } from './change.ts';
import type { FileContent, ReadPiece } from './content.ts';
import type { FileReader } from './file-reader.ts';
import type { GrainQuestions } from './grain-questions.ts';
import type { InFlight } from './in-flight.ts';
import type { Asked } from './item.ts';
import { askedSizeMin, type Offers } from './offers.ts';

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
  readonly inFlight: InFlight;
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
    const asked = files.filter(({ change }) => this.#mayRefine(change));
    const gaps = this.#worthIt(
      asked.flatMap(({ change, content }) =>
        gapsOf(content.pieces).map(gap => ({ ...gap, change })),
      ),
    );
    const [all, patches, strays] = await Promise.all([
      needed,
      this.#refine(gaps, needed),
      this.#refineStrays(asked, needed),
    ]);
    return { needed: all, patches: strays.size === 0 ? patches : new Map([...patches, ...strays]) };
  }

  #mayRefine({ baseVersion, purpose }: FileChange): boolean {
    const { connection, optimize } = this.#options;
    if (optimize === 'time' || (connection.peerFeatures & givesGrains) === 0n) return false;
    return baseVersion > 0 && purpose === 'content';
  }

  #worthIt(gaps: readonly FileGap[]): readonly FileGap[] {
    if (this.#options.optimize !== 'bytes' && !this.#savesTime(gaps)) return [];
    return gaps.filter(({ bytes, old }) => {
      return bytes.length > askedSizeMin && old.from + old.size <= askedOffsetMax;
    });
  }

  /**
   * After the state was lost nothing is known of a version but its size: then only what the receiver
   * lacks is a gap. Of large files it would keep unfinished stages from going on, so not of them.
   */
  async #refineStrays(
    files: readonly ReadFile[],
    needed: Promise<ReadonlySet<ReadPiece>>,
  ): Promise<ReadonlyMap<ReadPiece, Buffer>> {
    const { inFlight } = this.#options;
    const strays = files.filter(({ change }) => {
      const isSmall = change.entry.size < largeFileSize;
      return change.basis === undefined && isSmall && !inFlight.hasLacked(change);
    });
    if (strays.length === 0) return noPatches;
    const wanted = await needed;
    const gaps = strays.flatMap(({ change, content }) =>
      strayGapsOf(content.pieces, piece => wanted.has(piece), change.baseSize).map(gap => {
        return { ...gap, change };
      }),
    );
    return this.#refine(this.#worthIt(gaps), needed);
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
    if (gaps.length === 0) return noPatches;
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
