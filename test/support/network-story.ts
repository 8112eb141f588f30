// The story of a bad network: connection after connection is cut, or has one bit flipped, at
// random offsets, while the source changes and a reader watches the destination.
import { join } from 'node:path';
import { Load } from './kill-story.ts';
import { Home } from './programs.ts';
import { pick, randomInteger, seededRandom } from './random.ts';
import { Relay } from './relay.ts';
import type { Watched, Watcher } from './watcher.ts';

export const spoilings = ['cut', 'flip', 'flip answer'] as const;
export type Spoiling = (typeof spoilings)[number];

export interface NetworkOptions {
  readonly folder: string;
  readonly seed: number;
  readonly insecure: boolean;
  readonly kinds: readonly Spoiling[];
  /** Connections to spoil. */
  readonly count: number;
  readonly timeoutMs: number;
}

export interface NetworkOutcome {
  readonly watched: Watched;
  readonly connections: number;
  readonly drift: readonly string[];
  readonly complaints: readonly string[];
  readonly convergedMs: number;
  readonly differences: readonly string[];
  /** Each spoiled connection, for the one who looks for a cause. */
  readonly spoiled: readonly string[];
  /** Of the sender, then of the receiver. */
  readonly lastLines: readonly string[];
}

export async function networkStory(options: NetworkOptions): Promise<NetworkOutcome> {
  const { folder, seed, insecure, count } = options;
  const random = seededRandom(seed);
  const load = new Load(folder, seed);
  const home = new Home(join(folder, 'home'));
  const flags = insecure ? ['--insecure'] : [];
  const { program: receive, port } = await home.receive(load.target, flags);
  const plan = new Map<number, { kind: Spoiling; offset: number }>();
  const spoiled: string[] = [];
  // The first one brings the stable files to where the reader expects them.
  for (let i = 1; i <= count; i++) {
    plan.set(i, { kind: pick(random, options.kinds), offset: randomOffset(random) });
  }
  const at = (kind: Spoiling) => (connection: number) => {
    const planned = plan.get(connection);
    if (planned?.kind !== kind) return undefined;
    spoiled.push(`${kind} ${planned.offset}`);
    // The answers are few.
    return kind === 'flip answer' ? Math.round(planned.offset ** 0.7) : planned.offset;
  };
  const relay = await Relay.open({
    targetPort: port,
    cutAfter: at('cut'),
    flipAt: at('flip'),
    flipAnswerAt: at('flip answer'),
  });
  const push = home.push(load.source, `127.0.0.1:${relay.port}`, ['--interval', '100', ...flags]);
  let watcher: Watcher | undefined;
  try {
    await push.line(/in sync/, 30_000);
    watcher = await load.watch();
    relay.cut();
    load.start(20);
    const deadline = performance.now() + options.timeoutMs;
    while (relay.connections <= count + 1) {
      if (performance.now() > deadline || push.exited || receive.exited) break;
      await new Promise(resolve => setTimeout(resolve, 20));
    }
    load.stop();
    const flushed = await load.flush(home, `127.0.0.1:${relay.port}`);
    const differences = load.differences();
    const watched = await watcher.stop();
    watcher = undefined;
    const lines = [...push.lines, ...receive.lines];
    return {
      watched,
      connections: relay.connections,
      drift: lines.filter(line => /"msg":"drift"|changed at the destination/.test(line)),
      complaints: [
        ...flushed.complaints,
        ...lines.filter(line => /internal error|a bug|ERR_STATE/.test(line)),
        ...(push.exited ? [`push ended: ${push.lines.at(-1)}`] : []),
        ...(receive.exited ? [`receive ended: ${receive.lines.at(-1)}`] : []),
      ],
      convergedMs: flushed.tookMs,
      differences,
      spoiled,
      lastLines: [...push.lines.slice(-8), ...receive.lines.slice(-8)],
    };
  } finally {
    load.stop();
    watcher?.kill();
    await push.stop('SIGKILL');
    await receive.stop('SIGKILL');
    await relay.close();
  }
}

/** Every order of magnitude alike, from the first byte of the handshake to a large file. */
function randomOffset(random: () => number): number {
  if (random() < 0.3) return randomInteger(random, 800);
  return Math.floor(500 * 1000 ** random());
}
