// Refines gaps with grains that have to be asked for: in coarse ones first, then in fine ones what lies
// between those that were found. Two questions at most, however many gaps there are.
//
// The answers are believed for as long as it takes to make patches of them. Whoever applies a patch
// hashes what it makes: a grain that is the same by chance, or a lie, costs its bytes.
import type { MatchJob } from './gap-matcher.ts';
import { gapSizeMax, type Run } from './grain-kernels.ts';
import { type BlockPlace, patchBlocks } from './patch-blocks.ts';
import type { OldRange } from './refiner.ts';

/** New bytes between old ones. */
export interface Gap {
  /** At most gapSizeMax: the blocks side by side. */
  readonly bytes: Buffer;
  readonly blocks: readonly BlockPlace[];
  /** Where they may be from. */
  readonly old: OldRange;
}

/** A range of a gap's old version, in grains of that size. */
export interface GrainQuestion<G extends Gap> {
  readonly gap: G;
  readonly range: OldRange;
  readonly grainSize: number;
}

export interface GapWays<G extends Gap> {
  /** Hashes of each, u32 LE, as many as the range has grains; none if they cannot be had. */
  readonly ask: (questions: readonly GrainQuestion<G>[]) => Promise<readonly Buffer[]>;
  /** findRuns, wherever it may run. */
  readonly match: (jobs: readonly MatchJob[]) => Promise<readonly (readonly Run[])[]>;
  /** Those that still need it once the first answers are here. */
  readonly stillWanted: (gaps: readonly G[]) => Promise<readonly G[]>;
}

export const coarseGrain = 512;
export const fineGrain = 64;
/** Old ranges up to this size are asked for in fine grains at once. */
const fineRangeMax = 1024;
/**
 * What lies between runs is asked for in fine grains up to this size. A longer stretch is new, or has
 * edits everywhere: of text, hashes of all of it cost more than they save (measured with releases of
 * eslint, rxjs, prettier, typescript, vue and webpack), and only its ends are looked at.
 */
const openRangeMax = 2 * 1024;
/** So far bytes may have moved in a version of which only the size is known. */
const reachMax = 64 * 1024;
/** Bytes of a range in a question, and of a hash in its answer. */
const rangeCost = 10;
const hashCost = 4;
/** The answer must save so many times what it costs: new bytes compress, hashes do not. */
const gainMin = 3;

/** A piece as the reader gives it: without a patch and with `old`, it wants to be refined. */
type AnyPiece =
  | { readonly kind: 'copy' | 'zero' }
  | {
      readonly kind: 'new';
      readonly bytes: Buffer;
      readonly patch?: Buffer;
      readonly old?: OldRange;
    };
type NewPiece<P> = Extract<P, { kind: 'new' }>;

export interface PieceGap<P> extends Gap {
  /** Those that its blocks are of. */
  readonly pieces: readonly NewPiece<P>[];
}

/** The gaps in a file's pieces. What has a patch already is left out of them. */
export function gapsOf<P extends AnyPiece>(pieces: readonly P[]): readonly PieceGap<P>[] {
  const gaps: PieceGap<P>[] = [];
  let open: NewPiece<P>[] = [];
  let size = 0;
  const end = (): void => {
    const old = open[0]?.old;
    if (old !== undefined) gaps.push(gapOf(open, old));
    open = [];
    size = 0;
  };
  for (const piece of pieces) {
    if (piece.kind !== 'new') end();
    if (piece.kind !== 'new' || piece.old === undefined) continue;
    const isSame = open[0]?.old?.from === piece.old.from && open[0].old.size === piece.old.size;
    if (!isSame || size + piece.bytes.length > gapSizeMax) end();
    // Narrowed above, which the compiler does not see of a type parameter.
    open.push(piece as NewPiece<P>);
    size += piece.bytes.length;
  }
  end();
  return gaps;
}

/**
 * The gaps in the pieces of a file of whose old version no more than the size is known: the pieces that
 * are wanted, and where their bytes were if little was inserted or removed.
 */
export function strayGapsOf<P extends AnyPiece & { readonly size?: number }>(
  pieces: readonly P[],
  isWanted: (piece: P) => boolean,
  oldSize: number,
): readonly PieceGap<P>[] {
  const sizeOf = (piece: P): number =>
    piece.kind === 'new' ? piece.bytes.length : (piece.size ?? 0);
  const shift = oldSize - pieces.reduce((sum, piece) => sum + sizeOf(piece), 0);
  const [back, ahead] =
    shift < 0 ? [Math.min(-shift, reachMax), 0] : [0, Math.min(shift, reachMax)];
  const gaps: PieceGap<P>[] = [];
  let open: NewPiece<P>[] = [];
  let size = 0;
  let at = 0;
  const end = (): void => {
    const from = Math.max(at - size - back, 0);
    const old = { from, size: Math.min(at + ahead, oldSize) - from };
    if (open.length > 0 && old.size > 0) gaps.push(gapOf(open, old));
    open = [];
    size = 0;
  };
  for (const piece of pieces) {
    const isOne = piece.kind === 'new' && piece.patch === undefined && isWanted(piece);
    if (!isOne || size + sizeOf(piece) > gapSizeMax) end();
    at += sizeOf(piece);
    if (!isOne) continue;
    // Narrowed above, which the compiler does not see of a type parameter.
    open.push(piece as NewPiece<P>);
    size += sizeOf(piece);
  }
  end();
  return gaps;
}

function gapOf<P extends AnyPiece>(pieces: readonly NewPiece<P>[], old: OldRange): PieceGap<P> {
  let at = 0;
  const blocks = pieces.map(({ bytes }) => {
    at += bytes.length;
    return { at: at - bytes.length, size: bytes.length };
  });
  return { pieces, blocks, old, bytes: Buffer.concat(pieces.map(({ bytes }) => bytes)) };
}

/** Patches for the blocks of each gap, in order; a gap without any is left out. */
export async function refineGaps<G extends Gap>(
  gaps: readonly G[],
  { ask, match, stillWanted }: GapWays<G>,
): Promise<ReadonlyMap<G, readonly (Buffer | undefined)[]>> {
  const first = gaps.map(gap => {
    return { gap, range: gap.old, grainSize: firstGrain(gap.old) };
  });
  const answers = await ask(first);
  const wanted = new Set(await stillWanted(gaps));
  const runs = new Map<G, readonly Run[]>();
  const look = async (
    questions: readonly GrainQuestion<G>[],
    hashes: readonly Buffer[],
  ): Promise<void> => {
    const jobs = jobsOf(questions, hashes, runs);
    const found = await match(jobs.map(({ job }) => job));
    for (const [i, { gap }] of jobs.entries()) runs.set(gap, found[i] ?? []);
  };
  const isWanted = first.map(({ gap }) => wanted.has(gap));
  await look(
    first.filter((_, i) => isWanted[i]),
    answers.filter((_, i) => isWanted[i]),
  );
  const second = first.flatMap(({ gap, grainSize }) =>
    grainSize === fineGrain || !runs.has(gap) ? [] : openRanges(gap, runs.get(gap) ?? []),
  );
  if (second.length > 0) await look(second, await ask(second));
  const patches = new Map<G, readonly (Buffer | undefined)[]>();
  for (const [gap, found] of runs) {
    if (found.length > 0) patches.set(gap, patchBlocks(gap.bytes, gap.blocks, found));
  }
  return patches;
}

function firstGrain(old: OldRange): number {
  return old.size <= fineRangeMax ? fineGrain : coarseGrain;
}

/** One for each gap of which anything is known now. */
function jobsOf<G extends Gap>(
  questions: readonly GrainQuestion<G>[],
  hashes: readonly Buffer[],
  runs: ReadonlyMap<G, readonly Run[]>,
): readonly { readonly gap: G; readonly job: MatchJob }[] {
  const jobs = new Map<G, MatchJob & { old: MatchJob['old'][number][] }>();
  for (const [i, { gap, range, grainSize }] of questions.entries()) {
    const answer = hashes[i];
    if (answer === undefined || answer.length === 0) continue;
    const { bytes, old } = gap;
    const job = jobs.get(gap) ?? {
      bytes,
      base: old.from,
      grainSize,
      old: [],
      found: runs.get(gap) ?? [],
    };
    job.old.push({ ...range, hashes: answer });
    jobs.set(gap, job);
  }
  return [...jobs].map(([gap, job]) => ({ gap, job }));
}

/** What lies between the runs in the old version, where as much is new, if knowing it may pay. */
function openRanges<G extends Gap>(gap: G, runs: readonly Run[]): readonly GrainQuestion<G>[] {
  const { bytes, old } = gap;
  const questions: GrainQuestion<G>[] = [];
  const ask = (from: number, size: number): void => {
    questions.push({ gap, range: { from, size }, grainSize: fineGrain });
  };
  let at = 0;
  let from = old.from;
  for (const run of [...runs, { at: bytes.length, from: old.from + old.size, size: 0 }]) {
    const size = run.from - from;
    const newSize = run.at - at;
    if (size > openRangeMax) {
      const isLong = newSize > 2 * coarseGrain;
      if (isLong && at > 0) ask(from, coarseGrain);
      if (isLong && run.size > 0) ask(run.from - coarseGrain, coarseGrain);
    } else if (size >= fineGrain) {
      const cost = rangeCost + hashCost * Math.ceil(size / fineGrain);
      if (Math.min(size, newSize) - fineGrain > gainMin * cost) ask(from, size);
    }
    at = run.at + run.size;
    from = run.from + run.size;
  }
  return questions;
}
