// A destination whose file system takes names for one that differ in case only, as SMB shares and
// the disks of other systems do. Names keep the case they were made with.
import type { Name } from '../../src/snapshot/name.ts';
import { ConfinedDirectory } from '../../src/tree/confined-directory.ts';

const targets = new WeakMap<object, ConfinedDirectory>();

export function openFoldingRoot(path: string): ConfinedDirectory {
  return wrap(ConfinedDirectory.openRoot(path));
}

function wrap(directory: ConfinedDirectory): ConfinedDirectory {
  const proxy: ConfinedDirectory = new Proxy(directory, {
    get: (target, key) => {
      // Accessors and methods need the real object for their private fields.
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        const real = args.map(unwrapped);
        const [first, to, toName] = real;
        if (typeof first === 'string' && key !== 'symlink') real[0] = folded(target, first);
        if (key === 'symlink') real[1] = folded(target, String(to));
        if (to instanceof ConfinedDirectory && key !== 'cloneExclusive') {
          const there = folded(to, String(toName));
          // A name may get another case: then nothing is in the way.
          const isItself =
            key === 'rename' && target.lstat(real[0] as Name)?.ino === to.lstat(there)?.ino;
          if (!isItself) real[2] = there;
        }
        const result: unknown = value.apply(target, real);
        if (key === 'retain') return proxy;
        return result instanceof ConfinedDirectory ? wrap(result) : result;
      };
    },
  });
  targets.set(proxy, directory);
  return proxy;
}

/** As the name was made. */
function folded(directory: ConfinedDirectory, name: string): Name {
  const small = name.toLowerCase();
  return directory.list().find(one => one.toLowerCase() === small) ?? (name as Name);
}

function unwrapped(value: unknown): unknown {
  return typeof value === 'object' && value !== null ? (targets.get(value) ?? value) : value;
}
