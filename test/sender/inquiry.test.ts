// When the receiver is asked for grains: by --optimize, by how much there is, and by what the link does.
import t from 'tap';
import type { FileChange } from '../../src/sender/change.ts';
import type { FileContent, ReadPiece } from '../../src/sender/content.ts';
import { Inquiry, type InquiryOptions, type Optimize } from '../../src/sender/inquiry.ts';
import { noStamp, rootId } from '../../src/snapshot/entry.ts';
import { givesGrains } from '../../src/wire/messages.ts';
import { name, nodeId } from '../support/messages.ts';

const mebibyte = 1024 * 1024;

function changeOf(changes: Partial<FileChange>): FileChange {
  const entry = {
    ...({ kind: 'file', id: nodeId(7), mode: 0o644, size: 1, mtimeNs: 0n } as const),
    ...{ stamp: noStamp, version: 4, target: '' },
  };
  return {
    ...{ kind: 'file', token: 0, path: 'f', parent: rootId, name: name('f'), entry },
    ...{
      basis: undefined,
      baseVersion: 3,
      baseSize: 0,
      purpose: 'content',
      seenMs: 0,
      isNew: false,
    },
    ...changes,
  };
}

/** New blocks of 64 KiB, `size` bytes in gaps of one. */
function contentOf(size: number, isAdopted = false): FileContent {
  const bytes = Buffer.alloc(65_536);
  const pieces = Array.from({ length: size / bytes.length }, (_, i): ReadPiece[] => [
    { kind: 'copy', from: 2 * i, count: 1 },
    { kind: 'new', id: Buffer.alloc(16), bytes, old: { from: (2 * i + 1) * 65_536, size: 65_536 } },
  ]);
  const all = pieces.flat();
  const adopted = all.flatMap(piece => {
    return piece.kind === 'new' ? [{ kind: piece.kind, id: piece.id, bytes: piece.bytes }] : [];
  });
  return { pieces: isAdopted ? adopted : all } as unknown as FileContent;
}

interface Case {
  readonly optimize?: Optimize;
  readonly size?: number;
  readonly rate?: number;
  readonly roundTripMs?: number;
  readonly features?: bigint;
  readonly change?: Partial<FileChange>;
  /** Nothing is known of the version before but its size. */
  readonly isAdopted?: boolean;
  readonly hasLacked?: boolean;
  /** The receiver has so many of the pieces. */
  readonly heldCount?: number;
}

/** How many ranges were asked for in the first round, and what of. */
async function asked(one: Case): Promise<number> {
  const ranges: unknown[] = [];
  const options = {
    connection: {
      peerFeatures: one.features ?? givesGrains,
      creditBytesPerSecond: one.rate ?? 0,
      creditRoundTripMs: one.roundTripMs ?? 0,
    },
    offers: {
      ask: async (pieces: readonly ReadPiece[]) =>
        new Set(pieces.slice(one.heldCount ?? pieces.length)),
    },
    questions: {
      ask: async (all: readonly unknown[]) => {
        ranges.push(...all);
        return all.map(() => Buffer.alloc(0));
      },
    },
    reader: { match: async () => [] },
    inFlight: { hasLacked: () => one.hasLacked ?? false },
    optimize: one.optimize ?? 'auto',
  };
  const inquiry = new Inquiry(options as unknown as InquiryOptions);
  const file = {
    change: changeOf(one.change ?? {}),
    content: contentOf(one.size ?? mebibyte / 2, one.isAdopted),
  };
  await inquiry.ask([file]);
  return ranges.length;
}

t.test('when grains are asked for', async t => {
  const slow = { rate: 1e6, roundTripMs: 50 };
  const fast = { rate: 1e9, roundTripMs: 1 };
  const far = { rate: 20e6, roundTripMs: 500 };
  const change = { baseSize: mebibyte / 2 };
  const adopted = { isAdopted: true, change };
  const large = { ...changeOf({}).entry, size: 4 * mebibyte };
  const rows: [string, Case, number][] = [
    ['little, and nothing is known of the link', {}, 8],
    ['little, however fast the link', { ...fast }, 8],
    ['much, and nothing is known of the link', { size: 4 * mebibyte }, 64],
    ['much over a slow link', { size: 4 * mebibyte, ...slow }, 64],
    ['much over a fast link', { size: 4 * mebibyte, ...fast }, 0],
    ['much over a fast link that is far', { size: 4 * mebibyte, ...far }, 0],
    ['as much as makes up for the distance', { size: 32 * mebibyte, ...far }, 512],
    ['much over a fast link, for bytes', { size: 4 * mebibyte, ...fast, optimize: 'bytes' }, 64],
    ['little, for time', { ...slow, optimize: 'time' }, 0],
    ['a receiver that tells none', { features: 0n, optimize: 'bytes' }, 0],
    ['a file that the receiver has no version of', { change: { baseVersion: 0 } }, 0],
    ['of what is known by its size only, what the receiver lacks', { ...adopted, heldCount: 5 }, 1],
    ['the same, of a large file', { ...adopted, change: { ...change, entry: large } }, 0],
    ['the same, after it was refused', { ...adopted, hasLacked: true }, 0],
    ['the same, of a file that was empty', { isAdopted: true }, 0],
    ['a second look', { change: { purpose: 'trust' } }, 0],
  ];
  for (const [what, one, count] of rows) t.equal(await asked(one), count, what);
});

t.test('what the receiver has already is not looked at, nor asked about again', async t => {
  const content = contentOf(mebibyte / 2);
  const fresh = content.pieces.filter(piece => piece.kind === 'new');
  const needed = new Set(fresh.slice(0, 3));
  const rounds: number[] = [];
  const looked: number[] = [];
  const options = {
    connection: { peerFeatures: givesGrains, creditBytesPerSecond: 0, creditRoundTripMs: 0 },
    offers: { ask: async () => needed },
    questions: {
      ask: async (all: readonly { size: number; grainSize: number }[]) => {
        rounds.push(all.length);
        return all.map(({ size, grainSize }) => Buffer.alloc((4 * size) / grainSize));
      },
    },
    reader: {
      match: async (jobs: readonly unknown[]) => {
        looked.push(jobs.length);
        // All but 4 KiB at the end of each is found where it was.
        return jobs.map((_, i) => [{ at: 0, from: (2 * i + 1) * 65_536, size: 61_440 }]);
      },
    },
    inFlight: { hasLacked: () => false },
    optimize: 'auto',
  };
  const inquiry = new Inquiry(options as unknown as InquiryOptions);
  const asked = await inquiry.ask([{ change: changeOf({}), content }]);
  t.strictSame(rounds, [8, 3]);
  t.strictSame(looked, [3, 3]);
  t.strictSame([...asked.patches.keys()], [...needed]);
  t.equal(asked.needed, needed);
});
