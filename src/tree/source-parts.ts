// What SourceThreads asks is asked in parts, so that all threads have something to do; here is how
// it is taken apart and put together.
import assert from 'node:assert/strict';
import type { Problem } from '../errors.ts';
import type { Name } from '../snapshot/name.ts';
import { hashOf, SourceListing, unreadableAt } from './source-listing.ts';
import type { EntriesResult, Refusal, SourceTask, TaskResult, TaskResults } from './source-task.ts';
import { SystemError } from './system-error.ts';

/** No answer in time. */
export const hung: Refusal = { code: 'ETIMEDOUT' };
/** Names in one task: enough for few messages, few enough that all threads have some. */
const itemsMax = 64;
const itemsMin = 4;

/** What becomes of a task. */
export type Settled = { readonly result: TaskResult } | { readonly refusal: Refusal };

/** A task and what becomes of it. */
export interface Job {
  readonly task: SourceTask;
  readonly settle: (settled: Settled) => void;
  /** Of a listing that may have been begun in vain. */
  readonly pending: Pending | undefined;
}

/** A listing under way: parts in order of their names. */
export interface Pending {
  names: readonly Name[] | undefined;
  readonly parts: (EntriesResult | undefined)[];
  left: number;
  refusal: Refusal | undefined;
  /** Nobody is going to ask for it. */
  isDropped: boolean;
}

/** What a call of a task is about. */
export function keyOf(task: SourceTask, item: number): string {
  switch (task.kind) {
    case 'entries':
      return `at ${task.path === '' ? '' : `${task.path}/`}${task.items[item] ?? ''}`;
    case 'stats':
      return `at ${task.items[item] ?? ''}`;
    case 'contents':
      return `at ${task.items[item]?.path ?? ''}`;
    default:
      return `${task.kind} ${task.path}`;
  }
}

/** A task of fewer items; those left out are refused in the answer to the whole. */
export function split({ task, settle, pending }: Job, isFree: readonly boolean[]): Job | undefined {
  if (task.kind === 'entries') {
    const items = task.items.filter((_, i) => isFree[i]);
    const others = unreadable(
      task.path,
      task.items.filter((_, i) => !isFree[i]),
      hung,
    );
    if (items.length === 0) {
      settle({ result: others });
      return undefined;
    }
    return {
      task: { ...task, items },
      pending,
      settle: settled => {
        const found =
          'result' in settled
            ? (settled.result as EntriesResult) // What this kind has.
            : unreadable(task.path, items, settled.refusal);
        settle({
          result: { ...found, unreadable: new Map([...found.unreadable, ...others.unreadable]) },
        });
      },
    };
  }
  assert(task.kind === 'stats' || task.kind === 'contents');
  type Found = readonly unknown[];
  const items = task.items.filter((_, i) => isFree[i]);
  const whole = (found: Found | Refusal): Settled => {
    let at = 0;
    const all = isFree.map(one => (one ? ('code' in found ? found : found[at++]) : hung));
    return { result: all as TaskResults[typeof task.kind] }; // What this kind has.
  };
  if (items.length === 0) {
    settle(whole([]));
    return undefined;
  }
  return {
    task: { ...task, items } as SourceTask, // Of the same kind.
    pending,
    settle: settled =>
      settle(whole('result' in settled ? (settled.result as Found) : settled.refusal)),
  };
}

/** Parts for all threads, in order. */
export function parted<T>(items: readonly T[], jobs: number): T[][] {
  const size = Math.max(itemsMin, Math.min(itemsMax, Math.ceil(items.length / jobs)));
  const parts: T[][] = [];
  for (let at = 0; at < items.length; at += size) parts.push(items.slice(at, at + size));
  return parts;
}

export function unreadable(path: string, names: readonly Name[], { code }: Refusal): EntriesResult {
  const problems = new Map<Name, Problem>();
  for (const name of names) problems.set(name, unreadableAt(path, name, code));
  const none = {
    bytes: Buffer.alloc(0),
    linkCounts: [],
    special: [],
    hasRules: false,
    largestSize: 0n,
  };
  return { ...none, unreadable: problems };
}

export function joined(
  names: readonly Name[],
  parts: readonly (EntriesResult | undefined)[],
): SourceListing {
  const all = parts.map(part => {
    assert(part !== undefined, 'every part is there');
    return part;
  });
  return new SourceListing({
    bytes: Buffer.concat(all.map(part => part.bytes)),
    linkCounts: all.flatMap(part => part.linkCounts),
    unreadable: new Map(all.flatMap(part => [...part.unreadable])),
    special: all.flatMap(part => part.special),
    namesHash: hashOf(names),
    hasRules: all.some(part => part.hasRules),
    largestSize: all.reduce(
      (most, part) => (part.largestSize > most ? part.largestSize : most),
      0n,
    ),
  });
}

export function refused({ code }: Refusal, path: string): SystemError {
  const text = code === hung.code ? 'no answer from the file system' : 'the system refuses';
  return new SystemError(code, `${text}: '${path}'`);
}
