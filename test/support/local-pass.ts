// One pass after the other into a local replica: `push ./source ./target --once`.
import fs from 'node:fs';
import { join } from 'node:path';
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

export class LocalPasses {
  readonly home: Home;
  readonly source: string;
  readonly target: string;

  constructor(folder: string) {
    this.home = new Home(join(folder, 'home'));
    this.source = join(folder, 'source');
    this.target = join(folder, 'target');
    fs.mkdirSync(this.source);
  }

  async pass(...args: string[]): Promise<Pass> {
    const { code, lines } = await this.home.pushOnce(this.source, this.target, args);
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
