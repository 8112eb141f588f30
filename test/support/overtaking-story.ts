// The story of overtaking: a large file crosses a slow link while small files are saved.
import fs from 'node:fs';
import { join } from 'node:path';
import { Home, type Program, waitUntil } from './programs.ts';
import { randomBytes, seededRandom } from './random.ts';
import { Relay } from './relay.ts';

export interface OvertakingOptions {
  readonly folder: string;
  readonly sizeBytes: number;
  readonly bytesPerSecond: number;
  /** Saves go on for this long, all of it while the large file is under way. */
  readonly durationMs: number;
  readonly pauseMs: number;
}

export interface OvertakingOutcome {
  /** From the save until it is durable at the destination and the sender knows. */
  readonly latenciesMs: readonly number[];
  readonly medianMs: number;
  readonly maxMs: number;
  /** The large file arrived only after the last save. */
  readonly isOvertaken: boolean;
  /** And was whole in the end. */
  readonly isWhole: boolean;
  /** Of the sender, while saving; the most seen. */
  readonly rssMaxMib: number;
}

export async function overtakingStory(options: OvertakingOptions): Promise<OvertakingOutcome> {
  const { folder, sizeBytes, bytesPerSecond, durationMs, pauseMs } = options;
  const source = join(folder, 'source');
  const target = join(folder, 'target');
  for (const path of [join(source, 'saves'), target]) fs.mkdirSync(path, { recursive: true });
  const home = new Home(join(folder, 'home'));
  const { program: receive, port } = await home.receive(target);
  const relay = await Relay.open({ targetPort: port, bytesPerSecond });
  const push = home.push(source, `127.0.0.1:${relay.port}`);
  try {
    await push.line(/in sync/);
    writeNoise(join(folder, 'large'), sizeBytes);
    fs.renameSync(join(folder, 'large'), join(source, 'large'));
    const before = relay.bytesUp;
    await waitUntil(() => relay.bytesUp > before + 1_000_000, 'the large file is under way');

    const latenciesMs: number[] = [];
    let rssMaxMib = 0;
    const endMs = performance.now() + durationMs;
    for (let i = 0; performance.now() < endMs; i++) {
      latenciesMs.push(await save(source, target, { push, name: `saves/f${i}` }));
      rssMaxMib = Math.max(rssMaxMib, residentMib(push));
      await new Promise(resolve => setTimeout(resolve, pauseMs));
    }
    const isOvertaken = !fs.existsSync(join(target, 'large'));
    const leftMs = (sizeBytes / bytesPerSecond) * 1000 * 2 + 20_000;
    await waitUntil(() => fs.existsSync(join(target, 'large')), 'the large file', leftMs);
    const isWhole = isSame(join(source, 'large'), join(target, 'large'));
    const sorted = [...latenciesMs].sort((a, b) => a - b);
    const medianMs = Math.round(sorted[sorted.length >> 1] ?? 0);
    const maxMs = Math.round(sorted.at(-1) ?? 0);
    return { latenciesMs, medianMs, maxMs, isOvertaken, isWhole, rssMaxMib };
  } finally {
    await push.stop('SIGKILL');
    await receive.stop('SIGKILL');
    await relay.close();
  }
}

/** Saves one file and waits until it is there, and the commit that it came in is acknowledged. */
async function save(
  source: string,
  target: string,
  { push, name }: { push: Program; name: string },
): Promise<number> {
  const from = push.lines.length;
  const startMs = performance.now();
  const content = `saved as ${name}`;
  fs.writeFileSync(join(source, name), content);
  await waitUntil(() => readIfThere(join(target, name)) === content, name);
  await push.line(/"commit":/, 20_000, from);
  return performance.now() - startMs;
}

function readIfThere(path: string): string | undefined {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function writeNoise(path: string, size: number): void {
  const random = seededRandom(7);
  const piece = randomBytes(random, 1024 * 1024);
  const fd = fs.openSync(path, 'w');
  for (let left = size; left > 0; left -= piece.length) {
    // No two pieces alike, and none known to the receiver.
    for (let at = 0; at < piece.length; at += 512) {
      piece.writeUInt32LE(Math.floor(random() * 2 ** 32), at);
    }
    fs.writeSync(fd, piece, 0, Math.min(left, piece.length));
  }
  fs.closeSync(fd);
}

function isSame(a: string, b: string): boolean {
  const [one, other] = [fs.openSync(a, 'r'), fs.openSync(b, 'r')];
  const buffers = [Buffer.alloc(1024 * 1024), Buffer.alloc(1024 * 1024)] as const;
  try {
    for (;;) {
      const count = fs.readSync(one, buffers[0]);
      if (count !== fs.readSync(other, buffers[1])) return false;
      if (count === 0) return true;
      if (!buffers[0].subarray(0, count).equals(buffers[1].subarray(0, count))) return false;
    }
  } finally {
    fs.closeSync(one);
    fs.closeSync(other);
  }
}

/** Anonymous memory; 0 where the system does not say. */
function residentMib(program: Program): number {
  try {
    const status = fs.readFileSync(`/proc/${program.child.pid}/status`, 'utf8');
    return Math.round(Number(/RssAnon:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
  } catch {
    return 0;
  }
}
