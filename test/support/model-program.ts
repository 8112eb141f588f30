// Random programs for the model test: file operations, faults and looks of the sender, as plain data,
// so that a program can be printed, replayed and made smaller. An operation that does not fit the
// tree as it is then does nothing: any part of a program is a program.
import { pick, randomInteger } from './random.ts';
import type { RefusedCall } from './refusals.ts';

type Random = () => number;

export type Operation =
  | {
      readonly kind: 'write' | 'save' | 'append' | 'patch';
      readonly path: string;
      readonly size: number;
      readonly seed: number;
    }
  | { readonly kind: 'truncate'; readonly path: string; readonly size: number }
  | {
      readonly kind: 'rename' | 'swap' | 'link' | 'copy';
      readonly path: string;
      readonly to: string;
    }
  | { readonly kind: 'unlink' | 'mkdir' | 'remove'; readonly path: string }
  | { readonly kind: 'chmod'; readonly path: string; readonly mode: number }
  | { readonly kind: 'touch'; readonly path: string; readonly seconds: number }
  | { readonly kind: 'symlink'; readonly path: string; readonly target: string };

/** `after`: changes of the destination until it strikes; 0 is at once. */
export type Fault =
  | {
      readonly kind: 'crash receiver';
      readonly after: number;
      /** At the next step of that name instead. */
      readonly label?: string;
    }
  | { readonly kind: 'crash sender' | 'cut'; readonly after: number }
  | { readonly kind: 'restart sender' | 'restart receiver' | 'pause' | 'resume' }
  | {
      readonly kind: 'full';
      readonly changes: number;
      readonly code: 'ENOSPC' | 'EIO' | 'EMFILE';
    }
  | { readonly kind: 'drift'; readonly operation: Operation }
  /** From now on the destination refuses to make the name, or the call for it (for any name). */
  | {
      readonly kind: 'refuse';
      readonly call?: RefusedCall;
      readonly name?: string;
      readonly code: string;
    }
  /** What the destination has at the path cannot be changed from now on. */
  | { readonly kind: 'immutable'; readonly at: string }
  /** No permission bits at the source: of a directory no listing, of a file no content (not for root). */
  | { readonly kind: 'unreadable'; readonly at: string };

export type Step =
  | Operation
  | Fault
  /** The sender looks; goes on after so many changes of the destination, or when all is durable. */
  | { readonly kind: 'tick'; readonly changes: number }
  /** Until everything is durable; then the trees are compared. */
  | Settle
  /** Ticks that nobody asked for, at whatever their budget allows. */
  | { readonly kind: 'look'; readonly ticks: number }
  /** Said of held deletes. */
  | { readonly kind: 'decide'; readonly verdict: 'approve' | 'reject' | 'undo' }
  /** Ignore rules of a folder (with a slash at its end, or ''); the next settle removes them. */
  | { readonly kind: 'rules'; readonly folder: string; readonly text: string }
  /** The sender ends, and a `--once` does its work. */
  | { readonly kind: 'once' };

/**
 * What the destination refuses is tried first: everything else becomes equal. Then that is lifted,
 * and the rest follows, by a flush or (`waits`) by itself.
 */
export interface Settle {
  readonly kind: 'settle';
  readonly waits?: boolean;
}

export interface Program {
  readonly seed: number;
  readonly steps: readonly Step[];
  /** How the sender is opened; --max-delete as a count. */
  readonly options?: { readonly maxDelete?: number; readonly cpuShare?: number };
}

export const operationKinds: ReadonlySet<string> = new Set([
  ...['write', 'save', 'append', 'patch', 'truncate', 'rename', 'swap', 'link', 'copy'],
  ...['unlink', 'mkdir', 'remove', 'chmod', 'touch', 'symlink'],
]);

export const faultKinds: ReadonlySet<string> = new Set([
  ...['crash receiver', 'crash sender', 'cut', 'restart sender', 'restart receiver'],
  ...['pause', 'full', 'drift', 'refuse', 'immutable', 'unreadable'],
]);

/** Written to, and never anything else: always there, at source and destination. */
export const keepPath = 'keep';

/** A folder that no fault and no rename concerns: it becomes equal whatever is refused elsewhere. */
export const apartPath = 'apart';

export const folders = ['', 'd/', 'e/', 'd/e/', 'e/d/'];
export const names = ['a', 'b', 'c', 'd', 'e'];
/** Of what is in the folder apart. */
export const namesApart = ['p', 'q', 'r'];
/** Every name there may be, in both trees. */
export const knownNames: ReadonlySet<string> = new Set([
  ...[...names, ...namesApart],
  ...[keepPath, apartPath, '.replicaignore', '~'],
]);
const commitLabels = ['flush', 'intents', 'attributes', 'applied', 'records', 'written'];

/** At least 30 operations, 2 faults, and looks between them; ends with a settle. */
export function randomProgram(seed: number, random: Random): Program {
  const operations = 30 + randomInteger(random, 30);
  const faults = 2 + randomInteger(random, 4);
  const tree = new Guess(random);
  const steps: Step[] = [];
  for (let i = 0; i < operations; i++) steps.push(randomOperation(random, tree));
  const insert = (step: Step): void => {
    steps.splice(5 + randomInteger(random, steps.length - 5), 0, step);
  };
  for (let i = 3 + randomInteger(random, 8); i > 0; i--) {
    insert({ kind: 'tick', changes: randomInteger(random, 25) });
  }
  for (let i = randomInteger(random, 4); i > 0; i--) insert({ kind: 'settle' });
  for (let i = 0; i < faults; i++) insert(randomFault(random, tree));
  steps.push({ kind: 'settle' });
  return { seed, steps };
}

const operationWeights: readonly (readonly [Operation['kind'], number])[] = [
  ['write', 6],
  ['save', 4],
  ['append', 2],
  ['patch', 2],
  ['truncate', 1],
  ['rename', 6],
  ['swap', 3],
  ['link', 4],
  ['copy', 2],
  ['unlink', 3],
  ['mkdir', 5],
  ['remove', 1],
  ['chmod', 2],
  ['touch', 2],
  ['symlink', 2],
];
const operationPool = operationWeights.flatMap(([kind, weight]) => Array(weight).fill(kind));

/** What may be where after the operations so far, so that most of the next ones find something. */
class Guess {
  readonly #random: Random;
  readonly #kinds = new Map<string, 'file' | 'folder'>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** Something that is there, mostly. */
  old(): string {
    const paths = [...this.#kinds.keys()];
    return paths.length === 0 || this.#random() < 0.1 ? this.new() : pick(this.#random, paths);
  }

  /** Something in a folder that is there, mostly. */
  new(): string {
    const isThere = (folder: string): boolean =>
      folder === '' || this.#kinds.get(folder.slice(0, -1)) === 'folder';
    const choices = this.#random() < 0.1 ? folders : folders.filter(isThere);
    return pick(this.#random, choices) + pick(this.#random, names);
  }

  note(operation: Operation): void {
    const { kind, path } = operation;
    if (path === keepPath) return;
    switch (kind) {
      case 'mkdir':
        if (!this.#kinds.has(path)) this.#kinds.set(path, 'folder');
        break;
      case 'write':
      case 'save':
      case 'symlink':
        if (!this.#kinds.has(path)) this.#kinds.set(path, 'file');
        break;
      case 'link':
      case 'copy':
        if (!this.#kinds.has(operation.to)) this.#kinds.set(operation.to, 'file');
        break;
      case 'rename':
        for (const [old, what] of [...this.#kinds]) {
          if (old !== path && !old.startsWith(`${path}/`)) continue;
          this.#kinds.delete(old);
          this.#kinds.set(operation.to + old.slice(path.length), what);
        }
        break;
      case 'unlink':
      case 'remove':
        for (const old of [...this.#kinds.keys()]) {
          if (old === path || old.startsWith(`${path}/`)) this.#kinds.delete(old);
        }
        break;
    }
  }
}

function randomOperation(random: Random, tree: Guess): Operation {
  const operation = chosenOperation(random, tree);
  tree.note(operation);
  return operation;
}

function chosenOperation(random: Random, tree: Guess): Operation {
  const kind = pick<Operation['kind']>(random, operationPool);
  switch (kind) {
    case 'write':
    case 'save':
    case 'append':
    case 'patch': {
      const isKept = random() < 0.2 && kind !== 'write';
      const size = randomSize(random);
      const isNew = kind === 'write' || (kind === 'save' && random() < 0.5);
      const path = isKept ? keepPath : isNew ? tree.new() : tree.old();
      return { kind, path, size, seed: randomInteger(random, 1e6) };
    }
    case 'truncate':
      return { kind, path: tree.old(), size: randomSize(random) };
    case 'swap':
      return { kind, path: tree.old(), to: tree.old() };
    case 'rename':
    case 'link':
    case 'copy':
      return { kind, path: tree.old(), to: random() < 0.3 ? tree.old() : tree.new() };
    case 'mkdir':
      return { kind, path: tree.new() };
    case 'unlink':
    case 'remove':
      return { kind, path: tree.old() };
    case 'chmod':
      return { kind, path: tree.old(), mode: pick(random, [0o755, 0o700, 0o750, 0o777]) };
    case 'touch':
      return { kind, path: tree.old(), seconds: randomInteger(random, 2e9) + 0.25 };
    case 'symlink':
      return {
        kind,
        path: tree.new(),
        target: pick(random, ['a', '../b', '/nowhere/at/all', 'd/e']),
      };
  }
}

function randomSize(random: Random): number {
  const kind = random();
  // Beyond 4 MiB a file travels in the lane of large ones.
  if (kind < 0.02) return 4_200_000 + randomInteger(random, 500_000);
  if (kind < 0.3) return randomInteger(random, 90_000);
  return randomInteger(random, 300);
}

function randomFault(random: Random, tree: Guess): Fault {
  const after = random() < 0.3 ? 0 : randomInteger(random, 40);
  switch (randomInteger(random, 9)) {
    case 0:
      return { kind: 'restart sender' };
    case 1:
      return { kind: 'restart receiver' };
    case 2:
      return { kind: 'crash sender', after };
    case 3:
      return { kind: 'cut', after };
    case 4:
      return { kind: 'pause' };
    case 5:
      return {
        kind: 'full',
        changes: 1 + randomInteger(random, 6),
        code: pick(random, ['ENOSPC', 'EIO', 'EMFILE']),
      };
    case 6:
      return { kind: 'drift', operation: randomOperation(random, tree) };
    case 7:
      return { kind: 'crash receiver', after: 0, label: pick(random, commitLabels) };
    default:
      return { kind: 'crash receiver', after };
  }
}

/**
 * A smaller list for which `fails` still holds: parts of it are left out, halves first, then less,
 * until no single item can go (Zeller, Hildebrandt: delta debugging).
 */
export async function shrink<T>(
  items: readonly T[],
  fails: (items: readonly T[]) => Promise<boolean>,
): Promise<readonly T[]> {
  let least = items;
  for (let size = Math.ceil(least.length / 2); size >= 1; ) {
    let isSmaller = false;
    for (let at = 0; at < least.length; ) {
      const rest = [...least.slice(0, at), ...least.slice(at + size)];
      if (rest.length < least.length && (await fails(rest))) {
        least = rest;
        isSmaller = true;
      } else at += size;
    }
    if (size === 1 && !isSmaller) break;
    size = size === 1 ? 1 : Math.ceil(size / 2);
  }
  return least;
}
