// Names whose node got another name by a link. Each stays, so that it is never missing, until a
// later step of the commit takes it over; at the end of the commit what is left of them goes.
import type { BigIntStats } from 'node:fs';
import type { Place } from '../store/receiver-records.ts';
import type { TreeView } from './tree-view.ts';

export class VacatedNames {
  /** With the inode of what is left there. */
  readonly #names = new Map<string, { readonly place: Place; readonly ino: bigint }>();

  add(place: Place, ino: bigint): void {
    this.#names.set(placeKey(place), { place, ino });
  }

  has(place: Place, present: BigIntStats): boolean {
    return this.#names.get(placeKey(place))?.ino === present.ino;
  }

  /** Something else has the name now. */
  delete(place: Place): void {
    this.#names.delete(placeKey(place));
  }

  unlinkAll(tree: TreeView): void {
    for (const { place, ino } of this.#names.values()) {
      const resolution = tree.resolve(place.parent);
      if (resolution.kind !== 'open') continue;
      const { directory } = resolution;
      if (directory.lstat(place.name)?.ino === ino) directory.unlink(place.name);
    }
    this.#names.clear();
  }
}

export function placeKey({ parent, name }: Place): string {
  return `${parent}/${name}`;
}
