// A file version is recorded with its places; when the last one goes, so do record and hints.
import type { NodeId } from '../snapshot/entry.ts';
import type { Changes } from './changes.ts';
import { type Place, placesMax } from './receiver-records.ts';

export interface FileVersion {
  readonly id: NodeId;
  readonly version: number;
}

function samePlace(a: Place, b: Place): boolean {
  return a.parent === b.parent && a.name === b.name;
}

/** One more name leads to the file. */
export function addPlace(changes: Changes, { id, version }: FileVersion, place: Place): void {
  const record = changes.file(id, version);
  if (!record) return;
  const places = [...record.places, place].slice(-placesMax);
  changes.setFile(id, version, { ...record, links: record.links + 1, places });
}

/** One name less; what no name leads to is forgotten. */
export function removePlace(changes: Changes, { id, version }: FileVersion, place: Place): void {
  const record = changes.file(id, version);
  if (!record) return;
  if (record.links <= 1) {
    forgetFile(changes, { id, version });
    return;
  }
  const places = record.places.filter(other => !samePlace(other, place));
  changes.setFile(id, version, { ...record, links: record.links - 1, places });
}

export function replacePlace(
  changes: Changes,
  { id, version }: FileVersion,
  move: { readonly from: Place; readonly to: Place },
): void {
  const record = changes.file(id, version);
  if (!record) return;
  const others = record.places.filter(place => !samePlace(place, move.from));
  const places = [...others, move.to].slice(-placesMax);
  changes.setFile(id, version, { ...record, places });
}

/** Removes record and hints. A hint that another version still needs stays. */
export function forgetFile(changes: Changes, { id, version }: FileVersion): void {
  const record = changes.file(id, version);
  if (!record) return;
  changes.setFile(id, version, undefined);
  changes.forgetHints(id, record.list);
}
