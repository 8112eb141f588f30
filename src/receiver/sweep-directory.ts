// The look at one directory, in pieces: what a slice saw is looked at again by the next one.
import fs, { type BigIntStats } from 'node:fs';
import { systemCode } from '../errors.ts';
import type { NodeId } from '../snapshot/entry.ts';
import type { Name } from '../snapshot/name.ts';
import { sameLocalStamp, stampOf } from '../store/receiver-records.ts';
import { blocksPerPiece, comparePiece } from './recorded-content.ts';
import type { SweepView } from './sweep-view.ts';

/** Names of records read at a time. */
const pageMax = 64;

/** `view` is that of the slice under way. */
export function* sweepDirectory(id: NodeId, view: () => SweepView): Generator<void, void> {
  if (!view().open(id)) return;
  yield* recordedNames(id, view);
  for (const name of view().list(id)) {
    view().checkFound(id, name);
    yield;
  }
  view().checkAttributes(id);
}

function* recordedNames(id: NodeId, view: () => SweepView): Generator<void, void> {
  let after: Name | undefined;
  for (;;) {
    const rows = view().options.store.names(id, { after, limit: pageMax });
    for (const { name } of rows) {
      if (view().check(id, name) === 'doubtful') yield* compareContent({ id, name }, view);
      after = name;
      yield;
    }
    if (rows.length < pageMax) return;
  }
}

/** A file whose size is as recorded: its content decides, whatever its times say. */
export function* compareContent(
  { id, name }: { readonly id: NodeId; readonly name: Name },
  view: () => SweepView,
): Generator<void, void> {
  const first = view().lstat(id, name);
  for (let block = 0; first; block += blocksPerPiece) {
    const verdict = comparePart({ id, name, block }, view(), first);
    if (verdict === 'other') view().displace(id, name);
    if (verdict === 'same') view().restamp(id, name, first);
    if (verdict !== 'more') return;
    yield;
  }
}

/** 'unknown': it changed meanwhile, or cannot be read; the next pass finds it again. */
function comparePart(
  { id, name, block }: { readonly id: NodeId; readonly name: Name; readonly block: number },
  view: SweepView,
  first: BigIntStats,
): 'same' | 'other' | 'more' | 'unknown' {
  const entry = view.changes.entry(id, name);
  const record = entry?.kind === 'file' ? view.changes.file(entry.id, entry.version) : undefined;
  const directory = view.open(id);
  if (!record || !directory) return 'unknown';
  let fd: number | undefined;
  try {
    fd = directory.openRead(name);
    const now = stampOf(fs.fstatSync(fd, { bigint: true }));
    if (!sameLocalStamp(now, stampOf(first))) return 'unknown';
    return comparePiece(fd, block, record, view.options.store.secret);
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return 'unknown';
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}
