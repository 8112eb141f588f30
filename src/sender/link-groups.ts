// Are names of one file here names of one file there? Of the names that a comparison comes to.
import type { NodeId } from '../snapshot/entry.ts';
import type { Seen } from '../snapshot/listing.ts';

/** Files with several names whose groups are compared: 150 bytes each. */
const groupsMax = 1_000_000;

/** `P`: a place, as its user knows it. */
export class LinkGroups<P> {
  /** The first name that led to the file. */
  readonly #placeOfInode = new Map<string, P>();
  readonly #inodeOfNode = new Map<NodeId, string>();
  #twins: P[] = [];

  clear(): void {
    this.#placeOfInode.clear();
    this.#inodeOfNode.clear();
    this.#twins = [];
  }

  /** `id`: of the node that the receiver has at the name. */
  isGrouped(place: P, { ino, birthtimeNs, nlink }: Seen, id: NodeId): boolean {
    const inode = `${ino}.${birthtimeNs}`;
    const other = this.#inodeOfNode.get(id);
    if (other === inode) return true;
    if (other === undefined && nlink < 2) return true;
    const twin = this.#placeOfInode.get(other ?? inode);
    if (twin !== undefined) {
      this.#twins.push(twin);
      return false;
    }
    if (this.#placeOfInode.size < groupsMax) {
      this.#placeOfInode.set(inode, place);
      this.#inodeOfNode.set(id, inode);
    }
    return true;
  }

  /** The other names of those that were not: only together they can be looked at again. */
  takeTwins(): readonly P[] {
    return this.#twins.splice(0);
  }
}
