// Looks at a source whose file system takes long to answer, with threads that wait side by side
// (waiting-threads.ts). The caller waits until what it asked for is there, as with DirectSource.
//
// A directory is listed in two steps: its names by one thread, what is at them in parts by all. Of
// directories that will be listed next (`expect`) both begin early.
import assert from 'node:assert/strict';
import type { Listable, Source } from './source.ts';
import type { SourceListing, SourceStats } from './source-listing.ts';
import {
  type Job,
  joined,
  type Pending,
  parted,
  refused,
  type Settled,
  unreadable,
} from './source-parts.ts';
import type { EntriesResult, SourceTask, TaskResults } from './source-task.ts';
import type { SeenInode } from './source-xattrs.ts';
import { WaitingThreads, type WaitingThreadsOptions } from './waiting-threads.ts';

export class SourceThreads implements Source {
  readonly lookahead = 16;
  readonly #threads: WaitingThreads;
  /** By path: what `expect` began. */
  readonly #expected = new Map<string, Pending>();

  constructor(options: WaitingThreadsOptions) {
    this.#threads = new WaitingThreads(options);
  }

  expect(folders: readonly Listable[]): void {
    const paths = new Set(folders.map(folder => folder.path));
    for (const [path, pending] of this.#expected) {
      if (paths.has(path)) continue;
      pending.isDropped = true;
      this.#expected.delete(path);
    }
    for (const folder of folders) {
      if (!this.#expected.has(folder.path))
        this.#expected.set(folder.path, this.#startList(folder));
    }
    this.#threads.turn();
  }

  list(folder: Listable): SourceListing {
    const pending = this.#expected.get(folder.path) ?? this.#startList(folder, true);
    this.#expected.delete(folder.path);
    this.#threads.wait(() => pending.left === 0);
    if (pending.refusal !== undefined) throw refused(pending.refusal, folder.path);
    return joined(pending.names ?? [], pending.parts);
  }

  stat(path: string): SourceStats | undefined {
    const [stats] = this.statAll([path]);
    if (stats instanceof Error) throw stats;
    return stats;
  }

  statAll(paths: readonly string[]): readonly (SourceStats | undefined | Error)[] {
    const found: (SourceStats | undefined | Error)[] = new Array(paths.length).fill(undefined);
    let left = paths.length;
    const start = (items: readonly number[]): void => {
      const task = { kind: 'stats', items: items.map(i => paths[i] ?? '') } as const;
      const settle: Job['settle'] = settled => {
        for (const [k, i] of items.entries()) {
          const path = paths[i] ?? '';
          // One kind of task has one kind of result.
          const one =
            'result' in settled ? (settled.result as TaskResults['stats'])[k] : settled.refusal;
          found[i] = one !== undefined && 'code' in one ? refused(one, path) : one;
        }
        left -= items.length;
      };
      this.#threads.ask(task, settle, { isNext: true });
    };
    for (const part of parted(
      paths.map((_, i) => i),
      this.#threads.jobs,
    ))
      start(part);
    this.#threads.wait(() => left === 0);
    return found;
  }

  readLink(path: string): string {
    return this.#one({ kind: 'link', path });
  }

  readText(path: string): string {
    return this.#one({ kind: 'text', path });
  }

  readXattrs(path: string, seen: SeenInode): string | undefined {
    return this.#one({ kind: 'xattrs', path, seen });
  }

  async close(): Promise<void> {
    await this.#threads.close();
  }

  #one<K extends 'link' | 'text' | 'xattrs'>(
    task: SourceTask & { readonly kind: K },
  ): TaskResults[K] {
    let settled: Settled | undefined;
    const settle: Job['settle'] = got => {
      settled = got;
    };
    this.#threads.ask(task, settle, { isNext: true });
    this.#threads.wait(() => settled !== undefined);
    assert(settled !== undefined);
    if ('refusal' in settled) throw refused(settled.refusal, task.path);
    return settled.result as TaskResults[K]; // What this kind has.
  }

  #startList({ path, device }: Listable, isNext = false): Pending {
    const pending: Pending = {
      ...{ names: undefined, parts: [], left: 1 },
      ...{ refusal: undefined, isDropped: false },
    };
    const ask = (task: SourceTask, settle: Job['settle']): void =>
      this.#threads.ask(task, settle, { isNext, pending });
    ask({ kind: 'names', path }, settled => {
      pending.left--;
      if ('refusal' in settled) {
        pending.refusal = settled.refusal;
        return;
      }
      const names = settled.result as TaskResults['names']; // What this kind has.
      pending.names = names;
      for (const [i, items] of parted(names, this.#threads.jobs).entries()) {
        pending.parts.push(undefined);
        pending.left++;
        ask({ kind: 'entries', path, device, items }, part => {
          pending.left--;
          pending.parts[i] =
            'result' in part
              ? (part.result as EntriesResult) // What this kind has.
              : unreadable(path, items, part.refusal);
        });
      }
    });
    return pending;
  }
}
