// What changes under way make of something: of several the newest counts, and when that one is taken
// back, the one before it that is still under way.

interface Layer<V> {
  readonly token: number;
  readonly value: V;
  before: Layer<V> | undefined;
}

export class Layers<K, V> {
  readonly #tops = new Map<K, Layer<V>>();
  readonly #isUnderWay: (token: number) => boolean;

  constructor(isUnderWay: (token: number) => boolean) {
    this.#isUnderWay = isUnderWay;
  }

  get isEmpty(): boolean {
    return this.#tops.size === 0;
  }

  get(key: K): V | undefined {
    return this.#tops.get(key)?.value;
  }

  has(key: K): boolean {
    return this.#tops.has(key);
  }

  *values(): Generator<V> {
    for (const { value } of this.#tops.values()) yield value;
  }

  put(key: K, token: number, value: V): void {
    const top = this.#underWay(this.#tops.get(key));
    // What is over is let go, or a key that is never at rest would collect it.
    if (top) top.before = this.#underWay(top.before);
    this.#tops.set(key, { token, value, before: top });
  }

  /** The change is carried out: where it is the newest, what came before it is over too. */
  confirm(key: K, token: number): void {
    if (this.#tops.get(key)?.token === token) this.#tops.delete(key);
  }

  /** The change is not carried out, and under way no more. */
  revert(key: K, token: number): void {
    const top = this.#tops.get(key);
    if (top?.token !== token) return;
    const before = this.#underWay(top.before);
    if (before) this.#tops.set(key, before);
    else this.#tops.delete(key);
  }

  #underWay(layer: Layer<V> | undefined): Layer<V> | undefined {
    let found = layer;
    while (found && !this.#isUnderWay(found.token)) found = found.before;
    return found;
  }

  clear(): void {
    this.#tops.clear();
  }
}
