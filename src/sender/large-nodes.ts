// Nodes whose content is in the large lane. Other changes to them wait for it; what commits overtake it
// must stand, though: a name that is gone, or another node's by now, does not get this content any more.
import type { NodeId } from '../snapshot/entry.ts';
import type { Change, FileChange } from './change.ts';
import { idOf, placeOf } from './item.ts';

export class LargeNodes {
  /** Until they are durable or given up. */
  readonly #nodes = new Set<NodeId>();
  /** Where they are to be, by place, until their commit is next. */
  readonly #places = new Map<string, NodeId>();
  readonly #overtaken = new Set<NodeId>();

  has(id: NodeId): boolean {
    return this.#nodes.has(id);
  }

  begin(change: FileChange): void {
    this.#nodes.add(change.entry.id);
    this.#places.set(placeOf(change), change.entry.id);
  }

  /** A change goes out before the content that was to have its place: that is not to follow. */
  overtake(change: Change): void {
    const id = this.#places.get(placeOf(change));
    const isOther = id !== undefined && (change.kind === 'remove' || idOf(change) !== id);
    if (isOther) this.#overtaken.add(id);
  }

  isOvertaken({ entry }: FileChange): boolean {
    return this.#overtaken.has(entry.id);
  }

  /** Whatever is handed out from now on comes after it. */
  leave(change: FileChange): void {
    this.#places.delete(placeOf(change));
  }

  end(change: FileChange): void {
    const { id } = change.entry;
    this.#nodes.delete(id);
    this.#overtaken.delete(id);
    if (this.#places.get(placeOf(change)) === id) this.leave(change);
  }
}
