// A tree of small files and its replica, both in memory, kept in sync by a `push` and a `receive`.
import fs from 'node:fs';
import { join } from 'node:path';
import { Home, type Program } from '../../test/support/programs.ts';
import { makeSmallFiles } from './trees.ts';

export interface PairOptions {
  readonly files: number;
  readonly perFolder: number;
  readonly pushFlags: readonly string[];
  /** Where the trees go: tmpfs. */
  readonly place: string;
}

export class SyncedPair {
  readonly base: string;
  readonly source: string;
  readonly target: string;
  readonly home: Home;
  readonly receiving: Program;
  readonly port: number;
  #pushing: Program;

  private constructor(
    base: string,
    parts: { home: Home; receiving: Program; port: number; pushing: Program },
  ) {
    this.base = base;
    this.source = join(base, 'source');
    this.target = join(base, 'target');
    this.home = parts.home;
    this.receiving = parts.receiving;
    this.port = parts.port;
    this.#pushing = parts.pushing;
  }

  /** Makes the tree and waits until it is in sync. */
  static async open(options: PairOptions): Promise<SyncedPair> {
    const base = fs.mkdtempSync(join(options.place, 'replica-bench-'));
    process.on('exit', () => fs.rmSync(base, { recursive: true, force: true }));
    for (const name of ['source', 'target']) fs.mkdirSync(join(base, name));
    makeSmallFiles(join(base, 'source'), options.files, options.perFolder);
    const home = new Home(join(base, 'home'));
    const { program: receiving, port } = await home.receive(join(base, 'target'));
    const pushing = home.push(join(base, 'source'), `127.0.0.1:${port}`, options.pushFlags);
    await pushing.line(/in sync/, 600_000);
    return new SyncedPair(base, { home, receiving, port, pushing });
  }

  get pushing(): Program {
    return this.#pushing;
  }

  /** Starts `push` anew; resolves with the seconds until it is in sync. */
  async restart(flags: readonly string[]): Promise<number> {
    await this.#pushing.stop();
    const begunMs = performance.now();
    this.#pushing = this.home.push(this.source, `127.0.0.1:${this.port}`, flags);
    await this.#pushing.line(/in sync/, 120_000);
    return (performance.now() - begunMs) / 1000;
  }

  /** Paths of the files below the source. */
  files(): string[] {
    return fs
      .readdirSync(this.source, { recursive: true, encoding: 'utf8' })
      .filter(path => path.endsWith('.dat'));
  }

  async close(): Promise<void> {
    await this.#pushing.stop();
    await this.receiving.stop();
    fs.rmSync(this.base, { recursive: true, force: true });
  }
}

export function quantile(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
