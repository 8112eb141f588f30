// One run of random operations on the source of a live pair.
import type { Transport } from './fake-ssh.ts';
import { LivePair } from './live-pair.ts';
import { fillTree, mutate } from './mutate.ts';
import { seededRandom } from './random.ts';

export interface RandomRun {
  /** Empty, and removed by the caller. */
  readonly folder: string;
  readonly seed: number;
  readonly operations: number;
  readonly limitMs: number;
  readonly pushArgs?: readonly string[];
  readonly receiveArgs?: readonly string[];
  readonly transport?: Transport;
}

export interface RandomResult {
  /** Until the trees were equal, from the last operation on. */
  readonly quietMs: number;
  readonly done: ReadonlyMap<string, number>;
  /** How often sender and receiver had to agree anew on what the receiver holds. */
  readonly healed: number;
  /** Things either program said that nothing here gave a reason for. */
  readonly complaints: readonly string[];
}

/** Operations in bursts and with pauses, as editors, builds and people do. Throws if not equal. */
export async function runRandomOperations(run: RandomRun): Promise<RandomResult> {
  const random = seededRandom(run.seed);
  const pair = new LivePair(run);
  fillTree(pair.source, random, 30);
  try {
    await pair.start();
    await pair.push?.line(/connected to/);
    const done = new Map<string, number>();
    for (let i = 0; i < run.operations; ) {
      const kind = mutate(pair.source, random);
      if (kind === undefined) continue;
      done.set(kind, (done.get(kind) ?? 0) + 1);
      i++;
      if (random() < 0.4) await pause(random() ** 3 * 150);
    }
    const quietMs = await pair.equal(run.limitMs);
    const healed = pair.push?.lines.filter(line => /comparing with/.test(line)).length ?? 0;
    const complaints = [...(pair.push?.lines ?? []), ...(pair.receive?.lines ?? [])].filter(isNews);
    const exits = await pair.stop();
    // Over ssh there is no receiver of our own.
    const wrong = exits
      .filter(exit => exit !== undefined && exit.code !== 0)
      .map(exit => JSON.stringify(exit));
    return { quietMs, done, healed, complaints: [...complaints, ...wrong] };
  } finally {
    await pair.kill();
  }
}

/** Warnings but for the one about running as root and about files that changed while being read. */
function isNews(line: string): boolean {
  return /"level":"(warn|error|fatal)"/.test(line) && !/running as root/.test(line);
}

function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}
