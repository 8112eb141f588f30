// How many bytes of files a replica may hold: what would be more is refused, file by file, and the
// rest flows. Bytes count as `ls -l` shows them, for each name of a hard-linked file anew.
import type { NodeId } from '../snapshot/entry.ts';
import type { ReplicaStore } from '../store/replica-store.ts';
import { Rejection } from './rejection.ts';

export class Quota {
  readonly #store: ReplicaStore;
  readonly #sizeMax: number;
  /** Of commits that are staged and not yet in the records. */
  #reserved = 0;

  /** `sizeMax` undefined: no limit, and nothing is counted. */
  constructor(store: ReplicaStore, sizeMax: number | undefined) {
    this.#store = store;
    this.#sizeMax = sizeMax ?? Number.POSITIVE_INFINITY;
  }

  get isLimited(): boolean {
    return this.#sizeMax !== Number.POSITIVE_INFINITY;
  }

  /**
   * Takes the bytes that a file of `size` adds where there was one of `sizeBefore`, until `release`.
   * Throws Rejection when there is no room for them.
   */
  reserve(size: number, sizeBefore: number): number {
    const growth = Math.max(0, size - sizeBefore);
    const fault = this.#fault(growth);
    if (fault !== undefined) throw fault;
    this.#reserved += growth;
    return growth;
  }

  release(bytes: number): void {
    this.#reserved -= bytes;
  }

  /** Takes the bytes that a new version of node `id` adds, as far as is known; or why it cannot be held. */
  reserveFor(id: NodeId, size: number): number | Rejection {
    if (!this.isLimited) return 0;
    const [version] = this.#store.versions(id);
    const before = version === undefined ? undefined : this.#store.file(id, version);
    const growth = Math.max(0, size - Number(before?.stamp.size ?? 0n));
    const fault = this.#fault(growth);
    if (fault === undefined) this.#reserved += growth;
    return fault ?? growth;
  }

  #fault(growth: number): Rejection | undefined {
    if (growth === 0 || !this.isLimited) return undefined;
    const used = this.#store.contentBytes + this.#reserved;
    if (used + growth <= this.#sizeMax) return undefined;
    const left = Math.max(0, this.#sizeMax - used);
    const text = `no room for ${growth} bytes more: the receiver's --quota of ${this.#sizeMax} leaves ${left}`;
    return new Rejection('refused', text);
  }
}
