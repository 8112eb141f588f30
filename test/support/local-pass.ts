// One pass after the other into a local replica: `push ./source ./target --once`, or the same by a
// receiver that a program in the place of ssh starts.
import fs from 'node:fs';
import { join } from 'node:path';
import { fakeSsh } from './fake-ssh.ts';
import { Home } from './programs.ts';
import { compareTrees } from './tree.ts';

export interface Pass {
  readonly code: number | null;
  /** What stdout and stderr said. */
  readonly lines: readonly string[];
  /** Of all commits of the pass. */
  readonly operations: number;
  readonly bytesSent: number;
}

export type Way = 'local' | 'ssh';
export const ways: readonly Way[] = ['local', 'ssh'];

export class LocalPasses {
  readonly home: Home;
  readonly source: string;
  readonly target: string;
  /** The target as a push is given it, and flags. */
  readonly #way: readonly [string, ...string[]];

  constructor(folder: string, way: Way = 'local') {
    this.home = new Home(join(folder, 'home'));
    this.source = join(folder, 'source');
    this.target = join(folder, 'target');
    fs.mkdirSync(this.source);
    this.#way = way === 'local' ? [this.target] : [`ssh://here${this.target}`, ...fakeSsh(folder)];
  }

  async pass(...args: string[]): Promise<Pass> {
    const [target, ...flags] = this.#way;
    const { code, lines } = await this.home.pushOnce(this.source, target, [...flags, ...args]);
    let operations = 0;
    let bytesSent = 0;
    for (const line of lines) {
      const commit = /"operations":(\d+),"bytesSent":(\d+)/.exec(line);
      operations += Number(commit?.[1] ?? 0);
      bytesSent += Number(commit?.[2] ?? 0);
    }
    return { code, lines, operations, bytesSent };
  }

  differences(): string[] {
    return compareTrees(this.source, this.target);
  }

  /** Path below the source. */
  at(...path: string[]): string {
    return join(this.source, ...path);
  }

  /** Names in a directory of the destination, without '.replica'. */
  there(path = ''): string[] {
    return fs.readdirSync(join(this.target, path)).filter(name => name !== '.replica');
  }
}
