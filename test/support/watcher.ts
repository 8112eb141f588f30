// A reader of the destination, as any program might be: polls it from a process of its own and
// notes what no reader may ever see.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { forkModule } from './folders.ts';

export interface WatchOptions {
  /** The destination. */
  readonly root: string;
  /** The folder of the stamped files in it, as a relative path. */
  readonly folder: string;
  readonly names: readonly string[];
  readonly links: readonly string[];
  /** What a name outside `.replica` looks like, in latin1. */
  readonly namePattern: string;
}

export interface Watched {
  /** Each kind of violation at most 20 times. */
  readonly violations: readonly string[];
  /** Files read and found whole. */
  readonly readCount: number;
  readonly listedCount: number;
  /** Newer versions seen. */
  readonly changeCount: number;
}

export class Watcher {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** All names must be there already: from now on they may never be missing. */
  static async start(options: WatchOptions): Promise<Watcher> {
    const url = new URL('./watcher-process.js', import.meta.url);
    const child = forkModule(url, [JSON.stringify(options)]);
    await once(child, 'message');
    return new Watcher(child);
  }

  async stop(): Promise<Watched> {
    const ended = once(this.#child, 'close');
    const [[watched]] = await Promise.all([
      once(this.#child, 'message'),
      new Promise<void>(resolve => this.#child.send('stop', () => resolve())),
    ]);
    await ended;
    return watched as Watched; // What watcher-process.ts sends.
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}
