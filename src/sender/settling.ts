// --settle: a file is sent only once it has been left alone for so long. What counts is what this
// process saw, by its own clock: a file whose size, times or inode are others than at the look
// before begins anew. Only what its times call old by a wide margin needs no second look, so that
// the clock of a file server may be off by `clockErrorMs`.
import { settlingMax } from '../limits.ts';
import { IgnoreRules } from '../snapshot/ignore.ts';
import type { Seen } from '../snapshot/listing.ts';
import { clockMs } from './clock.ts';

export interface SettleRule {
  /** In gitignore syntax; undefined: every file. */
  readonly pattern: string | undefined;
  readonly ms: number;
}

interface Sight {
  readonly size: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly ino: bigint;
  readonly sinceMs: number;
}

interface Clocks {
  /** Monotonic. */
  readonly nowMs: () => number;
  /** Since 1970. */
  readonly timeMs: () => number;
}

const clockErrorMs = 60_000;

export class Settling {
  readonly #rules: readonly { readonly rules: IgnoreRules | undefined; readonly ms: number }[];
  readonly #clocks: Clocks;
  /** By path (latin1); one that is not looked at any more makes room when there is none. */
  readonly #sights = new Map<string, Sight>();
  #isLifted = false;

  constructor(rules: readonly SettleRule[], clocks: Clocks = { nowMs: clockMs, timeMs: Date.now }) {
    this.#clocks = clocks;
    // What speaks of some files beats what speaks of all; of two that match, the last counts.
    const byPattern = rules.filter(({ pattern }) => pattern !== undefined).reverse();
    const all = rules.filter(({ pattern }) => pattern === undefined).slice(-1);
    this.#rules = [...byPattern, ...all].map(({ pattern, ms }) => ({
      rules: pattern === undefined ? undefined : IgnoreRules.none.with('', [pattern]),
      ms,
    }));
  }

  /** Is the file to wait? `path` is below the root, latin1. */
  isSettling(path: string, seen: Seen): boolean {
    if (this.#rules.length === 0) return false;
    const ms = this.msFor(path);
    if (this.#isLifted || ms === 0 || this.#isOld(seen, ms)) return this.#end(path);
    const nowMs = this.#clocks.nowMs();
    const before = this.#sights.get(path);
    const isSame = before !== undefined && isSameSight(before, seen);
    if (isSame) return nowMs - before.sinceMs >= ms ? this.#end(path) : true;
    const { size, mtimeNs, ctimeNs, ino } = seen;
    this.#sights.delete(path);
    this.#sights.set(path, { size, mtimeNs, ctimeNs, ino, sinceMs: nowMs });
    if (this.#sights.size > settlingMax) this.#dropOldest();
    return true;
  }

  /** How long a file waits. */
  msFor(path: string): number {
    return this.#rules.find(({ rules }) => rules?.ignores(path, false) ?? true)?.ms ?? 0;
  }

  /** Until the end of the sweep nothing waits: a flush was asked for. */
  lift(): void {
    this.#isLifted = true;
  }

  endSweep(): void {
    this.#isLifted = false;
  }

  /** Paths that wait, at most `limit`. */
  waiting(limit: number): string[] {
    return [...this.#sights.keys()].slice(0, limit);
  }

  /** Milliseconds that a file as `seen` still has to wait; undefined when it does not. */
  leftMs(path: string, seen: Seen): number | undefined {
    const before = this.#sights.get(path);
    if (before === undefined || !isSameSight(before, seen)) return undefined;
    return Math.max(0, before.sinceMs + this.msFor(path) - this.#clocks.nowMs());
  }

  #isOld({ mtimeNs, ctimeNs }: Seen, ms: number): boolean {
    const newestNs = mtimeNs > ctimeNs ? mtimeNs : ctimeNs;
    return this.#clocks.timeMs() - Number(newestNs / 1_000_000n) >= ms + clockErrorMs;
  }

  #end(path: string): false {
    this.#sights.delete(path);
    return false;
  }

  #dropOldest(): void {
    for (const path of this.#sights.keys()) {
      this.#sights.delete(path);
      return;
    }
  }
}

function isSameSight(sight: Sight, seen: Seen): boolean {
  return (
    sight.size === seen.size &&
    sight.mtimeNs === seen.mtimeNs &&
    sight.ctimeNs === seen.ctimeNs &&
    sight.ino === seen.ino
  );
}
