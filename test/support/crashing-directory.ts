// A destination that dies, is full or refuses: after a given number of changes every further one
// throws, as if the process had been killed, or the disk had filled up, between two system calls.
import { ConfinedDirectory } from '../../src/tree/confined-directory.ts';
import { Refusals } from './refusals.ts';

export class Crash extends Error {}

const changes: ReadonlySet<string | symbol> = new Set([
  'createExclusive',
  'mkdir',
  'rmdir',
  'unlink',
  'symlink',
  'rename',
  'link',
  'removeTree',
  'chmod',
  'chmodSelf',
  'setTimes',
  'setTimesSelf',
]);

/** Changes that need room. */
const growing: ReadonlySet<string | symbol> = new Set([
  'createExclusive',
  'mkdir',
  'symlink',
  'rename',
  'link',
]);

/** Shared by all directories of one destination. */
export class Fuse {
  /** Changes until the crash. */
  left = Number.POSITIVE_INFINITY;
  /** Changes that fail because of the whole disk, from now on, and how. */
  fullCount = 0;
  fullCode: 'ENOSPC' | 'EIO' | 'EMFILE' = 'ENOSPC';
  count = 0;
  /** Changes that fail for what they are. */
  readonly refusals = new Refusals();
  /** Called before and after each change: when the next one begins it is done. */
  before: () => void = () => {};
  after: () => void = () => {};
  #isBlown = false;

  get isBlown(): boolean {
    return this.#isBlown;
  }

  openRoot(path: string): ConfinedDirectory {
    return this.#wrap(ConfinedDirectory.openRoot(path));
  }

  /** Everything fails from now on. */
  blow(): never {
    this.#isBlown = true;
    throw new Crash('crash');
  }

  /** What a new process would find working again. */
  replace(): void {
    this.#isBlown = false;
    this.left = Number.POSITIVE_INFINITY;
  }

  #wrap(directory: ConfinedDirectory): ConfinedDirectory {
    const proxy: ConfinedDirectory = new Proxy(directory, {
      get: (target, key) => {
        // Accessors and methods need the real object for their private fields.
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]): unknown => {
          const isChange = changes.has(key) && !args.includes('receive.lock');
          const real = args.map(unwrapped);
          if (isChange) this.#change(key);
          if (isChange) this.refusals.check(target, String(key), real);
          const result: unknown = value.apply(target, real);
          if (isChange) this.after();
          if (key === 'retain') return proxy;
          return result instanceof ConfinedDirectory ? this.#wrap(result) : result;
        };
      },
    });
    targets.set(proxy, directory);
    return proxy;
  }

  #change(key: string | symbol): void {
    this.count++;
    if (!this.#isBlown) this.before();
    if (this.#isBlown || this.left <= 0) this.blow();
    this.left--;
    if (this.fullCount > 0 && growing.has(key)) {
      this.fullCount--;
      const message = `${this.fullCode}: ${String(key)}`;
      throw Object.assign(new Error(message), { code: this.fullCode, syscall: String(key) });
    }
  }
}

const targets = new WeakMap<object, ConfinedDirectory>();

function unwrapped(value: unknown): unknown {
  return typeof value === 'object' && value !== null ? (targets.get(value) ?? value) : value;
}
