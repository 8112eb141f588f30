// Matching that the lanes ask of the read worker: jobs there, runs back, each packed into one buffer
// that is moved.
import type { KnownRange, MatchJob } from '../blocks/gap-matcher.ts';
import type { Run } from '../blocks/grain-kernels.ts';
import type { FieldReader } from '../snapshot/field-reader.ts';
import type { FieldWriter } from '../snapshot/field-writer.ts';
import { type Packed, pack, readerOf } from './packed.ts';

/** Per job: u32 bytes | u64 base | u16 grain size | runs | u32 ranges, then each; and the bytes. */
const jobHeadSize = 18;
/** u64 from | u32 size | u32 bytes of hashes, and these. */
const rangeHeadSize = 16;
/** u32 count, then each u32 at | u64 from | u32 size. */
const runsHeadSize = 4;
const runSize = 16;

export function packJobs(jobs: readonly MatchJob[]): Packed {
  const size = jobs.reduce((sum, { bytes, found, old }) => {
    const ranges = old.reduce((all, { hashes }) => all + rangeHeadSize + hashes.length, 0);
    return sum + jobHeadSize + bytes.length + runsSize(found) + ranges;
  }, 0);
  return pack(size, writer => {
    for (const { bytes, base, grainSize, found, old } of jobs) {
      writer.u32(bytes.length);
      writer.size(base);
      writer.u16(grainSize);
      writeRuns(writer, found);
      writer.u32(old.length);
      for (const range of old) {
        writer.size(range.from);
        writer.u32(range.size);
        writer.u32(range.hashes.length);
        writer.bytes(range.hashes, range.hashes.length);
      }
      writer.bytes(bytes, bytes.length);
    }
  });
}

/** Views of the packed bytes. */
export function* unpackJobs(packed: Packed): Generator<MatchJob> {
  const reader = readerOf(packed);
  while (reader.left > 0) {
    const byteCount = reader.u32('bytes');
    const base = reader.size('base');
    const grainSize = reader.u16('grain size');
    const found = readRuns(reader);
    const old = Array.from({ length: reader.u32('ranges') }, (): KnownRange => {
      const range = { from: reader.size('from'), size: reader.u32('size') };
      return { ...range, hashes: reader.bytes('hashes', reader.u32('hashes')) };
    });
    yield { base, grainSize, found, old, bytes: reader.bytes('bytes', byteCount) };
  }
}

export function packRuns(all: readonly (readonly Run[])[]): Packed {
  const size = all.reduce((sum, runs) => sum + runsSize(runs), 0);
  return pack(size, writer => {
    for (const runs of all) writeRuns(writer, runs);
  });
}

export function unpackRuns(packed: Packed): readonly (readonly Run[])[] {
  const reader = readerOf(packed);
  const all: Run[][] = [];
  while (reader.left > 0) all.push(readRuns(reader));
  return all;
}

function runsSize(runs: readonly Run[]): number {
  return runsHeadSize + runs.length * runSize;
}

function writeRuns(writer: FieldWriter, runs: readonly Run[]): void {
  writer.u32(runs.length);
  for (const { at, from, size } of runs) {
    writer.u32(at);
    writer.size(from);
    writer.u32(size);
  }
}

function readRuns(reader: FieldReader): Run[] {
  return Array.from({ length: reader.u32('runs') }, () => {
    return { at: reader.u32('at'), from: reader.size('from'), size: reader.u32('size') };
  });
}
